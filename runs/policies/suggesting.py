"""Rules that people's decisions suggest: drafted from what they approved unedited, and never applied by themselves.

A person takes one into a draft, tries it, and publishes it like any other rule. What needed four eyes, several people
or was critical suggests nothing, and no suggestion covers a call that anybody rejected or edited.
"""

import datetime as dt
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from django.contrib.auth.models import User
from django.utils.text import Truncator

from approvals import states as verdicts
from approvals.models import Decision
from orchestrator_site.core.clock import database_now
from runs.engine.proposing import TOOL_CALL_KIND
from tools.arguments import as_number
from tools.models import Policy
from tools.policies import versions
from tools.policies.values import Outcome, Rule, Scope
from tools.values import Risk

# Decisions that are looked back on, the newest; how many approvals a suggestion needs, and of how many people.
LOOKS_BACK = 5_000
LEAST_APPROVALS = 10
LEAST_PEOPLE = 2
EXPIRES_AFTER = dt.timedelta(days=30)
MOST_COUNTER_EXAMPLES = 5
# What a condition can call an argument by.
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


@dataclass(frozen=True)
class Decided:
    """One decision of a call. `unedited`: approved as it was asked."""

    tool: str
    arguments: Mapping[str, Any]
    unedited: bool
    verdict: str
    by: str
    reason: str
    request: str

    def amount(self, argument: str) -> Decimal | None:
        return as_number(self.arguments.get(argument))


@dataclass(frozen=True)
class Suggestion:
    """`says` is the sentence it is offered with. `counter_examples` are decisions that keep it from reaching further,
    the nearest first; `argument` and `bound` are None where no argument is a number. `free` are the arguments that may
    be anything.
    """

    rule: Rule
    says: str
    approvals: int
    people: int
    argument: str | None
    bound: Decimal | None
    counter_examples: Sequence[Decided]
    free: Sequence[str] = ()

    @property
    def key(self) -> str:
        return self.rule.name


def suggestions() -> list[Suggestion]:
    """By tool, those with the most approvals first. Two queries."""
    now = database_now()
    by_tool: dict[str, list[Decided]] = {}
    for each in decided():
        by_tool.setdefault(each.tool, []).append(each)
    found = [made for tool, rows in by_tool.items() if (made := suggest(tool, rows, now))]
    return sorted(found, key=lambda made: -made.approvals)


def decided() -> list[Decided]:
    """Of calls that one person alone may decide, whoever it is, and that were not critical."""
    rows = Decision.objects.filter(
        request__kind=TOOL_CALL_KIND,
        request__four_eyes=False,
        request__approvers=1,
        request__group="",
        verdict__in=[verdicts.APPROVED, verdicts.MODIFIED, verdicts.REJECTED],
    ).exclude(request__risk=Risk.CRITICAL)
    return [_decided(row) for row in rows.select_related("request").order_by("-at")[:LOOKS_BACK]]


def _decided(row: Decision) -> Decided:
    content = row.request.content
    unedited = row.verdict == verdicts.APPROVED
    return Decided(
        content["tool"], content["arguments"], unedited, row.verdict, row.by_name, row.reason, str(row.request_id)
    )


def suggest(tool: str, rows: Sequence[Decided], now: dt.datetime) -> Suggestion | None:
    """Up to the largest amount below the first decision against it, or the largest there was. Pure."""
    against = [each for each in rows if not each.unedited]
    if not against:
        argument = next(iter(_numbers(rows)), None)
        return _suggestion(tool, rows, (), argument, now) if _enough(rows) else None
    options = [_bounded(tool, rows, against, argument, now) for argument in _amounts(rows)]
    return max((made for made in options if made), key=lambda made: made.approvals, default=None)


def _amounts(rows: Sequence[Decided]) -> list[str]:
    """Arguments that are a number in every one of them."""
    shared = set.intersection(*(set(each.arguments) for each in rows))
    return sorted(name for name in shared if _NAME.match(name) and all(each.amount(name) is not None for each in rows))


def _bounded(
    tool: str, rows: Sequence[Decided], against: Sequence[Decided], argument: str, now: dt.datetime
) -> Suggestion | None:
    def amount(each: Decided) -> Decimal:
        return each.amount(argument) or Decimal(0)

    first = min(map(amount, against))
    inside = [each for each in rows if each.unedited and Decimal(0) <= amount(each) < first]
    if not _enough(inside):
        return None
    nearest = sorted(against, key=amount)[:MOST_COUNTER_EXAMPLES]
    return _suggestion(tool, inside, nearest, argument, now)


def _enough(rows: Sequence[Decided]) -> bool:
    return len(rows) >= LEAST_APPROVALS and len({each.by for each in rows}) >= LEAST_PEOPLE


def _suggestion(
    tool: str, rows: Sequence[Decided], nearest: Sequence[Decided], argument: str | None, now: dt.datetime
) -> Suggestion:
    """No number goes beyond what was approved, and what was the same each time stays the same."""
    people = len({each.by for each in rows})
    bounds = {name: _largest(rows, name) for name in dict.fromkeys([*filter(None, [argument]), *_numbers(rows)])}
    bound = bounds[argument] if argument else None
    reach = f" up to {bound} {argument}" if argument else ""
    says = f"{len(rows)} of {len(rows)} {tool}{reach} approved unedited by {people} people"
    conditions = [
        *(f"double(args.{name}) >= 0.0 && double(args.{name}) <= {float(most)!r}" for name, most in bounds.items()),
        *(f"args.{name} == {json.dumps(value)}" for name, value in _same(rows).items() if name not in bounds),
        f"tool.risk != '{Risk.CRITICAL}'",
    ]
    rule = Rule(
        name=Truncator(f"suggested: {tool}{reach}").chars(80),
        outcome=Outcome.NOTIFY,
        scope=Scope(tool=tool),
        condition=" && ".join(conditions),
        says=f"It runs without asking: {says}.",
        expires_at=(now + EXPIRES_AFTER).replace(second=0, microsecond=0),
    )
    free = sorted({name for each in rows for name in each.arguments} - set(bounds) - set(_same(rows)))
    return Suggestion(rule, says, len(rows), people, argument, bound, nearest, free)


def _numbers(rows: Sequence[Decided]) -> list[str]:
    """Arguments that were a number each time, and no text that reads like one."""
    return [name for name in _amounts(rows) if not any(isinstance(each.arguments[name], str) for each in rows)]


def _largest(rows: Sequence[Decided], argument: str) -> Decimal:
    return max(each.amount(argument) or Decimal(0) for each in rows)


def _same(rows: Sequence[Decided]) -> dict[str, str]:
    """Texts that were the same each time: a currency, a template."""
    first = rows[0].arguments
    return {
        name: value
        for name, value in first.items()
        if isinstance(value, str) and _NAME.match(name) and all(each.arguments.get(name) == value for each in rows)
    }


def take(suggestion: Suggestion, *, by: User, into: Policy | None = None) -> Policy:
    """Into a draft, a new one where none is named. Raises versions.NotPublishable."""
    draft = into or versions.draft(by=by, note=Truncator(suggestion.says).chars(300))
    value = draft.value()
    rules = [rule for rule in value.rules if rule.name != suggestion.rule.name]
    return versions.rewrite(draft, replace(value, rules=(*rules, suggestion.rule)), by=by)
