"""What was written down, indexed: the platform's rows, the outside ledger, the people's diary, the nemesis' log."""

import datetime as dt
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

Row = dict[str, Any]

FINAL_RUN = {"succeeded", "failed", "cancelled"}
FINAL_DISPATCH = {"succeeded", "failed", "cancelled"}
FINAL_CALL = {"done", "failed", "refused", "cancelled", "resolved"}


@dataclass(frozen=True)
class Effect:
    at: float
    kind: str
    key: str
    arguments: Row

    @property
    def mark(self) -> str:
        return str(self.arguments.get("mark"))


@dataclass
class Material:
    """All that was written down, indexed."""

    tables: dict[str, list[Row]]
    ledger: list[Row]
    people: list[Row]
    nemesis: list[Row]

    def of(self, table: str) -> list[Row]:
        return self.tables.get(table, [])

    @cached_property
    def runs(self) -> dict[str, Row]:
        return {row["id"]: row for row in self.of("runs_run")}

    @cached_property
    def dispatches(self) -> dict[str, Row]:
        return {row["id"]: row for row in self.of("runs_dispatch")}

    @cached_property
    def nodes(self) -> dict[str, Row]:
        return {row["id"]: row for row in self.of("runs_node")}

    def at_and_around(self, node: str) -> Iterator[str]:
        """The ids of a node and of those that it lies within."""
        while node:
            yield node
            node = self.nodes[node]["within_id"]

    @cached_property
    def calls(self) -> dict[str, Row]:
        return {row["id"]: row for row in self.of("runs_toolcall")}

    @cached_property
    def requests(self) -> dict[str, Row]:
        return {row["id"]: row for row in self.of("approvals_approvalrequest")}

    @cached_property
    def decisions(self) -> dict[str, Row]:
        """By request."""
        return {row["request_id"]: row for row in self.of("approvals_decision")}

    @cached_property
    def assents(self) -> list[Row]:
        """Approvals of requests that several people have to approve."""
        return self.of("approvals_assent")

    @cached_property
    def attempts(self) -> dict[str, list[Row]]:
        """By call, in order."""
        return grouped(sorted(self.of("runs_attempt"), key=lambda row: row["number"]), "call_id")

    @cached_property
    def steps(self) -> dict[str, list[Row]]:
        """By dispatch, in order."""
        return grouped(sorted(self.of("runs_step"), key=lambda row: row["number"]), "dispatch_id")

    @cached_property
    def effects(self) -> dict[str, list[Effect]]:
        """By key, reads of pure tools left out."""
        found: defaultdict[str, list[Effect]] = defaultdict(list)
        for line in self.ledger:
            if line["what"] == "effect":
                found[line["key"]].append(Effect(line["at"], line["class"], line["key"], line["arguments"]))
        return dict(found)

    @cached_property
    def arrivals(self) -> Counter[str]:
        return Counter(line["key"] for line in self.ledger if line["what"] == "arrived")

    @cached_property
    def reads(self) -> Counter[str]:
        return Counter(line["key"] for line in self.ledger if line["what"] == "read")

    @cached_property
    def repeats(self) -> Counter[str]:
        """By call, how often a person was told that it will be run again."""
        found = [line for line in self.people if line["what"] == "found" and line["status"] == 200]
        return Counter(line["call"] for line in found if line["finding"] == "repeat")

    @cached_property
    def events(self) -> dict[str, list[Row]]:
        """By run, in order, with `data` parsed."""
        rows = [row | {"data": json.loads(row["data"])} for row in self.of("core_event") if row["run_id"]]
        return grouped(sorted(rows, key=lambda row: row["seq"]), "run_id")

    @cached_property
    def agents(self) -> dict[int, str]:
        return {row["id"]: row["slug"] for row in self.of("agents_agent")}

    @cached_property
    def slugs(self) -> dict[str, str]:
        """Agents by their manifests' ids."""
        return {row["id"]: self.agents[row["agent_id"]] for row in self.of("agents_manifest")}

    @cached_property
    def tampered(self) -> set[str]:
        """Calls whose rows the nemesis changed behind everybody's back."""
        return {line["call"] for line in self.nemesis if line["fault"] == "substitute_arguments" and "call" in line}


def key_of(call: Row) -> str:
    return f"baton-{call['id']}"


def grouped(rows: Iterable[Row], by: str) -> dict[str, list[Row]]:
    found: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        found[row[by]].append(row)
    return dict(found)


def seconds(stamp: str) -> float:
    return dt.datetime.fromisoformat(stamp).timestamp()


def read(folder: Path) -> Material:
    tables: defaultdict[str, list[Row]] = defaultdict(list)
    for line in lines(folder / "history.jsonl"):
        tables[line["table"]].append(line["row"])
    return Material(
        dict(tables),
        list(lines(folder / "ledger.jsonl")),
        list(lines(folder / "people.jsonl")),
        list(lines(folder / "nemesis.jsonl")),
    )


def lines(path: Path) -> Iterator[Row]:
    with path.open() as file:
        for line in file:
            yield json.loads(line)
