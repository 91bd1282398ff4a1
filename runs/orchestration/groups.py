"""The nodes within a node have all ended: what it came to, or what is still to be done for it."""

from collections.abc import Sequence

from agents.values import AgentKind
from runs import states
from runs.models import Dispatch, Edge, Node, Plan
from runs.orchestration import dispatching, handoffs, judging, nodes, reducing, results, watching
from runs.orchestration.nodes import Moves
from runs.planning.values import PlanSpec
from runs.states import StopReason


def complete(moves: Moves, node: Node) -> None:
    """Expects a node at work, none of whose inner nodes is open."""
    inner = Node.objects.filter(within=node, superseded=False).order_by("number")
    every = list(inner.select_related("answered_by__manifest__agent", "agent"))
    told = [each for each in every if not each.role]
    if moves.is_stopping:
        nodes.end(moves, node, states.CANCELLED, stop_reason=StopReason.CANCELLED, output=_joined(told))
    elif (handoff := handoffs.unasked(node, every)) is not None:
        handoffs.take_summary(moves, node, handoff)
    elif node.kind in ("map", "ensemble", "reduce"):
        _reduce(moves, node, every, told or results.read_by(node))
    else:
        _conclude(moves, node, told)


def _conclude(moves: Moves, node: Node, told: Sequence[Node]) -> None:
    last = _last_try(node)
    match last.manifest.kind if last else None:
        case AgentKind.SUPERVISOR:
            # Something that it had dispatched was done again: it has another look.
            briefing = "\n\n".join([results.references(told), results.earlier_tries(node)])
            dispatching.start(moves, node, origin="retry", briefing=briefing, depth=last.depth if last else 0)
        case AgentKind.WORKER if last:
            if not watching.looks_again(moves, node, last):
                handoffs.answer(moves, node, last)
        case _:
            _answer(moves, node, told)


def _last_try(node: Node) -> Dispatch | None:
    if node.dispatch_id is None:
        return None
    return Dispatch.objects.select_related("manifest__agent").get(pk=node.dispatch_id)


def _reduce(moves: Moves, node: Node, every: Sequence[Node], told: Sequence[Node]) -> None:
    reducers = [each for each in every if each.role == "reducer"]
    if not reducers:
        reducing.reduce(moves, node, told)
    elif reducing.is_vote(node):
        reducing.settle_tie(moves, node, reducers[-1], told)
    else:
        failed = next((each for each in reducers if each.status != states.SUCCEEDED), None)
        reducing.conclude(moves, node, failed or reducers[-1], told)


def _answer(moves: Moves, node: Node, told: Sequence[Node]) -> None:
    """Of a plan, or of a router's decisions: the newest round that came to something, since a judge that sends for
    more makes nothing worse."""
    plans = list(node.plans.select_related("request__decision").order_by("-round"))
    accepted = [each for each in plans if each.status == states.ACCEPTED]
    rounds = [(each, _answers(each, told)) for each in accepted]
    plan, answers = next((each for each in rounds if _is_good(each[1])), rounds[0] if rounds else (None, list(told)))
    failed = next((each for each in answers if not _counts(each) and each.status != states.SKIPPED), None)
    failed = failed or next((each for each in answers if not _counts(each)), None)
    if failed is not None:
        reason = failed.stop_reason or StopReason.NEEDS_HUMAN
        nodes.fail(moves, node, reason, _partial(told) or failed.message, output=_joined(answers))
        return
    said: list[str] = []
    if plan is not None and (rule := PlanSpec.model_validate(accepted[-1].content).judge):
        # The judge of the first plan judges them all.
        judged = judging.judge(moves, node, plan, rule, answers)
        if judged is None:
            return
        said = [judged, *_why_no_newer(plans, plan)] if judged or plan is not accepted[0] else []
    message = " ".join(part for part in [*said, _partial(told)] if part)
    nodes.succeed(moves, node, output=_joined(answers), message=message)


def _is_good(answers: Sequence[Node]) -> bool:
    return all(map(_counts, answers)) and any(each.status == states.SUCCEEDED for each in answers)


def _why_no_newer(plans: Sequence[Plan], answered: Plan) -> list[str]:
    """What became of the rounds that were planned after the one that is the answer."""
    told = []
    for plan in reversed(plans):
        if plan.round > answered.round and plan.status == states.ACCEPTED:
            told.append(f"Round {plan.round}, which was to better it, did not succeed.")
        elif plan.round > answered.round and plan.status in (states.DECLINED, states.EXPIRED):
            decision = getattr(plan.request, "decision", None)
            why = (decision and decision.reason) or "nobody decided in time"
            told.append(f"The plan of round {plan.round} was {plan.status}: {why.rstrip('.')}.")
    return told


def _joined(told: Sequence[Node]) -> str:
    return results.joined([each for each in told if each.status != states.SKIPPED])


def _counts(node: Node) -> bool:
    return node.status == states.SUCCEEDED or node.left_out


def _answers(plan: Plan, told: Sequence[Node]) -> list[Node]:
    """The nodes whose results are the answer of a round: those that its plan names, or its ends."""
    named = plan.content.get("answer")
    if named:
        return [each for each in told if each.key in named]
    own = [each for each in told if each.plan_id == plan.pk]
    ids = [each.pk for each in own]
    within = Edge.objects.filter(parent__in=ids, child__plan=plan, child__superseded=False)
    followed = set(within.values_list("parent_id", flat=True))
    return [each for each in own if each.pk not in followed]


def _partial(told: Sequence[Node]) -> str:
    missing = [each for each in told if each.status != states.SUCCEEDED]
    if not missing or len(told) == 1:
        return ""
    named = "; ".join(f"{each.key}: {each.message or each.stop_reason}" for each in missing[:3])
    return f"{len(missing)} of {len(told)} nodes did not succeed ({named})."
