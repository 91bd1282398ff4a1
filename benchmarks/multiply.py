"""Many runs out of one: every row of a run that really ran, written again under new ids and at other times.

The database does it, so a hundred thousand runs take a minute. What hangs together still does: ids inside texts are
replaced, requests carry the digest of their frozen text, and every event chain is hashed anew, so that
`verify_audit` finds nothing and a run that waited for a person can be decided and goes on.
"""
# ruff: noqa: S608  # table and column names come from the models

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Model

from approvals.models import ApprovalRequest, Decision
from orchestrator_site.core.models import ChainHead, Event
from runs.models import (
    Account,
    Artifact,
    Attempt,
    Conversation,
    Dispatch,
    Edge,
    Handoff,
    Node,
    Route,
    Run,
    Step,
    ToolCall,
)

# Every table of a run, each after those it points at, with the path from a row to its run.
_TABLES: Sequence[tuple[type[Model], str]] = (
    (Conversation, "runs"),
    (Run, "pk"),
    (Account, "run"),
    (Node, "run"),
    (Dispatch, "run"),
    (Edge, "child__run"),
    (Route, "source__run"),
    (Step, "dispatch__run"),
    (ApprovalRequest, "run_id"),
    (Decision, "request__run_id"),
    (ToolCall, "dispatch__run"),
    (Attempt, "call__dispatch__run"),
    (Handoff, "source__run"),
    (Artifact, "run"),
)
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_NEW_ID = (
    "(lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7'"
    " || substr(replace(gen_random_uuid()::text, '-', ''), 14))::uuid"
)


@dataclass(frozen=True)
class Spread:
    """When the copies began, as SQL over `n`, the number of a copy from 1, and who started them in turn."""

    at: str = "now()"
    owners: Sequence[int] = ()


def over_days(days: float) -> str:
    """Evenly over the last so many days, the last of them now."""
    return f"now() - make_interval(secs => (times - n) * {days * 86400} / times)"


