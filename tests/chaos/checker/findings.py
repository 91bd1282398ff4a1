"""What is wrong, line by line. Every line must be empty; docs/chaos.md says what each means."""

from dataclasses import dataclass, field

LINES = (
    "lost",
    "duplicated",
    "done without effect",
    "effects unaccounted for",
    "effects of calls not permitted",
    "effects of calls said not to have happened",
    "arguments not those approved",
    "written without the lease",
    "actions without event, events without action",
    "begun while it was stopped",
    "made of what was taken back",
    "money that does not add up",
    "open with nobody to move it",
    "stuck runs",
)


@dataclass
class Verdict:
    findings: dict[str, list[str]] = field(default_factory=lambda: {line: [] for line in LINES})

    def say(self, line: str, sentence: str) -> None:
        self.findings[line].append(sentence)

    def count(self, line: str) -> int:
        return len(self.findings[line])

    @property
    def is_clean(self) -> bool:
        return not any(self.findings.values())
