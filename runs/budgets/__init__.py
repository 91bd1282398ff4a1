"""Money: whose caps hold for a model call, reserved before it is spent and settled after."""

from runs.budgets.accounts import open_account, remaining_usd
from runs.budgets.allotments import change, give_back
from runs.budgets.caps import are_capped
from runs.budgets.purse import Purse, Scope, Short, TakenBack, read, reserve, settle

__all__ = [
    "Purse",
    "Scope",
    "Short",
    "TakenBack",
    "are_capped",
    "change",
    "give_back",
    "open_account",
    "read",
    "remaining_usd",
    "reserve",
    "settle",
]
