"""Time-ordered ids, made in Python, so that a row can be named before it is written and history partitioned by id."""

import datetime as dt
import uuid

from uuid_utils.compat import uuid7


def new_id() -> uuid.UUID:
    return uuid7()


def least_of(moment: dt.datetime) -> uuid.UUID:
    """What no id that was made at this moment, or later, is less than."""
    return uuid.UUID(int=(int(moment.timestamp() * 1000) << 80) | (7 << 76) | (2 << 62))
