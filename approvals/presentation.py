"""What pages need of a request: the card that shows it, and what came of it in plain words."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.contrib.auth.models import AnonymousUser, User
from django.db.models import Window
from django.db.models.functions import RowNumber
from django.utils import timezone

from approvals import batches, eligibility, kinds, quorum, states
from approvals.comparison import Cell, Comparison, compare
from approvals.kinds import Kind
from approvals.models import CLOCK, ApprovalRequest, Assent, Decision, StandingApproval, StandingUse
from orchestrator_site.core.templatetags.plain import ago_words
from tools import patterns

QUEUE, RUN, PAGE = "queue", "run", "page"
USES_SHOWN = 20

_DID = {
    states.APPROVED: "approved this",
    states.MODIFIED: "changed this and approved it",
    states.REJECTED: "rejected this",
    states.ANSWERED: "answered this",
}


@dataclass(frozen=True)
class Progress:
    """How far a request for several people, or for those of a group, has come.

    `given`: each approval, and whether it still counts. `shortage`: a sentence when too few people may decide.
    """

    needed: int
    group: str
    given: tuple[tuple[Assent, bool], ...]
    shortage: str

    @property
    def counted(self) -> int:
        return sum(counts for _, counts in self.given)


def progress(request: ApprovalRequest) -> Progress | None:
    """None where any one person who may decide is enough. What is closed says who had approved it by then."""
    if request.approvers == 1 and not request.group:
        return None
    is_open = request.status == states.OPEN
    standing = {each.pk for each in quorum.standing(request)} if is_open and request.approvers > 1 else None
    given = tuple((each, standing is None or each.pk in standing) for each in request.assents.all())
    return Progress(request.approvers, request.group, given, quorum.shortage(request) if is_open else "")


@dataclass(frozen=True)
class Line:
    """One of the requests of a batch. `reasons`: why a person is asked about it, beside what holds for all."""

    request: ApprovalRequest
    cells: tuple[Cell, ...]
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Batch:
    """Requests asked together, the first leading; `digest` covers all of them."""

    requests: tuple[ApprovalRequest, ...]
    digest: str
    comparison: Comparison
    lines: tuple[Line, ...]
    reasons: tuple[str, ...]

    @property
    def leader(self) -> ApprovalRequest:
        return self.requests[0]

    @property
    def others(self) -> int:
        return len(self.requests) - 1

    @property
    def totals(self) -> list[tuple[str, Any]]:
        """The name of each column and its sum; None where that says nothing."""
        return [(name, self.comparison.totals.get(name)) for name in self.comparison.columns]

    @property
    def differs_in_risk(self) -> bool:
        """Or in the reasons for which a person is asked."""
        return any(line.reasons or line.request.risk != self.leader.risk for line in self.lines)

    @property
    def has_totals(self) -> bool:
        return bool(self.comparison.totals)


def batch_of(requests: Sequence[ApprovalRequest]) -> Batch | None:
    """Open requests of one batch, in their order; None for one alone."""
    if len(requests) < 2:
        return None
    comparison = compare([each.content.get("arguments", {}) for each in requests])
    common = [reason for reason in requests[0].reasons if all(reason in each.reasons for each in requests)]
    lines = [
        Line(each, cells, tuple(reason for reason in each.reasons if reason not in common))
        for each, cells in zip(requests, comparison.rows, strict=True)
    ]
    return Batch(tuple(requests), batches.digest(requests), comparison, tuple(lines), tuple(common))


@dataclass(frozen=True)
class Card:
    """One request as one person sees it. `origin` is the page it stands on, where the person goes back to.

    After a fault, `fault` says what was wrong and `typed` what was posted, so that nothing has to be written again.
    """

    request: ApprovalRequest
    kind: Kind
    objection: str | None
    allowed: frozenset[str]
    origin: str = PAGE
    fault: str = ""
    typed: Mapping[str, str] = field(default_factory=dict)
    progress: Progress | None = None
    already: str | None = None
    batch: Batch | None = None
    alone: bool = False

    @property
    def template(self) -> str:
        if self.is_together:
            return self.kind.together_template
        return "approvals/_asked_together.html" if self.is_follower else self.kind.template

    @property
    def is_together(self) -> bool:
        """It shows all that is asked together with it, and decides it."""
        return self.batch is not None and not self.alone and self.batch.leader.pk == self.request.pk

    @property
    def is_follower(self) -> bool:
        """On the run's page, what is asked together is decided in one place: at the first of them."""
        return self.batch is not None and self.origin == RUN and not self.is_together

    @property
    def digest(self) -> str:
        """Of what this card shows, and a decision on it covers."""
        return self.batch.digest if self.batch is not None and self.is_together else self.request.digest

    @property
    def is_beside_words(self) -> bool:
        """On the run's page the agent's own words stand right above the call."""
        return self.origin == RUN and self.request.call_id is not None

    @property
    def is_open(self) -> bool:
        return self.request.status == states.OPEN

    @property
    def decision(self) -> Decision | None:
        return getattr(self.request, "decision", None)

    @property
    def successor(self) -> ApprovalRequest | None:
        return getattr(self.request, "successor", None) if self.request.status == states.SUPERSEDED else None

    @property
    def told(self) -> str:
        """Who decided, what and when, in one sentence."""
        return told(self.decision) if self.decision else ""

    @property
    def standing_scopes(self) -> list[tuple[str, str]]:
        """Where an approval given beforehand may hold."""
        return [("run", "in this run"), ("agent", "wherever this agent works"), ("any", "for any agent")]

    @property
    def may_approve(self) -> bool:
        return states.APPROVED in self.allowed

    @property
    def may_modify(self) -> bool:
        return states.MODIFIED in self.allowed

    @property
    def may_reject(self) -> bool:
        return states.REJECTED in self.allowed

    @property
    def may_answer(self) -> bool:
        return states.ANSWERED in self.allowed

    @property
    def opened(self) -> str:
        """Which of its forms stands open: the one that was posted with a fault."""
        return self.typed.get("verdict", "") if self.fault else ""


