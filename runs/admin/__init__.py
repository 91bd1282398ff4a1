"""The conductor's rows in the admin: what was done to be read, what is planned, watched and paced by to be edited."""

from runs.admin import boards, budgets, contexts, mail, pacing, plans, policies, work

__all__ = ["boards", "budgets", "contexts", "mail", "pacing", "plans", "policies", "work"]
