"""Sabotage, loaded by `BATON_CALLABLES`: sweeps take no lock, and a status is written whatever it was meanwhile."""

import time
from typing import Any

from django.db import models

from orchestrator_site.core import statements, transitions

# Long enough that everybody who saw a timer due comes to write.
THINKING_SECONDS = 0.2


def unlocked(self: models.QuerySet, **how: Any) -> models.QuerySet:
    return self


def move(self: transitions.Machine, row: Any, to: str, **changes: Any) -> str:
    before = row.status
    time.sleep(THINKING_SECONDS)
    statements.update(type(row), {"pk": row.pk}, {"status": to, **changes})
    return str(before)


models.QuerySet.select_for_update = unlocked  # type: ignore[method-assign, assignment]
transitions.Machine.move = move  # type: ignore[method-assign]
