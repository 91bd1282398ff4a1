"""What requests alike have in common, where they differ, and which of them stands out. Pure."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from statistics import median
from typing import Any

from orchestrator_site.core import canonical
from tools import patterns

# A number that is so many times what is usual among the others stands out.
FAR_ABOVE = 3
_HOST = re.compile(r"^(?:[a-z][a-z0-9+.-]*://(?:[^/?#@]*@)?([^/?#:]+)|[^@\s]+@([^@\s]+))", re.IGNORECASE)


@dataclass(frozen=True)
class Cell:
    """One argument of one request. `flag` is a sentence where it stands out; `missing`: it was not given."""

    name: str
    value: Any
    flag: str = ""
    missing: bool = False


@dataclass(frozen=True)
class Comparison:
    """`rows` hold a cell for each of `columns`, in the order of what was compared. `totals`: of columns of amounts."""

    common: Mapping[str, Any]
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    totals: Mapping[str, Decimal]


_MISSING = object()


def compare(arguments: Sequence[Mapping[str, Any]]) -> Comparison:
    names = sorted({name for each in arguments for name in each})
    differing = [name for name in names if len({_key(each.get(name, _MISSING)) for each in arguments}) > 1]
    columns = {name: [each.get(name, _MISSING) for each in arguments] for name in differing}
    cells = {name: _cells(name, values) for name, values in columns.items()}
    return Comparison(
        common={name: arguments[0][name] for name in names if name not in differing},
        columns=tuple(differing),
        rows=tuple(tuple(cells[name][n] for name in differing) for n in range(len(arguments))),
        totals={name: total for name, values in columns.items() if (total := _total(name, values)) is not None},
    )


def _key(value: Any) -> str:
    return "" if value is _MISSING else canonical.dumps(value)


def _cells(name: str, values: Sequence[Any]) -> list[Cell]:
    given = [value for value in values if value is not _MISSING]
    if all(patterns.is_amount(name, value) for value in given):
        flags = _flags_of_amounts(given)
    else:
        flags = _flags_of_texts(given)
    if len(given) == 1 < len(values) - 1:
        flags = {_key(given[0]): "none of the others has it"}
    left_out = "all the others have it" if len(given) == len(values) - 1 > 1 else ""
    missing = Cell(name, None, left_out, missing=True)
    return [missing if value is _MISSING else Cell(name, value, flags.get(_key(value), "")) for value in values]


def _flags_of_amounts(values: Sequence[Any]) -> dict[str, str]:
    """The largest one, where it is alone; in stronger words where it is far above what is usual."""
    largest = max(values, default=0)
    if len(values) < 2 or values.count(largest) > 1:
        return {}
    usual = median(sorted(values)[:-1])
    if usual > 0 and largest >= FAR_ABOVE * usual:
        return {_key(largest): f"{largest / usual:.0f} times what is usual among the others"}
    return {_key(largest): "the largest"}


def _flags_of_texts(values: Sequence[Any]) -> dict[str, str]:
    """A host, or failing hosts a whole value, that one has while all but it share another."""
    if len(values) < 3:
        return {}
    hosts = [_host(value) for value in values]
    if all(hosts):
        usual, flags = _usual(hosts), {}
        for value, host in zip(values, hosts, strict=True):
            if usual and host != usual:
                flags[_key(value)] = f"goes to {host}, most of the others to {usual}"
        return flags
    keys = [_key(value) for value in values]
    usual = _usual(keys)
    return {key: "differs from all the others" for key in keys if key != usual} if usual else {}


def _usual(values: Sequence[str]) -> str:
    """What all but one, or at least three quarters of them, have; empty when there is no such value."""
    ((value, count),) = Counter(values).most_common(1)
    return value if count >= 2 and (count == len(values) - 1 or count >= 0.75 * len(values)) else ""


def _host(value: Any) -> str:
    found = _HOST.match(value) if isinstance(value, str) else None
    return (found[1] or found[2]).lower() if found else ""


def _total(name: str, values: Sequence[Any]) -> Decimal | None:
    if not all(patterns.is_amount(name, value) for value in values):
        return None
    return sum((Decimal(str(value)) for value in values), Decimal(0))
