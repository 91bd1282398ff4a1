"""How PostgreSQL answers: the plans of every statement that a callable sends, and the rows they look at."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext


@dataclass(frozen=True)
class Scan:
    """One read of a table. `examined` are the rows it took in hand, those it threw away included."""

    table: str
    kind: str
    index: str
    examined: int
    statement: str

    @property
    def is_sequential(self) -> bool:
        return self.kind == "Seq Scan"

    def __str__(self) -> str:
        return f"{self.kind} on {self.table} {self.index}: {self.examined} rows, for {self.statement[:300]}"


def scans(ask: Callable[[], Any]) -> list[Scan]:
    """Ask once, then every statement again with its plan; what the second time writes is rolled back."""
    with CaptureQueriesContext(connection) as captured:
        ask()
    return [scan for query in captured.captured_queries for scan in _scans_of(query["sql"])]


def examined(found: list[Scan]) -> int:
    return sum(scan.examined for scan in found)


def _scans_of(statement: str) -> Iterator[Scan]:
    if statement.lstrip("( \n").split(None, 1)[0].upper() not in {"SELECT", "WITH", "UPDATE", "DELETE"}:
        return
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {statement}")
        (told,) = cursor.fetchone()
        transaction.set_rollback(True)
    plan = (json.loads(told) if isinstance(told, str) else told)[0]["Plan"]
    for node in _nodes(plan):
        if "Relation Name" in node:
            yield Scan(node["Relation Name"], node["Node Type"], _index(node), _rows(node), statement)


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", []):
        yield from _nodes(child)


def _index(node: dict[str, Any]) -> str:
    """Of a bitmap scan, the indexes below it."""
    below = [each["Index Name"] for each in _nodes(node) if "Index Name" in each]
    return " ".join(below)


def _rows(node: dict[str, Any]) -> int:
    thrown = sum(node.get(f"Rows Removed by {why}", 0) for why in ("Filter", "Index Recheck"))
    return round((node.get("Actual Rows", 0) + thrown) * node.get("Actual Loops", 0))
