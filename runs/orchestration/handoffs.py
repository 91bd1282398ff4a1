"""An accepted handoff becomes a node. The caller holds the run's row."""

from orchestrator_site.core.events import Record
from runs import states
from runs.models import Edge, Handoff, Run
from runs.orchestration import nodes


def continue_accepted(log: Record, run: Run) -> None:
    """The target gets the task verbatim and references it can read; whoever waited for the source waits for it too."""
    accepted = Handoff.objects.filter(source__run=run, status=states.ACCEPTED, continued_by__isnull=True)
    for handoff in accepted.select_related("source", "target__published__agent"):
        source = handoff.source
        node = nodes.add(
            log,
            run,
            handoff.target,
            handoff.task,
            origin="handoff",
            parents=[],
            depth=source.depth + 1,
            briefing=_briefing(handoff),
        )
        Edge.objects.create(parent=source, child=node)
        Handoff.objects.filter(pk=handoff.pk).update(continued_by=node)
        for edge in source.edges_out.filter(child__status=states.BLOCKED):
            Edge.objects.get_or_create(parent=node, child=edge.child)


def _briefing(handoff: Handoff) -> str:
    lines = [f"Handed over because: {handoff.reason}"]
    if handoff.artifacts:
        listed = "\n".join(f"- {reference}" for reference in handoff.artifacts)
        lines.append(f"References you can read with artifact_read:\n{listed}")
    return "\n\n".join(lines)