def card(
    request: ApprovalRequest,
    user: User | AnonymousUser,
    *,
    origin: str = PAGE,
    fault: str = "",
    typed: Mapping[str, str] | None = None,
    alone: bool = False,
    together: Sequence[ApprovalRequest] | None = None,
) -> Card:
    """Expects requester and decision to be joined. `alone`: this one of a batch and not the whole, which is read unless
    it is given as `together`."""
    kind = kinds.get(request.kind)
    objections = {verdict: eligibility.why_not(request, user, verdict) for verdict in sorted(kind.verdicts)}
    allowed = frozenset(verdict for verdict, objection in objections.items() if objection is None)
    objection = None if allowed else next(iter(objections.values()))
    already = eligibility.already(request, user)
    if already:
        allowed -= {states.APPROVED}
    whole = batch_of(batches.members(request) if together is None else together)
    if whole and whole.leader.pk == request.pk and not alone:
        allowed &= {states.APPROVED, states.REJECTED}
    shown = typed or {}
    return Card(request, kind, objection, allowed, origin, fault, shown, progress(request), already, whole, alone)


@dataclass(frozen=True)
class StandingCard:
    """A standing approval with its pattern in words and its newest uses."""

    row: StandingApproval
    pattern: tuple[tuple[str, str], ...]
    uses: tuple[StandingUse, ...]

    @property
    def left(self) -> str:
        row = self.row
        return f"{row.uses} of {row.uses_at_most} used" if row.uses_at_most is not None else f"{row.uses} used"

    @property
    def status(self) -> str:
        """Expired from the moment that it is, whether or not the sweep has come by."""
        is_over = self.row.expires_at is not None and self.row.expires_at <= timezone.now()
        return states.EXPIRED if self.row.status == states.ACTIVE and is_over else self.row.status


def standing_cards(rows: Iterable[StandingApproval]) -> list[StandingCard]:
    """Expects the decisions to be joined; one query for the newest uses of all of them."""
    every = list(rows)
    newest = Window(RowNumber(), partition_by="standing_id", order_by="-pk")
    uses: dict[int, list[StandingUse]] = defaultdict(list)
    found = StandingUse.objects.filter(standing__in=every).annotate(place=newest).filter(place__lte=USES_SHOWN)
    for use in found.order_by("-pk"):
        uses[use.standing_id].append(use)
    return [StandingCard(row, _pattern_in_words(row), tuple(uses[row.pk])) for row in every]


def _pattern_in_words(row: StandingApproval) -> tuple[tuple[str, str], ...]:
    return tuple((name, patterns.in_words(each)) for name, each in patterns.read(row.pattern).items())


def cards(requests: Iterable[ApprovalRequest], user: User | AnonymousUser, *, origin: str) -> dict[Any, Card]:
    """Of all open requests of a run, by id; what is asked together is found among them."""
    every = list(requests)
    together = defaultdict(list)
    for each in sorted(every, key=lambda each: each.place):
        if each.batch is not None and each.status == states.OPEN:
            together[each.batch].append(each)
    return {
        each.pk: card(each, user, origin=origin, together=together[each.batch] if each.batch else ()) for each in every
    }


def told(decision: Decision) -> str:
    """“Alice approved this 3 s ago.”"""
    when = ago_words((timezone.now() - decision.at).total_seconds())
    if decision.via == CLOCK:
        return f"Nobody decided in time: it expired {when}."
    if decision.verdict == states.SUPERSEDED:
        return f"It was taken back by {decision.by_name} {when}. {decision.reason}".strip()
    did = kinds.get(decision.request.kind).did.get(decision.verdict, _DID[decision.verdict])
    did += " and stopped the agent" if decision.stop else ""
    did += ", overriding what stood in the way," if decision.override else ""
    return f"{decision.by_name} {did} {when}."


def next_after(ids: Iterable[Any], current: Any) -> Any | None:
    """What stands below `current` in a queue, else above it; None when it stood alone."""
    queue = list(ids)
    if current not in queue:
        return queue[0] if queue else None
    place = queue.index(current)
    others = queue[place + 1 : place + 2] or queue[max(0, place - 1) : place]
    return others[0] if others else None
