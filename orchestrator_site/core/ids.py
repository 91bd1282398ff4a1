"""Time-ordered ids, made in Python, so that a row can be named before it is written and history partitioned by id."""

import uuid

from uuid_utils.compat import uuid7


def new_id() -> uuid.UUID:
    return uuid7()
