"""Carry simulations: batch by batch, each saved with what it found, so that whoever comes after goes on from there.

No lease and no lock: a batch is saved where the last one ended, or not at all. Two who carry the same one cost time,
and one of them stops; one that nobody carries is called for again by the reconciler.
"""

import datetime as dt
import logging
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from celery import current_app
from django.conf import settings
from django.contrib.auth.models import User
from django.db import Error as DatabaseError
from django.db import transaction
from django.db.models.functions import Now
from kombu.exceptions import OperationalError

from orchestrator_site.core import canonical, events
from orchestrator_site.core.clock import database_now
from orchestrator_site.core.commits import after_commit
from orchestrator_site.core.transitions import StaleRow
from runs import carrier, states
from runs.errors import BadRequest, NotPossible
from runs.models import Simulation
from runs.policies import history
from tools.models import Policy
from tools.policies import documents, versions
from tools.policies.tallying import Tally
from tools.policies.values import Policy as PolicyValue

logger = logging.getLogger(__name__)

SIMULATE = "runs.tasks.simulate"
BATCH = 500
# Looked back on where nobody says how far.
DAYS = 30
# Looked at before an answer, when a draft is saved: none of them held by a rule is worth saying.
GLANCE = 500


def ask(
    policy: Policy | None,
    *,
    by: User | None,
    value: PolicyValue | None = None,
    since: dt.datetime | None = None,
    until: dt.datetime | None = None,
    filters: Mapping[str, str] | None = None,
) -> Simulation:
    """Have this policy, or `value`, tried on what was ruled in a time. Raises BadRequest, by field."""
    now = database_now()
    since, until = since or now - dt.timedelta(days=DAYS), until or now
    if until <= since:
        raise BadRequest({"until": "It has to be later than since."})
    if unknown := sorted(set(filters or {}) - set(history.FILTERS)):
        raise BadRequest({"filters": f"There is no filter {', '.join(unknown)}: choose {', '.join(history.FILTERS)}."})
    if value is None:
        assert policy is not None
        value = policy.value()
    document = canonical.dumps(documents.told(value))
    with events.recording() as log:
        made = Simulation.objects.create(
            policy=policy,
            document=document,
            digest=canonical.digest(document),
            asked_by=by,
            since=since,
            until=until,
            filters={name: told for name, told in (filters or {}).items() if told},
        )
        log.platform(
            "policy_simulated",
            actor=versions.actor(by),
            simulation=str(made.pk),
            policy=policy.number if policy else None,
            digest=made.digest,
        )
        after_commit(ring, made.pk)
    made.refresh_from_db()
    return made


def ring(simulation_id: UUID) -> None:
    """Call a worker. Never raises: the reconciler comes for what nobody came for."""
    try:
        current_app.send_task(SIMULATE, args=[str(simulation_id)], retry=False)
    except (OperationalError, OSError) as error:
        logger.warning("no worker called to simulation %s: %s", simulation_id, error)


def call_forgotten() -> int:
    """Ring for those that have stood still for as long as a lease lasts."""
    still = dt.timedelta(seconds=settings.BATON_LEASE_SECONDS)
    with transaction.atomic():
        rows = Simulation.objects.open().filter(moved_at__lt=Now() - still).select_for_update(skip_locked=True)
        forgotten = list(rows.values_list("pk", flat=True))
        Simulation.objects.filter(pk__in=forgotten).update(moved_at=Now())
    for simulation_id in forgotten:
        ring(simulation_id)
    return len(forgotten)


def cancel(simulation: Simulation, *, by: User) -> Simulation:
    """What was found so far stays. Raises NotPossible for one that has ended."""
    with events.recording() as log:
        locked = Simulation.objects.select_for_update(of=("self",)).get(pk=simulation.pk)
        if not locked.is_open:
            raise NotPossible(f"It is {locked.status} already.")
        states.SIMULATION.move(locked, states.CANCELLED, ended_at=Now())
        log.platform("policy_simulation_cancelled", actor=versions.actor(by), simulation=str(locked.pk))
    locked.refresh_from_db()
    return locked


def carry(simulation_id: UUID) -> None:
    """Batch by batch until it has ended, somebody else carries or cancelled it, or this process was told to stop."""
    simulation = Simulation.objects.select_related("policy").get(pk=simulation_id)
    if not simulation.is_open:
        return
    try:
        _carry(simulation)
    except StaleRow:
        logger.info("simulation %s is carried by somebody else, or was cancelled", simulation_id)
    except DatabaseError:
        raise  # it is come for again
    except Exception as error:
        logger.exception("simulation %s tripped over an error of ours", simulation_id)
        said = f"{type(error).__name__}: {error}"[:500]
        states.SIMULATION.move(simulation, states.FAILED, error=said, ended_at=Now(), moved_at=Now())


def _carry(simulation: Simulation) -> None:
    if simulation.status == states.QUEUED:
        _begin(simulation)
    while _batch(simulation):
        if carrier.draining.is_set():
            ring(simulation.pk)  # for another worker
            return


def _begin(simulation: Simulation) -> None:
    total = _rows(simulation).count()
    states.SIMULATION.move(simulation, states.WORKING, total=total, moved_at=Now())


def _rows(simulation: Simulation) -> Any:
    return history.calls(simulation.since, simulation.until, simulation.filters.get("tool", ""))


def _batch(simulation: Simulation) -> bool:
    """Whether there may be more. Raises StaleRow."""
    rows = history.after(_rows(simulation), simulation.reached, BATCH)
    if not rows:
        states.SIMULATION.move(simulation, states.DONE, ended_at=Now(), moved_at=Now())
        return False
    tally, policy = simulation.found(), simulation.value()
    for each in history.among(history.recorded(rows), simulation.filters):
        tally.add(each, policy)
    _save(simulation, tally, reached=rows[-1]["pk"], seen=simulation.seen + len(rows))
    return True


def _save(simulation: Simulation, tally: Tally, *, reached: UUID, seen: int) -> None:
    unmoved = Simulation.objects.filter(pk=simulation.pk, status=states.WORKING, reached=simulation.reached)
    if not unmoved.update(reached=reached, seen=seen, tally=tally.told(), moved_at=Now()):
        raise StaleRow(f"{simulation} {simulation.pk} was moved by somebody else")
    simulation.reached, simulation.seen, simulation.tally = reached, seen, tally.told()


def unmatched(value: PolicyValue, *, looking_at: int = GLANCE) -> tuple[list[str], int]:
    """Rules that held for none of the newest rulings, and how many those were; nothing where there are none."""
    tally = Tally()
    for each in history.newest(looking_at):
        tally.add(each, value)
    return (tally.without_match(value) if tally.judged else []), tally.judged


def latest(policy: Policy) -> Simulation | None:
    """The newest that ran to its end over this very content."""
    digest = canonical.digest(canonical.dumps(documents.told(policy.value())))
    return Simulation.objects.filter(policy=policy, digest=digest, status=states.DONE).order_by("-pk").first()
