"""How well the demo model understands people: `python -m tests.demo.phrasings_report [FILE ...]`."""

import csv
import os
import sys
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

FOLDER = Path(__file__).parent / "phrasings"
OWNERS = {
    "where_is_it": {"orders"},
    "order_details": {"orders"},
    "compare_orders": {"orders"},
    "complaint": {"orders"},
    "refund": {"orders"},
    "partial_refund": {"orders", "refunds"},  # by the rule in the README; a complaint beside the sum decides
    "cancel": {"changes"},
    "change_address": {"changes"},
    "write_customer": {"letters"},
}


@dataclass(frozen=True)
class Row:
    text: str
    intent: str
    order_numbers: frozenset[int]
    amount: Decimal | None
    expect: str

    @property
    def intents(self) -> list[str]:
        named = [word for word in self.expect.replace("+", " ").split() if word in OWNERS]
        return (named if self.intent == "multi" else []) or [self.intent]


def rows_in(path: Path) -> list[Row]:
    with path.open(encoding="utf-8", newline="") as file:
        return [
            Row(
                text=row["text"].replace("\\n", "\n"),
                intent=row["intent"],
                order_numbers=frozenset(int(number) for number in row["order_numbers"].split()),
                amount=Decimal(row["amount"]) if row["amount"] else None,
                expect=row["expect"] or "",
            )
            for row in csv.DictReader(file)
        ]


def reading_faults(row: Row) -> list[str]:
    from orchestrator_site.demo.model_server.reading import read

    reading, faults = read(row.text), []
    if reading.label != row.intent:
        faults.append(f"label {reading.label}")
    elif row.intent == "multi" and set(row.intents) != {"multi"} and set(reading.intents) != set(row.intents):
        faults.append(f"intents {'+'.join(reading.intents)}")
    if row.intent != "out_of_scope" and frozenset(reading.order_numbers) != row.order_numbers:
        faults.append(f"numbers {sorted(reading.order_numbers)}")
    if reading.amount != row.amount:
        faults.append(f"amount {reading.amount}")
    return faults


def decision_faults(row: Row) -> list[str]:
    """The router's turn and the first turn of each worker it chose."""
    from tests.demo.desk_harness import Talk

    reply = Talk("triage").say(row.text)
    tasks = {
        use.name.removeprefix("dispatch_to_"): use.input["task"]
        for use in reply.tools
        if use.name.startswith("dispatch_to_")
    }
    asks = any(use.name == "ask_human" for use in reply.tools)
    if row.intent == "ambiguous":
        return [] if asks else [f"did not ask but {sorted(tasks) or 'declined'}"]
    if row.intent == "out_of_scope":
        return [] if not reply.tools else [f"did not decline but {sorted(tasks) or 'asked'}"]
    if not _right_owners(row, set(tasks)):
        return [f"dispatched {sorted(tasks) or ('ask' if asks else 'decline')}"]
    return _worker_faults(row, tasks)


def _right_owners(row: Row, chosen: set[str]) -> bool:
    if row.intents == ["multi"]:
        return len(chosen) >= 1
    allowed = [OWNERS[intent] for intent in row.intents]
    return bool(chosen) and all(owners & chosen for owners in allowed) and chosen <= set().union(*allowed)


def _worker_faults(row: Row, tasks: dict[str, str]) -> list[str]:
    from orchestrator_site.demo.model_server.reading import read
    from tests.demo.desk_harness import Talk

    touched: set[int] = set()
    for slug, task in tasks.items():
        touched |= {use.input["order_number"] for use in Talk(slug).say(task).tools if "order_number" in use.input}
    faults = [] if frozenset(touched) == row.order_numbers else [f"touches {sorted(touched)}"]
    if row.amount is not None and all(read(task).amount != row.amount for task in tasks.values()):
        faults.append("amount lost")
    return faults


@dataclass(frozen=True)
class Report:
    name: str
    rows: list[Row]
    reading: dict[Row, list[str]]
    decision: dict[Row, list[str]]

    @property
    def reading_accuracy(self) -> float:
        return sum(not faults for faults in self.reading.values()) / len(self.rows)

    @property
    def decision_accuracy(self) -> float:
        return sum(not faults for faults in self.decision.values()) / len(self.rows)

    def table(self) -> str:
        total = Counter(row.intent for row in self.rows)
        lines = [
            f"{self.name}: {len(self.rows)} texts, "
            f"reading {self.reading_accuracy:.1%}, decision {self.decision_accuracy:.1%}"
        ]
        for intent, count in total.items():
            read = sum(row.intent == intent and not faults for row, faults in self.reading.items())
            decided = sum(row.intent == intent and not faults for row, faults in self.decision.items())
            lines.append(f"  {intent:16} reading {read:3}/{count}  decision {decided:3}/{count}")
        return "\n".join(lines)

    def misses(self) -> str:
        return "\n".join(
            f"  {row.text!r}\n      wanted {row.intent}; {', '.join(self.reading[row] + self.decision[row])}"
            for row in self.rows
            if self.reading[row] or self.decision[row]
        )


def report_on(path: Path) -> Report:
    rows = rows_in(path)
    return Report(
        path.name, rows, {row: reading_faults(row) for row in rows}, {row: decision_faults(row) for row in rows}
    )


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    import django

    django.setup()
    for path in [Path(name) for name in sys.argv[1:]] or sorted(FOLDER.glob("*.csv")):
        report = report_on(path)
        print(report.table())
        print(report.misses())


if __name__ == "__main__":
    main()
