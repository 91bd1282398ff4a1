"""Writes of whole rows, for the paths that are walked at every step: the statement is put together once a shape.

The ORM puts each of its statements together anew, which costs three times what sending it does. Fields, their
conversions and their defaults are the ORM's; what is not one here is its signals, which no model of these paths has.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

from django.db import connection, models
from django.db.models.expressions import DatabaseDefault
from django.db.models.functions import Now


def insert(rows: Sequence[models.Model]) -> None:
    """Write new rows of one model, and give each its primary key where the database makes it."""
    if not rows:
        return
    shape = _shape(type(rows[0]))
    places: list[str] = []
    values: list[Any] = []
    for row in rows:
        marks = [_mark(field, field.pre_save(row, add=True), values) for field in shape.fields]
        places.append(f"({', '.join(marks)})")
    with connection.cursor() as cursor:
        cursor.execute(f"{shape.head} VALUES {', '.join(places)}{shape.tail}", values)
        keys = cursor.fetchall() if shape.tail else []
    for row in rows:
        row._state.adding, row._state.db = False, connection.alias
    for row, (key,) in zip(rows, keys, strict=bool(keys)):
        row.pk = key


def update(model: type[models.Model], where: dict[str, Any], changes: dict[str, Any]) -> int:
    """Change the rows whose fields are as `where` says; how many there were. Of expressions, only Now() is known."""
    values: list[Any] = []
    sets = [f'"{field.column}" = {_mark(field, value, values)}' for field, value in _by_field(model, changes)]
    conditions = [f'"{field.column}" = {_mark(field, value, values)}' for field, value in _by_field(model, where)]
    table = model._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(f'UPDATE "{table}" SET {", ".join(sets)} WHERE {" AND ".join(conditions)}', values)  # noqa: S608
        return cursor.rowcount


@dataclass(frozen=True)
class _Shape:
    fields: list[models.Field]
    head: str
    tail: str


@cache
def _shape(model: type[models.Model]) -> _Shape:
    key = model._meta.pk
    makes_key = isinstance(key, models.AutoField)
    fields = [field for field in model._meta.local_concrete_fields if not (makes_key and field is key)]
    columns = ", ".join(f'"{field.column}"' for field in fields)
    returning = f' RETURNING "{key.column}"' if makes_key else ""
    return _Shape(fields, f'INSERT INTO "{model._meta.db_table}" ({columns})', returning)


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
