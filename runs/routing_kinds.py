"""What people are asked about whose a run is: the person who started it once, then a person who works here."""

from agents.models import Agent
from approvals import kinds
from approvals import states as verdicts
from approvals.errors import InvalidEdit
from approvals.models import ApprovalRequest, Decision
from orchestrator_site.core.commits import after_commit
from orchestrator_site.core.events import Record
from runs import orchestration, platform_tools, states
from runs import routing as routings
from runs.approval_kinds import RunKind, actor, refusal
from runs.models import Node
from runs.orchestration import clarifying, nodes
from runs.orchestration.nodes import Moves
from runs.states import StopReason
from tools.values import ErrorKind


def register() -> None:
    for kind in (ClarifyKind(), RoutingKind()):
        kinds.register(kind)


class ClarifyKind(RunKind):
    """Where no router is at work. The answer is a candidate's slug, or says in other words what it is about."""

    name = clarifying.CLARIFY_KIND
    label = "Question"
    template = "runs/_request_clarify.html"
    verdicts = frozenset({verdicts.ANSWERED, verdicts.REJECTED})

    def on_decided(self, request: ApprovalRequest, decision: Decision, log: Record) -> None:
        with orchestration.moving(log, self.run(request)) as moves:
            node = moves.node(request.content["node"])
            if node.status != states.WAITING:
                return
            if decision.verdict != verdicts.ANSWERED:
                _give_up(moves, node, decision)
                return
            self._answered(moves, node, request, decision)

    def _answered(self, moves: Moves, node: Node, request: ApprovalRequest, decision: Decision) -> None:
        routing = routings.of(moves.run)
        assert routing is not None
        stage = {
            "stage": "question",
            "asked_by": "",
            "question": request.content["question"],
            "candidates": request.content["candidates"],
            "verdict": decision.verdict,
            "answer": str(decision.answer),
            "by": actor(decision),
        }
        if clarifying.answered(moves, node, routing, stage, actor=actor(decision)):
            after_commit(orchestration.route_again, moves.run.pk)


class RoutingKind(RunKind):
    """A person routes where all before stayed unsure: the answer is an agent's slug."""

    name = platform_tools.ROUTING_KIND
    label = "Routing"
    template = "runs/_request_routing.html"
    verdicts = frozenset({verdicts.ANSWERED, verdicts.REJECTED})

    def on_decided(self, request: ApprovalRequest, decision: Decision, log: Record) -> None:
        if request.dispatch_id is None:
            self._for_node(request, decision, log)
        else:
            self._for_router(request, decision, log)

    def _for_node(self, request: ApprovalRequest, decision: Decision, log: Record) -> None:
        with orchestration.moving(log, self.run(request)) as moves:
            node = moves.node(request.content["node"])
            if node.status != states.WAITING:
                return
            if decision.verdict != verdicts.ANSWERED:
                _give_up(moves, node, decision)
                return
            agent = _chosen(decision)
            clarifying.decided_by_person(moves, node, routings.of(moves.run), agent, actor=actor(decision))

    def _for_router(self, request: ApprovalRequest, decision: Decision, log: Record) -> None:
        """In the place of the router, whose call the answer ends."""
        dispatch = self.dispatch(request)
        if decision.verdict != verdicts.ANSWERED:
            told = {"result": refusal(decision), "error_kind": ErrorKind.REJECTED}
            self.move_call(log, request, decision, states.REFUSED, **told)
        else:
            agent = _chosen(decision, without=dispatch.manifest.agent_id)
            platform_tools.add_route(dispatch, agent, dispatch.task, actor(decision))
            self.move_call(log, request, decision, states.DONE, result=f"A person chose {agent.slug}.")
        self.wake(log, request)


def _chosen(decision: Decision, *, without: int | None = None) -> Agent:
    """Raises InvalidEdit where the answer is nobody at work."""
    agent = clarifying.at_work(str(decision.answer).strip())
    if agent is None or agent.pk == without:
        raise InvalidEdit({"answer": f"There is no agent {decision.answer!r} at work to choose."})
    return agent


def _give_up(moves: Moves, node: Node, decision: Decision) -> None:
    reason = StopReason.NEEDS_HUMAN if decision.verdict == verdicts.EXPIRED else StopReason.REJECTED
    nodes.fail(moves, node, reason, f"It went to nobody: {decision.reason}")
