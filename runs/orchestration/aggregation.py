"""What a run came to: the results of its last nodes, joined in order."""

from dataclasses import dataclass
from uuid import UUID

from django.db.models import QuerySet

from orchestrator_site.core.prepared import Prepared
from runs import states
from runs.models import Dispatch, Run
from runs.orchestration import nodes
from runs.states import StopReason


@dataclass(frozen=True)
class RunResult:
    status: str
    stop_reason: str
    output: str


def aggregate(run: Run) -> RunResult:
    """Expects all nodes complete. One that did not succeed keeps the run from being green; what was made is kept."""
    results = [nodes.result(node) for node in answering(run)]
    output = "\n\n".join(each.text for each in results if each.text)
    if run.cancel_requested_at is not None:
        return RunResult(states.CANCELLED, StopReason.CANCELLED, output)
    if failed := next((each for each in results if not each.ok), None):
        return RunResult(states.FAILED, failed.stop_reason or StopReason.NEEDS_HUMAN, output)
    return RunResult(states.SUCCEEDED, StopReason.FINISHED, output)


def answering(run: Run) -> list[Dispatch]:
    """The nodes whose results are the run's answer: not routers that routed, nor nodes that continue another."""
    return _ANSWERING(run.pk)


def _answering(run_id: UUID) -> QuerySet[Dispatch]:
    every = Dispatch.objects.filter(run_id=run_id).exclude(routes__node__isnull=False)
    return every.exclude(continues_handoff__isnull=False).exclude(status=states.SKIPPED).order_by("number")


_ANSWERING = Prepared(_answering, UUID(int=1))
