"""What drafts on trial would have said of live calls, read out of the rulings that kept it."""

import datetime as dt
import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from django.db import connection

from orchestrator_site.core.ids import least_of
from tools.models import Policy
from tools.policies.replaying import as_stored, is_approved_beforehand
from tools.policies.tallying import APART, MOST_SAMPLES, WITHOUT_A_RULE, as_lines

# Rulings that are looked back on at most: the newest.
LOOKS_BACK = 20_000

_RULED = """
SELECT call, run_id, tool, ruling - 'facts' - 'reasons', facts - 'shadows', facts -> 'shadows' -> %s
FROM (SELECT c.id AS call, d.run_id, c.tool, c.ruling::jsonb AS ruling, c.ruling::jsonb -> 'facts' AS facts
      FROM runs_toolcall c JOIN runs_dispatch d ON d.id = c.dispatch_id
      WHERE c.ruling <> '' AND c.id >= %s ORDER BY c.id DESC LIMIT %s) ruled
WHERE facts -> 'shadows' ? %s
"""


@dataclass
class Report:
    """`tried`: rulings that kept what it would have said; `otherwise`: those of which it was something else.

    `by_rule`, `by_tool`, `by_agent`: {name, was, would_be, count}, the most frequent first. `samples`: {call, run,
    tool, was, would_be, rule}, the newest.
    """

    since: dt.datetime | None
    tried: int = 0
    otherwise: int = 0
    by_rule: list[dict[str, Any]] = field(default_factory=list)
    by_tool: list[dict[str, Any]] = field(default_factory=list)
    by_agent: list[dict[str, Any]] = field(default_factory=list)
    samples: list[dict[str, Any]] = field(default_factory=list)


def report(policy: Policy) -> Report:
    """Since it was last put on trial. One statement over the newest rulings."""
    found = Report(policy.shadow_since)
    if policy.shadow_since is None:
        return found
    by_rule: Counter[str] = Counter()
    by_tool: Counter[str] = Counter()
    by_agent: Counter[str] = Counter()
    for call, run, tool, ruled, facts, tried in _ruled(policy, policy.shadow_since):
        found.tried += 1
        was, would_be = as_stored(ruled), as_stored(tried)
        if was == would_be or is_approved_beforehand(facts, would_be):
            continue
        found.otherwise += 1
        how = APART.join((was, would_be))
        rule = tried["rule"] or WITHOUT_A_RULE
        for counts, name in ((by_rule, rule), (by_tool, tool), (by_agent, facts.get("agent.slug"))):
            counts[APART.join((name or "-", how))] += 1
        if len(found.samples) < MOST_SAMPLES:
            said = {"was": was, "would_be": would_be, "rule": rule}
            found.samples.append({"call": str(call), "run": str(run), "tool": tool, **said})
    found.by_rule, found.by_tool, found.by_agent = map(as_lines, (by_rule, by_tool, by_agent))
    return found


def _ruled(policy: Policy, since: dt.datetime) -> list[tuple[Any, ...]]:
    version = policy.version
    with connection.cursor() as cursor:
        cursor.execute(_RULED, [version, least_of(since), LOOKS_BACK, version])
        return [(*row[:3], *map(json.loads, row[3:])) for row in cursor.fetchall()]
