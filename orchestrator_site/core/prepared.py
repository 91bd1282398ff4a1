"""Queries of the ORM put together once, for what is read at every step: the compiler takes longer than the database."""

from collections.abc import Callable
from functools import cached_property
from typing import Any, Generic, TypeVar

from django.db import connection
from django.db.models import Model, QuerySet
from django.db.models.query import get_related_populators

Row = TypeVar("Row", bound=Model)


class Prepared(Generic[Row]):
    """`query` is called once, with the stand-ins, and shows where the values of each asking go.

        newest = Prepared(lambda of, than: Run.objects.filter(owner=of, pk__gt=than), 0, UUID(int=1))
        newest(user.pk, run_id)

    Each stand-in is of its value's type, and unlike all other parameters of the query. Related rows and annotations
    come with it, and so does a slice that is always the same; what is prefetched or taken out as values does not.
    """

    def __init__(self, query: Callable[..., QuerySet[Row]], *stand_ins: Any) -> None:
        self._query, self._stand_ins = query, stand_ins

    def __call__(self, *values: Any) -> list[Row]:
        shape = self._shape
        with connection.cursor() as cursor:
            cursor.execute(shape.sql, [values[n] if n is not None else fixed for n, fixed in shape.parameters])
            rows = cursor.fetchall()
        return [shape.made(row) for row in shape.converted(rows)]

    def first(self, *values: Any) -> Row | None:
        """Of a query that finds one or none."""
        return next(iter(self(*values)), None)

    @cached_property
    def _shape(self) -> "_Shape":
        return _Shape(self._query(*self._stand_ins), self._stand_ins)


class _Shape:
    def __init__(self, queryset: QuerySet, stand_ins: tuple[Any, ...]) -> None:
        compiler = queryset.query.get_compiler(queryset.db)
        self.sql, parameters = compiler.as_sql()
        places = [stand_ins.index(value) if value in stand_ins else None for value in parameters]
        if unseen := [value for n, value in enumerate(stand_ins) if n not in places]:
            raise ValueError(f"{unseen} have no place in {self.sql}")
        self.parameters = list(zip(places, parameters, strict=True))
        select, columns = compiler.select, compiler.klass_info["select_fields"]  # type: ignore[index]
        self._compiler = compiler
        self._converters = compiler.get_converters([each[0] for each in select])
        self._model = compiler.klass_info["model"]
        self._own = slice(columns[0], columns[-1] + 1)
        self._names = [each[0].target.attname for each in select[self._own]]
        self._related = get_related_populators(compiler.klass_info, select, queryset.db)  # type: ignore[call-arg]
        self._annotations = dict(compiler.annotation_col_map)

    def converted(self, rows: Any) -> Any:
        return self._compiler.apply_converters(rows, self._converters) if self._converters else rows

    def made(self, row: Any) -> Any:
        made = self._model.from_db(connection.alias, self._names, row[self._own])
        for related in self._related:
            related.populate(row, made)
        for name, place in self._annotations.items():
            setattr(made, name, row[place])
        return made
