"""What a customer can want of the desk."""

from dataclasses import dataclass
from enum import StrEnum


class Intent(StrEnum):
    WHERE = "where_is_it"
    DETAILS = "order_details"
    COMPARE = "compare_orders"
    COMPLAINT = "complaint"
    REFUND = "refund"
    PARTIAL_REFUND = "partial_refund"
    CANCEL = "cancel"
    ADDRESS = "change_address"
    WRITE = "write_customer"


ACTIONS = (Intent.REFUND, Intent.PARTIAL_REFUND, Intent.CANCEL, Intent.ADDRESS, Intent.WRITE)
QUESTIONS = (Intent.WHERE, Intent.DETAILS, Intent.COMPARE)
MONEY = (Intent.REFUND, Intent.PARTIAL_REFUND)


@dataclass(frozen=True)
class Wish:
    """One thing asked for, in the words of its clause."""

    intent: Intent
    order_numbers: tuple[int, ...]
    text: str
