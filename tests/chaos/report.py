"""What is printed: what was done to the platform, what it did, and what must be zero."""

from collections import Counter

from tests.chaos.checker import LINES, Verdict, leasing
from tests.chaos.checker.effects import gated, uncertain
from tests.chaos.checker.material import Material

WIDTH = 46
SHOWN = 10


def lines(material: Material, verdict: Verdict) -> list[str]:
    return [*_work(material), *_faults(material), "", *_zeros(verdict), "", *_doubts(material), *_recovery(material)]


def _row(what: str, figure: object, told: str = "") -> str:
    return f"{what:{WIDTH}} {figure:>8} {told}".rstrip()


def _work(material: Material) -> list[str]:
    runs = Counter(run["status"] for run in material.runs.values())
    ends = Counter(each["stop_reason"] or each["status"] for each in material.dispatches.values())
    actions, asked = gated(material)
    effects = sum(map(len, material.effects.values()))
    statuses = Counter(call["status"] for call in material.calls.values())
    classes = Counter(call["effect"] for call in material.calls.values())
    return [
        _row("runs", sum(runs.values()), _listed(runs)),
        _row("dispatches", sum(ends.values()), _listed(ends)),
        _row("gated actions", actions, _listed(classes)),
        _row("  of these asked a person", asked),
        _row("  and came to their ends as", "", _listed(statuses)),
        _row("effects in the outside ledger", effects),
    ]


def _faults(material: Material) -> list[str]:
    struck = [line for line in material.nemesis if "missed" not in line]
    kills = Counter(line["target"] for line in struck if line["killed"])
    others = Counter(line["fault"].replace("_", " ") for line in struck if not line["killed"])
    return [
        _row("kills", sum(kills.values()), _listed(kills)),
        _row("other faults", sum(others.values()), _listed(others)),
        *_answers(material),
    ]


def _answers(material: Material) -> list[str]:
    """How the API answered the people, who asked again until it did."""
    left: list[Counter[str]] = [Counter(line["answers"]) for line in material.people if line["what"] == "leave"]
    return [_row("answers of the API", sum(answers.values()), _listed(answers)) for answers in left]


def _zeros(verdict: Verdict) -> list[str]:
    told = []
    for line in LINES:
        told.append(_row(line, verdict.count(line)))
        told += [f"    {sentence}" for sentence in verdict.findings[line][:SHOWN]]
    return told


def _doubts(material: Material) -> list[str]:
    ever, happened = uncertain(material)
    return [_row("uncertain", ever, f"of which {happened} had happened")]


def _recovery(material: Material) -> list[str]:
    told = []
    found = leasing.recoveries(material)
    everything = [seconds for times in found.values() for seconds in times]
    for name, times in [*sorted(found.items()), ("all", everything)]:
        if times:
            figures = f"p50 {_quantile(times, 0.5):.2f} s, p99 {_quantile(times, 0.99):.2f} s"
            told.append(_row(f"recovery, {name}", len(times), figures))
    return told


def _quantile(times: list[float], share: float) -> float:
    ordered = sorted(times)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.most_common())
