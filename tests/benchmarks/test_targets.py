"""What the comparison says of a target, on figures made up for it."""

import pytest

from benchmarks.cases import BATON, DBOS, KEYED, LANGGRAPH, SDK, Target, peer_targets
from benchmarks.measure import Cost
from benchmarks.rounds import Round
from benchmarks.work import Work

WORK = Work(runs=10, turns=10, payload=100)


def cost(seconds: float, cpu: float, wal: int, commits: int) -> Cost:
    return Cost(seconds, {"app": cpu, "postgres": 0.0}, {"driver": 0.0}, 2 * cpu, wal, 0, commits)


def rounds(*seconds: float, cpu: float = 0.4, wal: int = 500_000, commits: int = 200) -> list[Round]:
    """Rounds of 100 steps each."""
    nothing = cost(1, 0, 0, 0)
    return [Round(WORK, nothing, cost(each, cpu, wal, commits), 1) for each in seconds]


def by_text(payload: int, **found: list[Round]) -> dict[str, Target]:
    return {target.text: target for target in peer_targets(payload, found)}


def test_a_ratio_is_that_of_the_same_round() -> None:
    """The second round met bad weather: both took ten times as long, and their ratio stayed."""
    found = {
        BATON: rounds(1, 10, 1),
        KEYED: rounds(1, 1, 1),
        LANGGRAPH: rounds(3.5, 35, 3.5),
        DBOS: rounds(1.9, 19, 1.9),
    }

    targets = by_text(100, **found)

    assert targets["P = 100: steps/s ≥ 3 × LangGraph (stretch 4 ×)"].figure.startswith("3.50 ×")
    assert targets["P = 100: steps/s ≥ 3 × LangGraph (stretch 4 ×)"].is_met
    assert not targets["P = 100: steps/s ≥ 2 × DBOS (stretch 3 ×)"].is_met


@pytest.mark.parametrize(("cpu", "is_met"), [(0.49, True), (0.51, False)])
def test_the_cpu_beyond_the_sdk_is_what_is_left_of_it(cpu: float, is_met: bool) -> None:
    found = {BATON: rounds(1, cpu=cpu), KEYED: rounds(1), SDK: rounds(1, cpu=0.1)}

    assert by_text(100, **found)["P = 100: CPU beyond the SDK's own ≤ 4 ms (stretch 2.5)"].is_met is is_met


@pytest.mark.parametrize(
    ("payload", "wal", "is_met"), [(100, 515_000, True), (100, 515_100, False), (4096, 1_114_400, True)]
)
def test_the_bytes_allowed_grow_with_the_payload(payload: int, wal: int, is_met: bool) -> None:
    found = {BATON: rounds(1, wal=wal), KEYED: rounds(1)}

    (target,) = (target for text, target in by_text(payload, **found).items() if "WAL" in text)
    assert target.is_met is is_met


def test_a_peer_that_was_not_run_is_not_spoken_of() -> None:
    assert not any("×" in text for text in by_text(100, **{BATON: rounds(1), KEYED: rounds(1)}))
