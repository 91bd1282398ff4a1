"""Ask the gate about a call, with the facts of this run; and keep what it said as text."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from django.contrib.auth.models import User
from django.db import connection
from django.db.models import Sum

from agents.roster import Roster
from orchestrator_site.core import canonical, roles
from runs import states
from runs.engine import origins
from runs.engine.offer import Offered, Offers
from runs.models import Dispatch, ToolCall
from tools import destinations, flow, gate
from tools.flow import Source
from tools.policies import facts as documented
from tools.policies import versions
from tools.policies.values import Policy
from tools.values import Effect, Label, Refuse, Ruling, RunFacts


@dataclass(frozen=True)
class InForce:
    """What is ruled by at one epoch: the policy, the drafts that are tried beside it, and the lists of destinations.

    `asked` are the facts on demand that any of their rules asks for.
    """

    policy: Policy
    shadows: tuple[Policy, ...]
    asked: frozenset[str]
    lists: Mapping[str, Any]


def in_force(served: Roster) -> InForce:
    return served.keep("policy", _in_force)


def _in_force() -> InForce:
    policy, shadows = versions.in_force(), versions.shadows()
    conditions = [rule.condition for each in (policy, *shadows) for rule in each.rules]
    asked = {name for name in documented.ON_DEMAND for said in conditions if documented.asks_for(said, name)}
    return InForce(policy, shadows, frozenset(asked), destinations.current())


@dataclass(frozen=True)
class Facts:
    """What one turn knows of its run, read once for all its calls.

    `known` are those that all calls share. `sources` are the texts that vouch for what is acted on; none where the
    agent has read nothing untrusted. `by_person` are arguments that a person wrote, for which nobody has to vouch.
    """

    known: RunFacts
    in_force: InForce
    effects_sent: frozenset[tuple[str, str]]
    sources: tuple[Source, ...]
    calls_of_tool: Mapping[str, int]
    by_person: frozenset[str] = frozenset()

    @property
    def cancel_requested(self) -> bool:
        return self.known.cancel_requested

    def let_through(self) -> "Facts":
        """Of calls that were let through since the database was restored, or that a person said had not happened."""
        return replace(self, known=replace(self.known, restored=False))

    def said_by_person(self, arguments: frozenset[str]) -> "Facts":
        """Where a person wrote these arguments."""
        return replace(self, by_person=arguments)

    def after(self, tool: str) -> "Facts":
        """Once another call of this tool is let through."""
        return replace(self, calls_of_tool={**self.calls_of_tool, tool: self.calls_of_tool.get(tool, 0) + 1})

    def of_call(self, offered: Offered | None, tool: str, arguments: str) -> RunFacts:
        """`arguments` is canonical JSON text."""
        if offered is None:
            return self.known
        spec = offered.spec
        count = self.calls_of_tool.get(tool, 0) if "calls.of_tool" in self.in_force.asked else None
        repeats = spec.effect != Effect.PURE and (tool, arguments) in self.effects_sent
        known = replace(self.known, repeats_effect=repeats, calls_of_tool=count)
        if not self.sources and not self.in_force.lists:
            return known
        values = canonical.loads(arguments)
        listed = destinations.holding(self.in_force.lists, values)
        unvouched = flow.unvouched(spec, values, listed, self.sources) if self.sources and spec.acts else {}
        doubtful = {name: where for name, where in unvouched.items() if name not in self.by_person}
        return replace(known, listed=listed, lists=tuple(sorted(self.in_force.lists)), unvouched=doubtful)


def gather(dispatch: Dispatch, offers: Offers, tools: Iterable[str], *, without: Iterable[Any] = ()) -> Facts:
    """`dispatch` was locked in this transaction. `without`: ids of calls that do not count."""
    tools = set(tools)
    ruled_by = in_force(offers.served)
    acting = {tool for tool in tools if tool in offers and offers[tool].spec.effect != Effect.PURE}
    is_tainted = Label.UNTRUSTED in flow.taint(dispatch.labels)
    needs_sources = is_tainted and any(tool in offers and offers[tool].spec.acts for tool in tools)
    return Facts(
        known=_shared(dispatch, offers, ruled_by),
        in_force=ruled_by,
        effects_sent=_effects_sent(dispatch, acting, without) if acting else frozenset(),
        sources=origins.sources(dispatch) if needs_sources else (),
        calls_of_tool=_calls_of(dispatch, tools, without) if "calls.of_tool" in ruled_by.asked else {},
    )


def _shared(dispatch: Dispatch, offers: Offers, ruled_by: InForce) -> RunFacts:
    run = dispatch.run
    caller = offers.served.keep(("caller", run.owner_id), partial(_caller, run.owner_id))
    return RunFacts(
        agent=dispatch.manifest.agent.slug,
        agent_kind=str(dispatch.pinned.kind),
        agent_active=offers.agent_active,
        cancel_requested=dispatch.cancel_requested,
        restored=run.restored_at is not None,
        caller=caller.name,
        caller_is_app=roles.APP in caller.roles,
        caller_roles=caller.roles,
        source=run.source,
        metadata=run.metadata,
        depth=dispatch.depth,
        dispatch_usd=float(dispatch.cost_usd),
        model_calls=dispatch.iterations,
        run_usd=_run_usd(dispatch) if "spend.run_usd" in ruled_by.asked else None,
        now=dispatch.now,
        taint=flow.taint(dispatch.labels),
    )


@dataclass(frozen=True)
class _Caller:
    name: str
    roles: tuple[str, ...]


def _caller(owner_id: int) -> _Caller:
    """Kept for an epoch, which grows when somebody joins a group or leaves one."""
    named = User.objects.filter(pk=owner_id).values_list("username", "groups__name").order_by("groups__name")
    rows = list(named)
    return _Caller(rows[0][0], tuple(group for _, group in rows if group))


def _run_usd(dispatch: Dispatch) -> float:
    others = Dispatch.objects.filter(run_id=dispatch.run_id).exclude(pk=dispatch.pk)
    return float((others.aggregate(usd=Sum("cost_usd"))["usd"] or 0) + dispatch.cost_usd)


def _calls_of(dispatch: Dispatch, tools: set[str], without: Iterable[Any]) -> dict[str, int]:
    """Of those that were let through, by tool."""
    let = ToolCall.objects.filter(dispatch__run_id=dispatch.run_id, tool__in=tools).exclude(pk__in=list(without))
    counted: dict[str, int] = {}
    for tool in let.exclude(status__in=[states.REFUSED, states.CANCELLED]).values_list("tool", flat=True):
        counted[tool] = counted.get(tool, 0) + 1
    return counted


def _effects_sent(dispatch: Dispatch, tools: set[str], without: Iterable[Any]) -> frozenset[tuple[str, str]]:
    with connection.cursor() as cursor:
        cursor.execute(_EFFECTS_SENT, [dispatch.run_id, list(tools), states.MAY_HAVE_SENT, list(without)])
        return frozenset(cursor.fetchall())


# As ToolCallQuerySet.with_effect_in, which puts its statement together anew each time.
_EFFECTS_SENT = """
SELECT DISTINCT c.tool, c.arguments FROM runs_toolcall c
WHERE c.dispatch_id IN (SELECT id FROM runs_dispatch WHERE run_id = %s)
  AND c.tool = ANY(%s) AND c.effect <> 'pure' AND c.status = ANY(%s) AND c.id <> ALL(%s::uuid[])
  AND EXISTS (SELECT FROM runs_attempt a WHERE a.call_id = c.id AND NOT a.nothing_sent)
