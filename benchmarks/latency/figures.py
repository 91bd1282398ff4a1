"""What was measured against what was promised, and its place in the report."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- latency: written by `python -m benchmarks.latency --write` -->", "<!-- end of latency -->"


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
    def cells(self) -> Sequence[str]:
        limit = "" if self.limit is None else f"≤ {_told(self.limit)} {self.unit}".strip()
        met = {None: "", True: "met", False: "**not met**"}[self.is_met]
        return self.what, f"{_told(self.value)} {self.unit}".strip(), limit, met, self.remark


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


def table(figures: Iterable[Figure]) -> str:
    rows = [("what", "measured", "target", "", "how"), ("---", "---:", "---:", "---", "---")]
    rows += [tuple(figure.cells) for figure in figures]  # type: ignore[misc]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def write(report: str) -> None:
    """Put the report between its marks in README.md, at the end where there are none yet."""
    text = README.read_text()
    if BEGIN not in text:
        text = f"{text.rstrip()}\n\n## Latency\n{BEGIN}\n{END}\n"
    before, _, rest = text.partition(BEGIN)
    README.write_text(f"{before}{BEGIN}\n\n{report}\n\n{END}{rest.partition(END)[2]}")


Measure = Callable[..., list[Figure]]
