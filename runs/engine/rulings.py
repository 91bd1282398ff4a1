"""Ask the gate about a call, with the facts of this run; and keep what it said as text."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.db import connection

from orchestrator_site.core import canonical
from runs import states
from runs.engine.offer import Offered, Offers
from runs.models import Dispatch
from tools import gate
from tools.values import Effect, Refuse, Ruling, RunFacts

POLICY = gate.BUILT_IN


@dataclass(frozen=True)
class Facts:
    """What one turn knows of its run, read once for all its calls."""

    agent: str
    agent_active: bool
    cancel_requested: bool
    effects_sent: frozenset[tuple[str, str]]
    restored: bool

    def of_call(self, tool: str, arguments: str) -> RunFacts:
        return RunFacts(
            agent=self.agent,
            agent_active=self.agent_active,
            cancel_requested=self.cancel_requested,
            repeats_effect=(tool, arguments) in self.effects_sent,
            restored=self.restored,
        )


def gather(dispatch: Dispatch, offers: Offers, tools: Iterable[str], *, without: Iterable[Any] = ()) -> Facts:
    """`dispatch` was locked in this transaction. `without`: ids of calls that do not count."""
    acting = {tool for tool in tools if tool in offers and offers[tool].spec.effect != Effect.PURE}
    return Facts(
        agent=dispatch.manifest.agent.slug,
        agent_active=offers.agent_active,
        cancel_requested=dispatch.cancel_requested,
        effects_sent=_effects_sent(dispatch, acting, without) if acting else frozenset(),
        restored=dispatch.run.restored_at is not None,
    )


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
    spec, grant = (offered.spec, offered.grant) if offered else (None, None)
    values = canonical.loads(arguments)
    run_facts = facts.of_call(tool, arguments if spec and spec.effect != Effect.PURE else "")
    return gate.judge(spec, values, grant, POLICY, run_facts)


def stored(ruling: Ruling) -> str:
    """Canonical JSON text of a ruling: {verdict, risk, reasons, facts} and what else its kind has."""
    content: dict[str, Any] = {"verdict": type(ruling).__name__, **_plain(vars(ruling))}
    return canonical.dumps(content)


def _plain(fields: Mapping[str, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = {name: list(value) if isinstance(value, tuple) else value for name, value in fields.items()}
    plain["facts"] = {name: _word(value) for name, value in plain["facts"].items()}
    plain["risk"] = str(plain["risk"])
    return plain


def _word(value: Any) -> Any:
    return value if isinstance(value, (bool, int, float, str)) or value is None else str(value)


def sentence(ruling: Refuse) -> str:
    """What the model is told of a refusal."""
    return "Refused: " + " ".join(ruling.reasons)
