"""What the pages need of runs, in few queries whatever their size: rows become views that templates only print."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from django.contrib.auth.models import AnonymousUser, User
from django.urls import reverse

from agents import roster
from agents.models import EXEMPLAR_LENGTH
from approvals import presentation as requests_shown
from approvals.models import ApprovalRequest
from approvals.presentation import RUN, Card
from orchestrator_site.core import canonical, drops, events
from orchestrator_site.core.drops import Drop
from orchestrator_site.core.models import Event
from runs import comments, corrections, intake, node_list, states
from runs.engine.turn import text_of
from runs.models import (
    Account,
    Artifact,
    Attempt,
    BoardEntry,
    ContextView,
    Dispatch,
    Handoff,
    Message,
    Route,
    Routing,
    Run,
    Step,
    ToolCall,
)
from runs.models import Node as Place
from runs.node_list import NodeList
from runs.states import StopReason
from runs.uncertain import may_repeat

# A dispatch may take a thousand steps; a page that shows them all helps nobody.
STEPS_SHOWN = 120
EVENTS_SHOWN = 12
# Runs of the conversation on each side of the one that is shown.
CONVERSATION_SHOWN = 20
BOARD_SHOWN, BOARD_IN_SIGHT = 100, 10

STOP_WORDS = {
    StopReason.FINISHED: "It finished.",
    StopReason.HANDED_OFF: "It was handed over to another agent.",
    StopReason.MAX_ITERATIONS: "It was cut off: the agent used up the model calls it may make.",
    StopReason.MAX_TOKENS: "It was cut off: the token limit was reached.",
    StopReason.BUDGET: "It stopped because its budget was used up.",
    StopReason.TIMEOUT: "It was cut off: it worked longer than it may.",
    StopReason.LOOP_DETECTED: "It was stopped: the same call brought the same result three times.",
    StopReason.REFUSED: "It stopped because it was refused.",
    StopReason.REJECTED: "A person said no, and that ended it.",
    StopReason.MODEL_FAILED: "It stopped because no model could go on with it.",
    StopReason.CONTRACT_VIOLATED: "The result did not have the form that was agreed.",
    StopReason.QUARANTINED: "It was set aside: worker after worker failed on it.",
    StopReason.CANCELLED: "It was cancelled.",
    StopReason.NEEDS_HUMAN: "It needs a person to go on.",
}


def stop_words(reason: str) -> str:
    return STOP_WORDS[StopReason(reason)] if reason else ""


# -- the list ----------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Line:
    """A run in a list."""

    run: Run
    agents: list[str]
    cost_usd: Decimal
    tokens: int

    @property
    def told(self) -> str:
        if self.run.status == states.WAITING:
            return f"Waits for {self.run.waiting_on}" if self.run.waiting_on else ""
        if self.run.status in (states.FAILED, states.CANCELLED):
            return stop_words(self.run.stop_reason)
        return ""


def lines(runs: Sequence[Run]) -> list[Line]:
    """One query for the agents and costs of all of them."""
    agents: dict[Any, list[str]] = defaultdict(list)
    cost: dict[Any, Decimal] = defaultdict(Decimal)
    tokens: dict[Any, int] = defaultdict(int)
    rows = Dispatch.objects.filter(run__in=[run.pk for run in runs]).order_by("run", "number")
    for run_id, slug, usd, used in rows.values_list("run_id", "manifest__agent__slug", "cost_usd", "tokens"):
        if slug not in agents[run_id]:
            agents[run_id].append(slug)
        cost[run_id] += usd
        tokens[run_id] += used
    return [Line(run, agents[run.pk], cost[run.pk], tokens[run.pk]) for run in runs]


# -- calls -------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class CallView:
    call: ToolCall
    attempts: list[Attempt]
    card: Card | None = None

    @property
    def arguments(self) -> Any:
        return canonical.loads(self.call.arguments)

    @property
    def was_edited(self) -> bool:
        return self.call.arguments != self.call.proposed_arguments

    @property
    def proposed(self) -> Any:
        return canonical.loads(self.call.proposed_arguments)

    @property
    def result(self) -> Any:
        return readable(self.call.result)

    @property
    def reasons(self) -> list[str]:
        return self._ruling.get("reasons", [])

    @property
    def verdict(self) -> str:
        """What the gate said, as the beginning of a sentence. What was let through may yet wait, or be held back."""
        said = self._ruling.get("verdict", "")
        if said == "Allow" and self.call.status not in states.MAY_HAVE_SENT:
            return "It was let through because"
        return _VERDICTS.get(said, "")

    @property
    def before_edits(self) -> list[dict[str, Any]]:
        """How it was ruled before each edit by a person, the newest first: {risk, policy, why, reasons}."""
        rulings, each = [], self._ruling
        while each := each.get("before", {}):
            why = _VERDICTS.get(each["verdict"], "")
            policy = each.get("facts", {}).get("policy", "")
            rulings.append({"risk": each["risk"], "policy": policy, "why": why, "reasons": each["reasons"]})
        return rulings

    @property
    def _ruling(self) -> dict[str, Any]:
        return canonical.loads(self.call.ruling) if self.call.ruling else {}

    @property
    def told(self) -> str:
        """Who decided, if a person was asked."""
        decision = getattr(self.call.request, "decision", None) if self.call.request else None
        return requests_shown.told(decision) if decision else ""

    @property
    def is_uncertain(self) -> bool:
        return self.call.status == states.UNCERTAIN

    @property
    def last_said(self) -> str:
        return self.attempts[-1].result if self.attempts else ""

    @property
    def summary(self) -> str:
        """The short arguments on one line."""
        scalars = [str(value) for value in self.arguments.values() if isinstance(value, (str, int, float))]
        said = ", ".join(value for value in scalars if len(value) <= 60)
        return said if len(said) <= 90 else said[:89] + "…"


_VERDICTS = {
    "Allow": "It ran because",
    "NeedsApproval": "A person was asked because",
    "Defer": "It waits because",
    "Refuse": "Refused because",
}


def readable(text: str) -> Any:
    """A result as the value it is written as; text that is no JSON object or list stays text."""
    if text[:1] in ("{", "["):
        try:
            return json.loads(text)
        except ValueError:
            return text
    return text


# -- the tree ----------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class StepView:
    """A step; `tries` is how often in a row its model failed in the same words, of which this was the last time.

    `mail` are the messages that it read first; `views` say what was left out of what comes after it.
    """

    step: Step
    calls: list[CallView]
    mail: list[Message] = field(default_factory=list)
    views: list[ContextView] = field(default_factory=list)
    tries: int = 1
    earlier_usd: Decimal = Decimal(0)

    @property
    def cost_usd(self) -> Decimal:
        return self.earlier_usd + self.step.cost_usd

    @property
    def text(self) -> str:
        return text_of(json.loads(self.step.reply)) if self.step.reply else ""

    @property
    def is_active(self) -> bool:
        return self.step.status == states.ASKED

    @property
    def tokens(self) -> int:
        step = self.step
        return step.input_tokens + step.output_tokens + step.cache_read_tokens + step.cache_write_tokens


@dataclass
class Node:
    """A dispatch with what it did, and the dispatches it led to."""

    dispatch: Dispatch
    steps: list[StepView]
    cards: list[Card]
    unread: list[Message] = field(default_factory=list)
    handoff: Handoff | None = None
    handoff_card: Card | None = None
    children: list["Node"] = field(default_factory=list)
    decided_by: str = ""

    @property
    def title(self) -> str:
        return self.dispatch.manifest.title

    @property
    def slug(self) -> str:
        return self.dispatch.manifest.agent.slug

    @property
    def origin(self) -> str:
        match self.dispatch.origin:
            case "route":
                return f"routed by {self.decided_by.partition(':')[2]}" if self.decided_by else "routed"
            case "closing":
                return "has the last word" if self.dispatch.has_last_word else "looks again"
            case origin:
                return _ORIGINS[origin]

    @property
    def asks(self) -> bool:
        return bool(self.cards or self.handoff_card or any(call.card for step in self.steps for call in step.calls))

    @property
    def ended(self) -> str:
        dispatch = self.dispatch
        return dispatch.message or (stop_words(dispatch.stop_reason) if dispatch.stop_reason else "")

    @property
    def cost_percent(self) -> int:
        return percent(self.dispatch.cost_usd, self.dispatch.cost_cap_usd)

    @property
    def final_text(self) -> str:
        """The output, where no step shown says it already."""
        said = self.steps[-1].text if self.steps else ""
        return "" if self.dispatch.output == said else self.dispatch.output


_ORIGINS = {
    "run": "first",
    "plan": "by the plan",
    "handoff": "handed over",
    "retry": "another try",
    "fallback": "in its place",
    "reroute": "sent elsewhere",
    "guidance": "sent back with guidance",
}


@dataclass(frozen=True)
class Meter:
    """What was spent of what may be spent. `is_budget`: the run's own cap, else the sum of its agents' limits."""

    spent: Decimal
    reserved: Decimal
    cap: Decimal
    is_budget: bool
    tokens: int

    @property
    def percent(self) -> int:
        return percent(self.spent, self.cap)


def percent(part: Decimal, whole: Decimal) -> int:
    return min(100, round(100 * part / whole)) if whole else 0


@dataclass(frozen=True)
class Unblocks:
    """Why a run waits, in one sentence, and where that can be changed."""

    sentence: str
    href: str = ""
    label: str = ""


@dataclass(frozen=True)
class EventLine:
    event: Event

    @property
    def words(self) -> str:
        return self.event.type.replace("_", " ").capitalize()

    @property
    def detail(self) -> str:
        """The most telling of its facts."""
        data = canonical.loads(self.event.data)
        said = [str(data[name]) for name in _TELLING if data.get(name)]
        return " · ".join(said)[:200]


_TELLING = (
    "line",
    "agent",
    "target",
    "tool",
    "title",
    "what",
    "verdict",
    "reason",
    "waiting_on",
    "message",
    "stop_reason",
)


@dataclass(frozen=True)
class RunPage:
    """`cards` are what is asked of the run itself, of none of its agents. A run of one node has `roots`, its
    dispatches as a tree; one of several has `nodes`."""

    run: Run
    places: list[Place]
    roots: list[Node]
    nodes: NodeList | None
    board: list[BoardEntry]
    meter: Meter
    unblocks: Unblocks | None
    events: list[EventLine]
    seq: int
    drop: Drop | None
    artifacts: list[Artifact]
    earlier: list[Run]
    later: list[Run]
    hidden_steps: int
    cards: list[Card]

    @property
    def stop_words(self) -> str:
        return stop_words(self.run.stop_reason)

    @property
    def routing(self) -> Routing | None:
        """None where the run names who does it."""
        return getattr(self.run, "routing", None)

    @property
    def redone(self) -> Place | None:
        """The one node of a run, where a person may comment on it."""
        only = self.places[0] if self.nodes is None else None
        return only if only is not None and comments.why_not(only, []) is None else None

    @property
    def board_earlier(self) -> list[BoardEntry]:
        return self.board[:-BOARD_IN_SIGHT]

    @property
    def board_newest(self) -> list[BoardEntry]:
        return self.board[-BOARD_IN_SIGHT:]

    @property
    def is_short(self) -> bool:
        """The request stands in the heading, whole."""
        return len(self.run.input) <= 120 and "\n" not in self.run.input.strip()

    @property
    def source(self) -> str:
        return {"api": "over the API", "web": "on the web", "admin": "in the admin", "demo": "by the demo"}[
            self.run.source
        ]


def run_page(run: Run, user: User | AnonymousUser) -> RunPage:
    """Expects owner, agent and account to be joined; a constant number of queries."""
    requests = _requests(run)
    cards = requests_shown.cards(requests, user, origin=RUN)
    nodes, hidden = _nodes(run, cards)
    places = list(run.nodes.select_related("agent").order_by("number"))
    above = _join(run, nodes, cards)
    newest = list(Event.objects.filter(chain=events.run_chain(run.pk)).order_by("-seq")[:EVENTS_SHOWN])
    earlier, later = _conversation(run)
    return RunPage(
        run=run,
        places=places,
        roots=_as_tree(nodes, above) if len(places) == 1 else [],
        nodes=node_list.of(run, places, nodes) if len(places) > 1 else None,
        board=list(reversed(run.board.order_by("-number")[:BOARD_SHOWN])) if run.board_entries else [],
        meter=_meter(run, [node.dispatch for node in nodes]),
        unblocks=_unblocks(run, list(cards.values()), nodes),
        events=[EventLine(event) for event in newest],
        seq=newest[0].seq if newest else 0,
        drop=None if newest else drops.of_chain(events.run_chain(run.pk)),
        artifacts=list(run.artifacts.select_related("dispatch__manifest__agent")),
        earlier=earlier,
        later=later,
        hidden_steps=hidden,
        cards=[card for card in cards.values() if card.request.dispatch_id is None],
    )


def _requests(run: Run) -> list[ApprovalRequest]:
    open_ones = ApprovalRequest.objects.open().filter(run_id=run.pk)
    return list(open_ones.select_related("requester", "decision").in_queue_order())


def _nodes(run: Run, cards: Mapping[Any, Card]) -> tuple[list[Node], int]:
    """Every dispatch with its newest steps and their calls, and how many older steps are not shown."""
    dispatches = list(run.dispatches.select_related("manifest__agent").order_by("number"))
    every = Step.objects.filter(dispatch__run=run)
    steps = list(every.order_by("-asked_at", "-pk")[:STEPS_SHOWN])
    hidden = every.count() - len(steps) if len(steps) == STEPS_SHOWN else 0
    calls = _calls(ToolCall.objects.filter(step__in=steps), cards)
    by_step: dict[Any, list[CallView]] = defaultdict(list)
    for view in calls:
        by_step[view.call.step_id].append(view)
    mail: dict[tuple[Any, int | None], list[Message]] = defaultdict(list)
    if told := [each for each in dispatches if each.mail]:
        for message in Message.objects.filter(dispatch__in=told).order_by("dispatch", "number"):
            mail[message.dispatch_id, message.step].append(message)
    views: dict[tuple[Any, int], list[ContextView]] = defaultdict(list)
    if viewed := [each for each in dispatches if each.views]:
        for change in ContextView.objects.filter(dispatch__in=viewed).order_by("dispatch", "number"):
            views[change.dispatch_id, change.after_step].append(change)
    by_dispatch: dict[Any, list[StepView]] = defaultdict(list)
    for step in sorted(steps, key=lambda each: each.number):
        place = step.dispatch_id, step.number
        by_dispatch[step.dispatch_id].append(StepView(step, by_step[step.pk], mail[place], views[place]))
    apart: dict[Any, list[Card]] = defaultdict(list)
    for card in cards.values():
        if card.request.call_id is None and card.request.kind != "handoff":
            apart[card.request.dispatch_id].append(card)
    nodes = [Node(each, _folded(by_dispatch[each.pk]), apart[each.pk], mail[each.pk, None]) for each in dispatches]
    return nodes, hidden


def _folded(steps: Iterable[StepView]) -> list[StepView]:
    """Tries that failed in the same words, one after another, as one."""
    folded: list[StepView] = []
    for view in steps:
        step, before = view.step, folded[-1] if folded else None
        if before and step.error and (before.step.model, before.step.error) == (step.model, step.error):
            folded.pop()
            told = [*before.mail, *view.mail]
            view = replace(view, mail=told, tries=before.tries + 1, earlier_usd=before.cost_usd)
        folded.append(view)
    return folded


def _calls(rows: Any, cards: Mapping[Any, Card]) -> list[CallView]:
    calls = list(rows.select_related("request__decision").order_by("step", "position"))
    attempts: dict[Any, list[Attempt]] = defaultdict(list)
    for attempt in Attempt.objects.filter(call__in=calls).order_by("call", "number"):
        attempts[attempt.call_id].append(attempt)
    return [CallView(call, attempts[call.pk], cards.get(call.request_id)) for call in calls]


def _join(run: Run, nodes: Sequence[Node], cards: Mapping[Any, Card]) -> dict[Any, Any]:
    """Tell each dispatch who decided that it is, and what handoff it proposed; who stands above whom, by id."""
    by_id: dict[Any, Node] = {node.dispatch.pk: node for node in nodes}
    above: dict[Any, Any] = {}
    decided = dict(Route.objects.filter(source__run=run, node__isnull=False).values_list("node_id", "decided_by"))
    for node in nodes:
        node.decided_by = decided.get(node.dispatch.node_id, "")
    for handoff in Handoff.objects.filter(source__run=run).select_related("target"):
        by_id[handoff.source_id].handoff = handoff
        by_id[handoff.source_id].handoff_card = cards.get(handoff.request_id)
        for following in (handoff.continued_by_id, handoff.returned_to_id, handoff.closed_by_id):
            if following:
                above[following] = handoff.source_id
    return above


def _as_tree(nodes: Sequence[Node], above: Mapping[Any, Any]) -> list[Node]:
    """Whoever was handed to stands below who did it."""
    by_id: dict[Any, Node] = {node.dispatch.pk: node for node in nodes}
    roots: list[Node] = []
    for node in nodes:
        parent = by_id.get(above.get(node.dispatch.pk))
        (parent.children if parent else roots).append(node)
    return roots


def _meter(run: Run, dispatches: Iterable[Dispatch]) -> Meter:
    each = list(dispatches)
    spent, tokens = sum((one.cost_usd for one in each), Decimal(0)), sum(one.tokens for one in each)
    account: Account | None = getattr(run, "account", None)
    if account is not None:
        return Meter(spent, account.reserved_usd, account.cap_usd, True, tokens)
    return Meter(spent, Decimal(0), sum((one.cost_cap_usd for one in each), Decimal(0)), False, tokens)


def _unblocks(run: Run, cards: Sequence[Card], nodes: Sequence[Node]) -> Unblocks | None:
    if run.status != states.WAITING:
        return None
    waiting_on = run.waiting_on or "its next step"
    sentence = f"It waits for {waiting_on}" + ("" if waiting_on.endswith(("?", ".", "!")) else ".")
    if any(call.is_uncertain for node in nodes for step in node.steps for call in step.calls):
        return Unblocks(sentence, reverse("runs:uncertain"), "Say what happened")
    if cards:
        mine = next((card for card in cards if card.allowed), cards[0])
        label = "Decide" if mine.allowed else "See what is asked"
        return Unblocks(sentence, f"#request-{mine.request.pk}", label)
    return Unblocks(sentence)


def _conversation(run: Run) -> tuple[list[Run], list[Run]]:
    if run.conversation_id is None:
        return [], []
    others = Run.objects.filter(conversation_id=run.conversation_id)
    earlier = others.filter(pk__lt=run.pk).order_by("-pk")[:CONVERSATION_SHOWN]
    return list(reversed(earlier)), list(others.filter(pk__gt=run.pk).order_by("pk")[:CONVERSATION_SHOWN])


# -- whose it is -------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class TeachForm:
    """What a person is offered who says whose a run should have been: agents with what they own, likeliest first.

    `typed` is what was posted, where it could not be done for `faults`; `no_send`: why it cannot be started anew.
    """

    agents: list[tuple[str, str]]
    typed: Mapping[str, str]
    faults: Mapping[str, str]
    no_send: str | None

    @property
    def lesson(self) -> str:
        return self.typed.get("lesson", "exemplar")


def teach_form(run: Run, posted: Mapping[str, str], faults: Mapping[str, str]) -> TeachForm:
    """Expects agent and routing to be joined."""
    routing: Routing | None = getattr(run, "routing", None)
    had = routing.agent if routing else (run.agent.slug if run.agent else "")
    likely = [each["agent"] for stage in (routing.stages if routing else []) for each in stage.get("top", [])]
    owned = {slug: entry.owns for slug, entry in roster.today().entries.items() if slug != had}
    ordered = [*dict.fromkeys(slug for slug in likely if slug in owned), *sorted(set(owned) - set(likely))]
    suggested = {
        "text": run.input[:EXEMPLAR_LENGTH],
        "condition": corrections.condition_like(run.input),
        "name": corrections.name_like(run.input),
        "send": "yes",
    }
    typed = {name: str(posted[name]) for name in posted} | {"send": posted.get("send", "")} if faults else suggested
    return TeachForm([(slug, owned[slug]) for slug in ordered], typed, faults, intake.why_no_retry(run))


# -- calls in doubt ----------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Doubt:
    """An uncertain call as the person sees it who has to say whether it happened."""

    view: CallView
    may_repeat: bool

    @property
    def call(self) -> ToolCall:
        return self.view.call

    @property
    def run(self) -> Run:
        return self.call.dispatch.run

    @property
    def has_ended(self) -> bool:
        return self.call.dispatch.is_final


def doubts(runs: Any, *, limit: int = 50) -> list[Doubt]:
    rows = ToolCall.objects.uncertain().filter(dispatch__run__in=runs)
    joined = rows.select_related("dispatch__run__owner", "dispatch__manifest__agent", "request__decision")
    calls = list(joined.prefetch_related("attempts").order_by("created_at")[:limit])
    return [Doubt(CallView(call, list(call.attempts.all())), may_repeat(call)) for call in calls]
