"""The checker: reads what was written down and says what is wrong with it. Standard library only, and no word of the
platform's code: what it knows of tables, statuses and events it says here itself."""

from tests.chaos.checker.verdict import LINES, Verdict, check

__all__ = ["LINES", "Verdict", "check"]
