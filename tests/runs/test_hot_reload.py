"""A new agent reaches running workers, all of them, without a restart; a retired one is gone."""

import pytest

from agents import manifests, roster
from agents.models import Agent, WorkerRoster
from runs import doorbells, states
from runs.models import Run
from tests.runs import cast
from tests.stack import Stack
from tests.waiting import eventually

pytestmark = pytest.mark.django_db(transaction=True)


def every_worker_serves(epoch: int, workers: int) -> bool:
    served = list(WorkerRoster.objects.seen_within(60).values_list("epoch", flat=True))
    return len(served) >= workers and all(each >= epoch for each in served)


def ask(ann, *turns) -> Run:
    run = cast.start(ann, cast.scripts(triage=list(turns), warranty=[cast.text("Noted.")]), agent=None)
    for dispatch in run.dispatches.open():
        doorbells.ring(dispatch.pk)
    eventually(lambda: Run.objects.get(pk=run.pk).is_final)
    return Run.objects.get(pk=run.pk)


CLAIM = ("dispatch_to_warranty", {"task": "Take the claim.", "confidence": 0.9})


def test_an_agent_published_while_workers_run_is_dispatched_to_at_once_and_gone_when_retired(
    stack: Stack, model, ann
) -> None:
    cast.agent("triage", kind="router")
    stack.start_worker()
    stack.start_worker()
    eventually(lambda: every_worker_serves(roster.database_epoch(), workers=2))

    cast.agent("warranty")

    eventually(lambda: every_worker_serves(roster.database_epoch(), workers=2))
    run = ask(ann, cast.call(CLAIM))
    assert (run.status, run.output) == (states.SUCCEEDED, "Noted.")

    manifests.retire(Agent.objects.get(slug="warranty"), by=None)

    eventually(lambda: every_worker_serves(roster.database_epoch(), workers=2))
    run = ask(
        ann,
        cast.call(CLAIM),
        cast.text("Nobody does that."),
    )
    assert run.output == "Nobody does that."
    assert "dispatch_to_warranty" not in [tool["name"] for tool in model.requests()[-1]["tools"]]
