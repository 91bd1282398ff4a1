"""The shape of what a dispatch stores has a version: workers of two releases work side by side during a deploy.

A worker takes no dispatch that is newer than itself. One that is older it brings up, step by step, in the transaction
of its claim. To change the shape, write what brings one dispatch from the newest version to the next, here at the end:

    @upgrade
    def put_the_task_into_an_envelope(dispatch):  # 1 to 2
        dispatch.task = json.dumps({"text": dispatch.task})
        dispatch.save(update_fields=["task"])

docs/decisions/state-versions.md says what a version may change, and what it may not.
"""

from collections.abc import Callable
from typing import Any

from orchestrator_site.core.events import Record

Upgrade = Callable[[Any], None]

FIRST = 1
_upgrades: list[Upgrade] = []


def upgrade(work: Upgrade) -> Upgrade:
    """Register what brings a dispatch from the newest version to the next. It holds the row and sees nobody else's."""
    _upgrades.append(work)
    return work


def current() -> int:
    """The version that this process reads and writes."""
    return FIRST + len(_upgrades)


def bring_up(log: Record, dispatch: Any) -> None:
    """Bring a dispatch whose row the caller has claimed to the current version; raises what an upgrade raises."""
    before = dispatch.state_version
    for work in _upgrades[before - FIRST :]:
        work(dispatch)
        dispatch.refresh_from_db()
    if before < current():
        dispatch.state_version = current()
        dispatch.save(update_fields=["state_version"])
        told = {"dispatch": str(dispatch.pk), "from_version": before, "to_version": current()}
        log.run(dispatch.run_id, "dispatch_state_upgraded", **told)
