"""Rulings as they were recorded, in the order in which they were made."""

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

from django.db.models import QuerySet

from orchestrator_site.core import canonical
from orchestrator_site.core.ids import least_of
from runs.models import ToolCall
from tools.models import Tool, ToolVersion
from tools.policies.replaying import Recorded
from tools.values import Risk, RiskRule, SinkKind

FILTERS = ("tool", "agent", "app", "verdict")


def calls(since: dt.datetime, until: dt.datetime, tool: str = "") -> QuerySet[ToolCall]:
    """Calls that the gate ruled on, by when they were proposed: their ids are made of that moment."""
    ruled = ToolCall.objects.exclude(ruling="").filter(pk__gte=least_of(since), pk__lt=least_of(until))
    return (ruled.filter(tool=tool) if tool else ruled).order_by("pk")


def newest(count: int) -> list[Recorded]:
    rows = ToolCall.objects.exclude(ruling="").order_by("-pk")
    return recorded(_columns(rows)[:count])


def after(rows: QuerySet[ToolCall], reached: UUID | None, count: int) -> list[dict[str, Any]]:
    """The next so many, as `recorded` takes them; each has its `pk`."""
    return list(_columns(rows.filter(pk__gt=reached) if reached else rows)[:count])


def _columns(rows: QuerySet[ToolCall]) -> Any:
    names = ("pk", "dispatch__run_id", "tool", "tool_version_id", "arguments", "proposed_arguments", "ruling")
    return rows.values(*names)


def recorded(rows: Iterable[Mapping[str, Any]]) -> list[Recorded]:
    """Two queries, whatever their number. An edited call was ruled as it was proposed."""
    rows = list(rows)
    rules, amounts = _risk_rules({row["tool_version_id"] for row in rows}), _amounts({row["tool"] for row in rows})
    return [_recorded(row, rules, amounts) for row in rows]


def _recorded(
    row: Mapping[str, Any], rules: Mapping[int, Sequence[RiskRule]], amounts: Mapping[str, Sequence[str]]
) -> Recorded:
    ruling = canonical.loads(row["ruling"])
    arguments = row["proposed_arguments"] if ruling.get("edited") else row["arguments"]
    return Recorded(
        ruling=ruling,
        tool=row["tool"],
        arguments=canonical.loads(arguments),
        risk_rules=rules.get(row["tool_version_id"], ()),
        amounts=amounts.get(row["tool"], ()),
        names={"call": str(row["pk"]), "run": str(row["dispatch__run_id"])},
    )


def _risk_rules(versions: set[int | None]) -> dict[int, Sequence[RiskRule]]:
    rows = ToolVersion.objects.filter(pk__in=[each for each in versions if each is not None]).values_list(
        "pk", "risk_rules"
    )
    return {
        pk: tuple(RiskRule(each["when"], Risk(each["risk"]), each["reason"]) for each in stored) for pk, stored in rows
    }


def _amounts(tools: set[str]) -> dict[str, Sequence[str]]:
    """By today's labels: no ruling keeps them."""
    rows: Any = Tool.objects.filter(name__in=tools, sinks__isnull=False).values_list("name", "sinks")
    return {
        name: [argument for argument, sink in sinks.items() if sink["kind"] == SinkKind.AMOUNT] for name, sinks in rows
    }


def among(found: Iterable[Recorded], filters: Mapping[str, str]) -> Iterator[Recorded]:
    """Those that every filter but `tool`, which was asked of the rows, lets through."""
    for each in found:
        facts = each.facts
        if filters.get("agent") and facts.get("agent.slug") != filters["agent"]:
            continue
        if filters.get("app") and not (facts.get("caller.is_app") and facts.get("caller.name") == filters["app"]):
            continue
        if filters.get("verdict") and each.ruling.get("verdict") != filters["verdict"]:
            continue
        yield each
