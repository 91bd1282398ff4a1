"""What a person approved beforehand, where a ruling would ask: rows are read then only, and matched by a pure function.

A call that runs on one is not sent in the transaction that ruled on it: its use is counted with its intent.
"""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from approvals import standing
from approvals.models import StandingApproval
from orchestrator_site.core import canonical
from orchestrator_site.core.events import Record
from runs.engine.offer import Offered
from runs.models import Dispatch, ToolCall
from tools import patterns
from tools.policies.facts import BROKEN, STANDING, STANDING_GROUP
from tools.values import Allow, Confirmation, Label, NeedsApproval, Risk, Ruling


def relaxed(ruling: Ruling, offered: Offered | None, dispatch: Dispatch, call: ToolCall) -> Ruling:
    """`Allow` where a standing approval covers a call that a person would be asked about; else the ruling as it is.

    `call` may not be written yet. What a person decided for itself stays a person's.
    """
    if (
        call.request_id is not None
        or not isinstance(ruling, NeedsApproval)
        or offered is None
        or not _may_be_covered(ruling, offered)
    ):
        return ruling
    arguments = canonical.loads(call.arguments)
    for each in _usable(offered, dispatch, call.pk, call.tool):
        if _covers(each, ruling, arguments):
            counted = each.uses + (0 if each.status == "used_up" else 1)
            facts = {**ruling.facts, STANDING: each.pk} | ({STANDING_GROUP: each.group} if each.group else {})
            return Allow((standing.in_words(each, counted), *ruling.reasons), ruling.risk, facts, notify=True)
    return ruling


def of(ruling: Ruling) -> int | None:
    """The standing approval that a ruling rests on."""
    return ruling.facts.get(STANDING)


def use(log: Record, ruling: Allow, dispatch: Dispatch, call: ToolCall) -> bool:
    """Count the call, with its intent. False where it covers nothing any more: then a person is asked."""
    return standing.use(log, ruling.facts[STANDING], run_id=dispatch.run_id, call_id=call.pk, arguments=call.arguments)


def _usable(offered: Offered, dispatch: Dispatch, call_id: UUID, tool: str) -> list[StandingApproval]:
    rows = StandingApproval.objects.usable_for(
        tool=tool,
        version=offered.spec.version_id,
        agent=dispatch.manifest.agent.slug,
        run_id=dispatch.run_id,
        call_id=call_id,
    )
    return list(rows)


def _may_be_covered(ruling: NeedsApproval, offered: Offered) -> bool:
    """Some calls are always approved for themselves, whatever was approved beforehand."""
    spec, facts = offered.spec, ruling.facts
    always = spec.confirmation == Confirmation.ALWAYS or offered.grant.always_confirm
    could_leak = spec.is_external and {Label.UNTRUSTED, Label.SENSITIVE} <= set(facts.get("taint", ()))
    again = facts.get("run.repeats_effect") or facts.get("run.restored")
    unclear = facts.get(BROKEN)
    alone = ruling.four_eyes or ruling.approvers > 1
    return not (always or could_leak or again or unclear or alone or offered.is_platform)


def _covers(each: StandingApproval, ruling: NeedsApproval, arguments: Mapping[str, Any]) -> bool:
    """What came from content that anybody may have written has to be held to something: “any” vouches for nothing."""
    pattern = patterns.read(each.pattern)
    doubtful = ruling.facts.get("origins", {})
    return (
        Risk(each.risk).at_least(Risk(ruling.risk))
        and ruling.group in ("", each.group)
        and all(name in pattern and pattern[name].kind != patterns.ANY for name in doubtful)
        and patterns.covers(pattern, arguments)
    )
