"""Sabotage, loaded by `BATON_CALLABLES`: sweeps take no lock, and a status is written whatever it was meanwhile."""

import time
from typing import Any

from django.db import models

from orchestrator_site.core import transitions

# Long enough that everybody who saw a timer due comes to write.
THINKING_SECONDS = 0.2


def unlocked(self: models.QuerySet, **how: Any) -> models.QuerySet:
    return self


def move(self: transitions.Machine, row: Any, to: str, *, by: Any = None, **changes: Any) -> str:
    before = str(row.status)
    time.sleep(THINKING_SECONDS)
    type(row)._base_manager.filter(pk=row.pk).update(status=to, **changes)
    return before


models.QuerySet.select_for_update = unlocked  # type: ignore[method-assign, assignment]
transitions.Machine.move = move  # type: ignore[method-assign]
