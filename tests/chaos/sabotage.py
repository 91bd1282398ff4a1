"""Breaks a guarantee on purpose, inside the processes under test, so that the judge can be seen to catch it.

Loaded as an app by `tests.chaos.settings` where CHAOS_SABOTAGE names one; the product has no switch for any of this.
"""

import os
from collections.abc import Callable
from typing import Any

from django.apps import AppConfig

SABOTAGES: dict[str, Callable[[], None]] = {}


class SabotageConfig(AppConfig):
    name = "tests.chaos"
    label = "sabotage"

    def ready(self) -> None:
        SABOTAGES[os.environ["CHAOS_SABOTAGE"]]()


def sabotage(work: Callable[[], None]) -> Callable[[], None]:
    SABOTAGES[work.__name__] = work
    return work


def replace(module: Any, name: str, stand_in: Any) -> None:
    """Raises AttributeError when the guarantee has moved: then this file has to move with it."""
    getattr(module, name)
    setattr(module, name, stand_in)


@sabotage
def retry_unsafe() -> None:
    """After a crash the machine sends everything again, whatever its effect class."""
    from runs import states
    from runs.engine import effects

    replace(effects, "_after_crash", lambda *args: states.READY)


@sabotage
def binding_off() -> None:
    """Whatever stands in the row now runs, if only something was approved."""
    from runs.engine import effects

    replace(effects, "may_use_approval", lambda *args: True)


@sabotage
def switches_off() -> None:
    """A kill switch is thrown, and nobody looks at it."""
    from runs.pacing import switches

    replace(switches, "stopping", lambda *args: None)


@sabotage
def fence_off() -> None:
    """A worker reads and writes whether or not the dispatch is still its own."""
    from django.db.models.functions import Now

    from runs import leases
    from runs.models import Dispatch

    def hold(lease: Any) -> Any:
        Dispatch.objects.filter(pk=lease.dispatch_id).select_for_update(no_key=True).values_list("pk").first()
        return peek(lease)

    def peek(lease: Any) -> Any:
        anybodys = Dispatch.objects.filter(pk=lease.dispatch_id).select_related("run", "manifest__agent")
        return anybodys.annotate(now=Now(), epoch=leases._EPOCH).get()  # type: ignore[no-redef]

    own = "fence = %s AND lease_owner = %s"
    assert own in leases._HOLD
    replace(leases, "hold", hold)
    replace(leases, "peek", peek)
    replace(leases, "_HOLD", leases._HOLD.replace(own, "%s::bigint IS NOT NULL AND %s::text IS NOT NULL"))
