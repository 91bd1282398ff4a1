"""What a case tells: tables, and targets met or not."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Target:
    """`is_met` None: this run did not measure what it takes."""

    what: str
    limit: str
    figure: str
    is_met: bool | None

    @property
    def cells(self) -> Sequence[str]:
        return (
            self.what,
            self.limit,
            self.figure,
            {True: "met", False: "**not met**", None: "not measured"}[self.is_met],
        )


@dataclass
class Section:
    """One table of a case, and the targets it speaks of. `inputs` are numbers that docs/scaling.md reckons with."""

    title: str
    head: Sequence[str]
    rows: list[Sequence[str]] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)
    inputs: dict[str, float] = field(default_factory=dict)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """As Markdown; all columns but the first stand to the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
