"""Workers of two releases side by side: the older never touches what is newer, and nothing is lost or repeated."""

import os
import subprocess
import sys
from collections import Counter

import pytest
from django.contrib.auth.models import User

from orchestrator_site.core import canonical, events
from orchestrator_site.services.processes import REPOSITORY
from runs import states
from runs.models import Dispatch, Run, ToolCall
from tests.faults import batch
from tests.faults.batch import CELLS
from tests.model_fixtures import Process, ScriptedModel
from tests.runs import cast
from tests.runs.cast import events_of
from tests.stack import Stack
from tests.waiting import eventually
from tools.values import Effect

pytestmark = [pytest.mark.crash, pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("model")]

# One turn a slice, so that a dispatch changes hands as often as it can.
OLDER = {"BATON_SLICE_TURNS": "1", "BATON_RECONCILE_SECONDS": "0.5", "BATON_LEASE_SECONDS": "3"}
NEWER = OLDER | {"BATON_CALLABLES": "tests.runs.callables,tests.faults.version_two"}
FREE = [cell for cell in CELLS if not cell.gated]
TURNS = 3


def scripts() -> list[str]:
    """Each calls a tool of its own kind in every turn."""
    asks = [
        [cast.call((cell.tool, {"turn": turn, "dedupe": cell.effect == Effect.KEYED})) for turn in range(TURNS)]
        for cell in FREE
    ]
    return [cast.script(*calls, cast.text("done")) for calls in asks]


def start_newer(stack: Stack, ann: User) -> list[Run]:
    """As a web process of the next release does."""
    started = subprocess.run(
        [sys.executable, "-m", "tests.faults.start_runs", ann.username, *scripts()],
        env=os.environ | stack.env | {"BATON_CALLABLES": NEWER["BATON_CALLABLES"]},
        cwd=REPOSITORY, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return list(Run.objects.filter(pk__in=started.stdout.split()))


def are_done(runs: list[Run]) -> bool:
    return not Run.objects.filter(pk__in=[run.pk for run in runs]).exclude(status__in=batch.AT_REST).exists()


def test_two_releases_side_by_side(stack: Stack, ledger: Process, ann: User, model: ScriptedModel) -> None:
    batch.hire()
    stack.start_worker(OLDER)
    newer_runs = start_newer(stack, ann)
    runs = [cast.start(ann, each) for each in scripts()]
    eventually(lambda: are_done(runs))

    untouched = Dispatch.objects.filter(run__in=newer_runs)
    assert set(untouched.values_list("status", "fence", "state_version")) == {(states.QUEUED, 0, 2)}
    assert {len(events.of_run(run.pk)) for run in newer_runs} == {3}, "accepted, working, queued: by who started them"

    newer = stack.start_worker(NEWER)
    mixed = [cast.start(ann, each) for each in scripts() + scripts()]
    eventually(lambda: are_done([*newer_runs, *mixed]))

    everything = [*runs, *newer_runs, *mixed]
    assert Counter(Run.objects.get(pk=run.pk).status for run in everything) == {states.SUCCEEDED: len(everything)}
    nothing_is_lost_or_repeated(ledger, everything)
    upgraded = [run for run in mixed if events_of(run, "dispatch_state_upgraded")]
    assert upgraded, "the newer brought some up"
    for run in mixed:
        the_older_stays_away(run, f":{newer.pid}:")
        dispatch = run.dispatches.get()
        assert dispatch.state_version == (2 if run in upgraded else 1)
        assert dispatch.task.startswith('{"version"') == (run in upgraded)
    asked = [
        message["content"] for body in model.requests() for message in body["messages"] if message["role"] == "user"
    ]
    assert not [content for content in asked if "envelope" in str(content) or '"version": 2' in str(content)]


def nothing_is_lost_or_repeated(ledger: Process, runs: list[Run]) -> None:
    calls = ToolCall.objects.filter(dispatch__run__in=runs)
    assert [calls.count(), calls.filter(status=states.DONE).count()] == [len(runs) * TURNS] * 2
    made = Counter(effect["key"] for effect in ledger.get("/effects") for _ in range(effect["requests"]))
    assert {made[call.idempotency_key] for call in calls} == {1}


def the_older_stays_away(run: Run, newer: str) -> None:
    """From the moment at which a dispatch was brought up no worker of the older release has it."""
    told = [(event.type, event.actor, canonical.loads(event.data)) for event in events.of_run(run.pk)]
    types = [type for type, _, _ in told]
    if "dispatch_state_upgraded" not in types:
        return
    since = told[types.index("dispatch_state_upgraded") - 1 :]  # from the claim that brought it up
    workers = [actor for _, actor, _ in since if actor.startswith("worker:")]
    assert workers
    assert not [worker for worker in workers if newer not in worker]