def multiply(run_id: UUID, times: int, spread: Spread | None = None) -> None:
    """Write `times` copies of a run, in one transaction. The run itself stays as it is.

    With fresh statistics: those of a moment ago, when the tables held other rows or none, let the planner read all of
    one table for each row of another. Nobody else makes new ones before the end: `ANALYZE` keeps its locks till then.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        analyze()
        _Copying(cursor, run_id, times, spread or Spread()).copy()


class _Copying:
    """One template. `copies` holds a line for each copy: its time, its new ids, the head of its chain."""

    def __init__(self, cursor: Any, run_id: UUID, times: int, spread: Spread) -> None:
        self.cursor, self.run_id, self.times, self.spread = cursor, run_id, times, spread
        self.rows = [(model, row) for model, path in _TABLES for row in self._rows(model, path)]
        self.ids = self._ids()

    def copy(self) -> None:
        self._make_copies()
        for model, row in self.rows:
            self._insert(model, row)
        self._chain()
        self.cursor.execute("DROP TABLE copies")

    def _rows(self, model: type[Model], path: str) -> list[dict[str, str | None]]:
        """Every column as text, as the database writes it."""
        columns = _columns(model)
        keys = list(model._base_manager.filter(**{path: self.run_id}).order_by().values_list("pk", flat=True))
        key = model._meta.pk.column  # type: ignore[union-attr]
        told = ", ".join(f'"{name}"::text' for name in columns)
        self.cursor.execute(
            f'SELECT {told} FROM {model._meta.db_table} WHERE "{key}" = ANY(%s) ORDER BY "{key}"', [keys]
        )
        return [dict(zip(columns, row, strict=True)) for row in self.cursor.fetchall()]

    def _ids(self) -> list[str]:
        """The ids that are the copies' own: keys of the template's rows."""
        own = [row["id"] for model, row in self.rows if "id" in row and _UUID.fullmatch(row["id"] or "")]
        return [str(id) for id in own]

    def _make_copies(self) -> None:
        ids = ", ".join(f"{_NEW_ID} AS u{place}" for place in range(len(self.ids)))
        owners = list(self.spread.owners) or [0]
        self.cursor.execute(
            f"""CREATE TEMP TABLE copies AS
                SELECT n, at, at - %s::timestamptz AS shift, {ids}, ''::text AS previous, ''::text AS head,
                       (%s::int[])[1 + n %% %s] AS owner
                FROM (SELECT n, {self.spread.at} AS at
                      FROM generate_series(1, %s) n, (SELECT %s::float AS times) AS of_all) AS moments""",
            [self._of(Run)["created_at"], owners, len(owners), self.times, self.times],
        )

    def _of(self, model: type[Model]) -> dict[str, str | None]:
        return next(row for found, row in self.rows if found is model)

    def _insert(self, model: type[Model], row: dict[str, str | None]) -> None:
        parts = {name: self._value(model, row, name) for name in row}
        columns = ", ".join(f'"{name}"' for name in parts)
        values = ", ".join(part[0] for part in parts.values())
        arguments = [value for _, given in parts.values() for value in given]
        self.cursor.execute(f"INSERT INTO {model._meta.db_table} ({columns}) SELECT {values} FROM copies", arguments)

    def _value(self, model: type[Model], row: dict[str, str | None], name: str) -> tuple[str, list[Any]]:
        """SQL over `copies`, and its parameters."""
        value, kind = row[name], _columns(model)[name]
        if value is None:
            return "NULL", []
        if model is ApprovalRequest and name in ("digest", "edited_digest"):
            source = "frozen" if name == "digest" else "edited_frozen"
            text, given = self._text(row[source] or "")
            return _digest(text), given
        if name in ("owner_id", "requester_id") and self.spread.owners:
            return "owner", []
        if model is ToolCall and name == "step_id":
            return self._step(value)
        if kind.startswith("timestamp"):
            return "%s::timestamptz + shift", [value]
        text, given = self._text(value)
        return f"({text})::{kind}", given

    def _text(self, value: str) -> tuple[str, list[Any]]:
        """A text with the ids in it replaced."""
        text = "%s::text"
        given: list[Any] = [value]
        for id in dict.fromkeys(_UUID.findall(value)):
            if id in self.ids:
                text = f"replace({text}, %s, u{self.ids.index(id)}::text)"
                given.append(id)
        return text, given

    def _step(self, key: str) -> tuple[str, list[Any]]:
        """Steps have keys that the database gives: the copy's is found by its dispatch and number."""
        step = Step.objects.get(pk=int(key))
        place = self.ids.index(str(step.dispatch_id))
        return f"(SELECT id FROM runs_step WHERE dispatch_id = u{place} AND number = %s)", [step.number]

    def _chain(self) -> None:
        chain = f"run:{self.run_id}"
        for event in Event.objects.filter(chain=chain).order_by("seq"):
            self._event(event)
        name, given = self._text(chain)
        head = ChainHead.objects.get(chain=chain)
        self.cursor.execute(
            f"INSERT INTO core_chainhead (chain, seq, hash) SELECT {name}, %s, head FROM copies",
            [*given, head.seq],
        )

    def _event(self, event: Event) -> None:
        chain, chain_given = self._text(event.chain)
        data, data_given = self._text(event.data)
        at, moment = "(%s::timestamptz + shift)", event.at.isoformat()
        material = " || ',' || ".join(
            [
                "'[' || to_json(head)",
                f"to_json({chain})",
                "%s",
                "to_json(%s::text)",
                "to_json(%s::text)",
                f"to_json(round(extract(epoch FROM {at}) * 1000000)::bigint::text)",
                f"to_json({data}) || ']'",
            ]
        )
        link = [*chain_given, str(event.seq), event.type, event.actor, moment, *data_given]
        self.cursor.execute(f"UPDATE copies SET previous = head, head = {_digest(material)}", link)
        columns = "chain, seq, type, actor, at, data, previous_hash, hash"
        values = f"{chain}, %s, %s, %s, {at}, {data}, previous, head"
        given = [*chain_given, event.seq, event.type, event.actor, moment, *data_given]
        if "run_id" in _columns(Event):
            columns, values = f"{columns}, run_id", f"{values}, u{self.ids.index(str(self.run_id))}"
        self.cursor.execute(f"INSERT INTO core_event ({columns}) SELECT {values} FROM copies", given)


def _digest(text: str) -> str:
    return f"encode(sha256(convert_to({text}, 'UTF8')), 'hex')"


@cache
def _columns(model: type[Model]) -> dict[str, str]:
    """Name and type of every column that the database does not number by itself."""
    with connection.cursor() as cursor:
        cursor.execute(
            """SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute
               WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped
                 AND attidentity = '' AND attgenerated = ''
               ORDER BY attnum""",
            [model._meta.db_table],
        )
        return dict(cursor.fetchall())


def analyze(models: Iterable[type[Model]] = ()) -> None:
    """Fresh statistics, as autovacuum would have made them by the time a table has grown like this."""
    tables = [model._meta.db_table for model in models] or [*{model._meta.db_table for model, _ in _TABLES}]
    with connection.cursor() as cursor:
        cursor.execute(f"ANALYZE {', '.join([*tables, 'core_event', 'core_chainhead'])}")
