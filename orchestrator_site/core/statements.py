"""Writes of whole rows, for the paths that are walked at every step: few statements, put together once a shape.

The ORM puts each of its statements together anew, which costs three times what sending it does. Fields, their
conversions and their defaults are the ORM's; what is not one here is its signals, which no model of these paths has.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

from django.db import connection, models
from django.db.models.expressions import DatabaseDefault
from django.db.models.functions import Now

Then = Callable[[list[Any]], None]


class Writes:
    """What one transaction writes: each at once, or all of it in one statement when `send` is called.

    In one statement no write sees another one, no row may be written twice, and they take their locks in order.
    Whoever reads or writes such a row by other means calls `send` before that.
    """

    def __init__(self, *, together: bool = False) -> None:
        self._together = together
        self._waiting: list[_Write] = []

    def at_once(self) -> None:
        """From here on each is sent when it is given, after all that waits."""
        self._together = False
        self.send()

    def insert(self, rows: Sequence[models.Model]) -> None:
        """New rows of one model; each gets its primary key where the database makes it."""
        if not rows:
            return
        shape = _shape(type(rows[0]))
        places: list[str] = []
        values: list[Any] = []
        for row in rows:
            marks = [_mark(field, field.pre_save(row, add=True), values) for field in shape.fields]
            places.append(f"({', '.join(marks)})")

        def written(keys: list[Any]) -> None:
            for row, key in zip(rows, keys, strict=True):
                row.pk, row._state.adding, row._state.db = key, False, connection.alias

        self.add(f"{shape.head} VALUES {', '.join(places)}", values, returning=shape.key, then=written)

    def update(
        self, model: type[models.Model], where: dict[str, Any], changes: dict[str, Any], *, otherwise: Exception
    ) -> None:
        """Change the one row whose fields are as `where` says; raises `otherwise` when there is none.

        Of expressions, only Now() is known.
        """
        values: list[Any] = []
        sets = [f'"{field.column}" = {_mark(field, value, values)}' for field, value in _by_field(model, changes)]
        conditions = [f'"{field.column}" = {_mark(field, value, values)}' for field, value in _by_field(model, where)]

        def written(rows: list[Any]) -> None:
            if not rows:
                raise otherwise

        sql = f'UPDATE "{model._meta.db_table}" SET {", ".join(sets)} WHERE {" AND ".join(conditions)}'  # noqa: S608
        self.add(sql, values, then=written)

    def add(self, sql: str, values: Sequence[Any], *, returning: str = "1", then: Then | None = None) -> str:
        """Any INSERT or UPDATE; `then` is given what it returns of each row. The name under which later ones see it."""
        self._waiting.append(_Write(sql, values, returning, then))
        name = f"w{len(self._waiting) - 1}"
        if not self._together:
            self.send()
        return name

    @contextmanager
    def as_one(self) -> Iterator[None]:
        """What is added within is sent in one statement at its end, with all that waited before."""
        together, self._together = self._together, True
        try:
            yield
        finally:
            self._together = together
        self.send()

    def send(self) -> None:
        """Send what waits. Raises what the writes raise, and `otherwise` of one that found no row."""
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        with connection.cursor() as cursor:
            if len(waiting) == 1:
                cursor.execute(f"{waiting[0].sql} RETURNING {waiting[0].returning}", waiting[0].values)
                answers = [[value for (value,) in cursor.fetchall()]]
            else:
                cursor.execute(_together(waiting), [value for write in waiting for value in write.values])
                answers = cursor.fetchone()
        for write, answer in zip(waiting, answers, strict=True):
            if write.then is not None:
                write.then(answer)


@dataclass(frozen=True)
class _Write:
    sql: str
    values: Sequence[Any]
    returning: str
    then: Then | None


def _together(writes: Sequence[_Write]) -> str:
    """The answers are asked for in the order of the writes, which is how PostgreSQL comes to carry them out."""
    parts = [f"w{n} AS ({write.sql} RETURNING {write.returning} AS it)" for n, write in enumerate(writes)]
    answers = [f"ARRAY(SELECT it FROM w{n})" for n in range(len(writes))]  # noqa: S608
    return f"WITH {', '.join(parts)} SELECT {', '.join(answers)}"


@dataclass(frozen=True)
class _Shape:
    fields: list[models.Field]
    head: str
    key: str


@cache
def _shape(model: type[models.Model]) -> _Shape:
    key = model._meta.pk
    made = {key} if isinstance(key, models.AutoField) else set()
    fields = [f for f in model._meta.local_concrete_fields if f not in made and not f.generated]
    columns = ", ".join(f'"{field.column}"' for field in fields)
    return _Shape(fields, f'INSERT INTO "{model._meta.db_table}" ({columns})', f'"{key.column}"')


def _by_field(model: type[models.Model], named: dict[str, Any]) -> Iterator[tuple[models.Field, Any]]:
    for name, value in named.items():
        yield (model._meta.pk if name == "pk" else cast("models.Field", model._meta.get_field(name))), value


def _mark(field: models.Field, value: Any, values: list[Any]) -> str:
    """What stands for a value in the statement; a plain one is added to `values`."""
    if isinstance(value, DatabaseDefault):
        return "DEFAULT"
    if isinstance(value, Now):
        return "STATEMENT_TIMESTAMP()"
    if hasattr(value, "resolve_expression"):
        raise TypeError(f"{field.name}: {value!r} is an expression, which only the ORM can write")
    if isinstance(value, models.Model):
        value = value.pk
    values.append(field.get_db_prep_save(value, connection))
    return "%s"
