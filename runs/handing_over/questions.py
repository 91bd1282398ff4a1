"""The question to a person whether a handoff is made: what is frozen is what the target will read."""

from typing import Any

from django.conf import settings

from agents.models import Agent, FailureRule
from approvals import requests
from orchestrator_site.core.events import Record
from runs.handing_over import preconditions, transfers
from runs.models import Handoff
from runs.platform_tools import HANDOFF_KIND
from tools.values import Risk


def ask(log: Record, handoff: Handoff, *, summary: str = "", notes: tuple[str, ...] = ()) -> None:
    """Open the request; before the yes nobody is dispatched. `notes`: what else the person has to know.

    Expects source with its run and manifest's agent, and target, joined. The caller holds the run, or the source.
    """
    source, run = handoff.source.manifest.agent.slug, handoff.source.run
    handoff.passed = transfers.briefing(transfers.of(handoff, summary))
    handoff.tokens_at_most = transfers.tokens_at_most(handoff.task, handoff.passed)
    handoff.preconditions = preconditions.stored(preconditions.now(handoff))
    handoff.request = requests.ask(
        log,
        kind=HANDOFF_KIND,
        run_id=run.pk,
        dispatch_id=handoff.source_id,
        title=title(source, handoff.target.slug),
        frozen=content(handoff),
        risk=Risk.MEDIUM,
        reasons=["A person accepts every handoff.", *_stand_ins(handoff.target), *notes],
        reasoning=handoff.reason,
        requester_id=run.owner_id,
        deadline_seconds=handoff.deadline_seconds or settings.BATON_APPROVAL_SECONDS,
        actor=f"agent:{source}",
    )
    handoff.save(update_fields=["passed", "tokens_at_most", "preconditions", "request"])


def _stand_ins(target: Agent) -> list[str]:
    """Who gets the work without another question: the yes to the target is a yes to them."""
    rule = FailureRule.objects.filter(agent=target).first()
    if rule is None or not rule.fallbacks:
        return []
    return [f"Should {target.slug} fail, the work goes to {', then '.join(rule.fallbacks)}, with nobody asked again."]


def title(source: str, target: str) -> str:
    return f"Hand over from {source} to {target}?"


def content(handoff: Handoff) -> dict[str, Any]:
    """What is frozen."""
    return {
        "handoff": str(handoff.pk),
        "source": handoff.source.manifest.agent.slug,
        "target": handoff.target.slug,
        "reason": handoff.reason,
        "task": handoff.task,
        "artifacts": handoff.artifacts,
        "preconditions": handoff.preconditions,
        "confidence": handoff.confidence,
        "state": handoff.state,
        "transfer": handoff.transfer,
        "steps": handoff.steps,
        "passed": handoff.passed,
        "tokens_at_most": handoff.tokens_at_most,
        "source_watches": handoff.source_watches,
    }