"""


def rule(offered: Offered | None, arguments: str, facts: Facts, tool: str) -> Ruling:
    """`arguments` is canonical JSON text."""
    return _ruled(offered, arguments, facts, facts.of_call(offered, tool, arguments))


def rule_again(call: ToolCall, offered: Offered | None, facts: Facts) -> Ruling:
    """Of a call that was ruled before: what the agent had read as it asked for it is what counts, and beside what was
    in doubt then, what today's sinks and lists leave in doubt."""
    was = canonical.loads(call.ruling)["facts"] if call.ruling else {}
    taint, rewritten = tuple(was.get("taint", ())), call.rewritten(canonical.loads(call.arguments))
    known = facts.said_by_person(rewritten).of_call(offered, call.tool, call.arguments)
    today = known.unvouched if Label.UNTRUSTED in taint else {}
    then = {name: where for name, where in was.get("origins", {}).items() if name not in rewritten}
    known = replace(known, taint=taint, unvouched={**today, **then})
    return _ruled(offered, call.arguments, facts, known)


def _ruled(offered: Offered | None, arguments: str, facts: Facts, known: RunFacts) -> Ruling:
    """By the policy in force; what the drafts on trial would have said is kept with it."""
    spec, grant = (offered.spec, offered.grant) if offered else (None, None)
    judged = partial(gate.judge, spec, canonical.loads(arguments), grant, facts=known)
    ruling = judged(policy=facts.in_force.policy)
    tried = {shadow.version: _in_short(judged(policy=shadow)) for shadow in facts.in_force.shadows}
    return replace(ruling, facts={**ruling.facts, "shadows": tried}) if tried else ruling


