"""What was measured against what was promised."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmarks.report import Section, Target


@dataclass(frozen=True)
class Figure:
    """`limit` in the unit of `value`; None for what is told and not promised."""

    what: str
    value: float
    limit: float | None = None
    unit: str = "ms"
    remark: str = ""

    @property
    def is_met(self) -> bool | None:
        return None if self.limit is None else self.value <= self.limit

    @property
    def target(self) -> Target:
        """Of one that has a limit."""
        assert self.limit is not None
        return Target(self.what, f"≤ {_told(self.limit)} {self.unit}", self.measured, self.is_met)

    @property
    def measured(self) -> str:
        return f"{_told(self.value)} {self.unit}"


def section(title: str, figures: Sequence[Figure], strangers: float = 0.0) -> Section:
    """What is promised goes among the targets too; what is only told, into the table alone.

    `strangers`: the share of the machine that went to others meanwhile.
    """
    rows = [(each.what, each.measured, each.remark) for each in figures]
    promised = [each.target for each in figures if each.limit is not None]
    told = f"Other people's processes took {100 * strangers:.0f} % of the machine's CPU meanwhile."
    return Section(title, ("what", "measured", "how"), list(rows), remarks=[told], targets=promised)


def _told(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"


def percentile(values: Iterable[float], percent: float) -> float:
    """The smallest value that this share of all does not exceed."""
    ordered = sorted(values)
    place = max(0, -(-len(ordered) * percent // 100) - 1)
    return ordered[int(place)]


def spread(what: str, milliseconds: Sequence[float], percent: float, limit: float, remark: str = "") -> list[Figure]:
    """The promised percentile, with the median and the worst beside it."""
    told = (
        f"{len(milliseconds)} samples, median {_told(percentile(milliseconds, 50))}, worst {_told(max(milliseconds))}"
    )
    return [
        Figure(
            f"{what}, p{percent:g}",
            percentile(milliseconds, percent),
            limit,
            remark="; ".join(filter(None, [told, remark])),
        )
    ]