# What else says how a call is treated: left out where it is as it mostly is.
_TREATMENT = {"notify": False, "four_eyes": False, "approvers": 1, "group": ""}


def _in_short(ruling: Ruling) -> dict[str, Any]:
    short = {"verdict": type(ruling).__name__, "rule": str(ruling.facts.get("rule", ""))}
    return short | {name: told for name, usual in _TREATMENT.items() if (told := getattr(ruling, name, usual)) != usual}


def stored(ruling: Ruling) -> str:
    """Canonical JSON text of a ruling: {verdict, risk, reasons, facts} and what else its kind has."""
    content: dict[str, Any] = {"verdict": type(ruling).__name__, **_plain(vars(ruling))}
    return canonical.dumps(content)


def _plain(fields: Mapping[str, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = {name: list(value) if isinstance(value, tuple) else value for name, value in fields.items()}
    plain["risk"] = str(plain["risk"])
    return plain | ({"until": plain["until"].isoformat()} if "until" in plain else {})


def _is_as_before(call: ToolCall, ruling: Ruling) -> bool:
    """Whether a ruling made again says what the one says that the call has."""
    return _gist(canonical.loads(call.ruling)) == _gist(canonical.loads(stored(ruling)))


def _gist(content: Mapping[str, Any]) -> dict[str, Any]:
    """Without the facts that are others at every moment, and the words that are made of them."""
    said = {name: value for name, value in content.items() if name not in ("facts", "reasons", "edited", "before")}
    return said | {name: content["facts"].get(name) for name in ("policy", "rule", documented.STANDING)}


def told(ruling: Ruling) -> dict[str, Any]:
    """What an event says of a ruling that the call does not take over: all of it."""
    return _in_digest(stored(ruling)) | {"ruling": _as_told(stored(ruling))}


def made_again(call: ToolCall, ruling: Ruling, *, ends: bool = False) -> dict[str, Any]:
    """What the move that follows from a ruling changes and tells, so that none of a call's rulings is lost.

    The call takes it over, and the event keeps the one before. What was approved runs on the ruling that it was
    approved by: until it ends, its events keep the others.
    """
    if call.request_id is not None and not ends:
        return {"told": told(ruling)}
    risk = {} if isinstance(ruling, Refuse) else {"risk": ruling.risk}
    return risk | {"ruling": stored(ruling), "told": _replaced(call, stored(ruling))}


def kept(call: ToolCall, ruling: Ruling) -> dict[str, Any]:
    """As `made_again`, of a ruling that lets the call through; nothing where it says what the one before said."""
    return {} if _is_as_before(call, ruling) else made_again(call, ruling)


def edited(call: ToolCall, risk: str, policy: str) -> dict[str, Any]:
    """As `made_again`, of what a person made of a call: it keeps what it was ruled before, and so does the event."""
    before = canonical.loads(call.ruling)
    facts = before["facts"] | {"policy": policy}
    ruling = canonical.dumps(before | {"risk": risk, "facts": facts, "edited": True, "before": before})
    return {"risk": risk, "ruling": ruling, "told": _replaced(call, ruling)}


def _replaced(call: ToolCall, ruling: str) -> dict[str, Any]:
    before = {"ruling_before": _as_told(call.ruling)} if call.ruling else {}
    return _in_digest(ruling) | before


def _in_digest(ruling: str) -> dict[str, str]:
    return {"verdict": canonical.loads(ruling)["verdict"], "ruling_digest": digest(ruling)}


def digest(ruling: str) -> str:
    """Of a stored ruling as events tell it."""
    has_more = any(name in ruling for name in ('"shadows":', '"before":'))
    return canonical.digest(canonical.dumps(_as_told(ruling)) if has_more else ruling)


def _as_told(ruling: str) -> dict[str, Any]:
    """Whoever may read a run reads its events: what drafts on trial said decided nothing, and is their author's to
    see. What it was before an edit stands in an event of its own."""
    content = {name: said for name, said in canonical.loads(ruling).items() if name != "before"}
    facts = {name: fact for name, fact in content.get("facts", {}).items() if name != "shadows"}
    return content | ({"facts": facts} if facts else {})


def sentence(ruling: Refuse) -> str:
    """What the model is told of a refusal."""
    return "Refused: " + " ".join(ruling.reasons)


def version(ruling: Ruling) -> str:
    """Of the policy that it was made by."""
    return str(ruling.facts["policy"])
