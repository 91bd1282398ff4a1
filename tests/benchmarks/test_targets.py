"""What the comparison says of a target, on figures made up for it."""

import pytest

from benchmarks.cases.bench import BATON, DBOS, KEYED, LANGGRAPH, SDK
from benchmarks.cases.history import Answer, asked_targets
from benchmarks.cases.peers import peer_targets
from benchmarks.latency.figures import Figure, percentile, section
from benchmarks.measure import Cost
from benchmarks.plans import Scan
from benchmarks.report import Target
from benchmarks.rounds import Round
from benchmarks.work import Work

WORK = Work(runs=10, turns=10, payload=100)


def cost(seconds: float, cpu: float, wal: int, commits: int) -> Cost:
    return Cost(seconds, {"app": cpu, "postgres": 0.0}, {"driver": 0.0}, 2 * cpu, wal, 0, commits)


def rounds(*seconds: float, cpu: float = 0.4, wal: int = 500_000, commits: int = 200) -> list[Round]:
    """Rounds of 100 steps each."""
    nothing = cost(1, 0, 0, 0)
    return [Round(WORK, nothing, cost(each, cpu, wal, commits), 1) for each in seconds]


def by_name(payload: int, **found: list[Round]) -> dict[str, Target]:
    return {target.what: target for target in peer_targets(payload, found)}


def test_a_ratio_is_that_of_the_same_round() -> None:
    """The second round met bad weather: both took ten times as long, and their ratio stayed."""
    found = {
        BATON: rounds(1, 10, 1),
        KEYED: rounds(1, 1, 1),
        LANGGRAPH: rounds(3.5, 35, 3.5),
        DBOS: rounds(1.9, 19, 1.9),
    }

    targets = by_name(100, **found)

    assert targets["P = 100: steps/s to LangGraph"].figure.startswith("3.50 ×")
    assert targets["P = 100: steps/s to LangGraph"].is_met
    assert not targets["P = 100: steps/s to DBOS"].is_met


@pytest.mark.parametrize(("cpu", "is_met"), [(0.49, True), (0.51, False)])
def test_the_cpu_beyond_the_sdk_is_what_is_left_of_it(cpu: float, is_met: bool) -> None:
    found = {BATON: rounds(1, cpu=cpu), KEYED: rounds(1), SDK: rounds(1, cpu=0.1)}

    assert by_name(100, **found)["P = 100: CPU a step beyond the SDK's own"].is_met is is_met


@pytest.mark.parametrize(
    ("payload", "wal", "is_met"), [(100, 515_000, True), (100, 515_100, False), (4096, 1_114_400, True)]
)
def test_the_bytes_allowed_grow_with_the_payload(payload: int, wal: int, is_met: bool) -> None:
    found = {BATON: rounds(1, wal=wal), KEYED: rounds(1)}

    (target,) = (target for what, target in by_name(payload, **found).items() if "WAL" in what)
    assert target.is_met is is_met


def test_a_peer_that_was_not_run_is_not_spoken_of() -> None:
    assert not any("steps/s" in what for what in by_name(100, **{BATON: rounds(1), KEYED: rounds(1)}))


# -- latencies ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("value", "is_met"), [(49.9, True), (50.0, True), (50.1, False)])
def test_a_latency_is_held_against_its_limit(value: float, is_met: bool) -> None:
    told = section("Waiting", [Figure("accepted, p95", value, 50), Figure("fsync", 1.0)])

    assert [(target.what, target.limit, target.is_met) for target in told.targets] == [
        ("accepted, p95", "≤ 50 ms", is_met)
    ]
    assert [row[0] for row in told.rows] == ["accepted, p95", "fsync"]


def test_what_must_not_grow_at_all_is_not_met_by_one() -> None:
    more, same = (Figure("connections", count, 0, "more").target for count in (1, 0))

    assert (more.is_met, same.is_met) == (False, True)


def test_a_percentile_is_one_of_the_values_and_rounds_up() -> None:
    assert [percentile(range(1, 101), percent) for percent in (50, 95, 99)] == [50, 95, 99]
    assert percentile([1, 2, 1000], 99) == 1000


# -- history -----------------------------------------------------------------------------------------------------
def answer(question: str, kind: str = "Index Scan", rows: int = 10, milliseconds: float = 5) -> Answer:
    return Answer(question, milliseconds, [Scan("runs_run", kind, "", rows, "SELECT …")])


def of_history(*answers: Answer) -> list[bool | None]:
    return [target.is_met for target in asked_targets([answer("sweep: due"), *answers])]


@pytest.mark.parametrize(
    ("given", "are_met"),
    [
        (answer("runs, failed"), [True, True, True, True]),
        (answer("runs, failed", "Seq Scan", 100_000), [False, True, False, True]),
        (answer("runs, failed", "Seq Scan", 50), [True, True, True, True]),  # a small table is read whole, and rightly
        (answer("sweep: forgotten", rows=1001), [True, False, True, True]),
        (answer("runs, failed", milliseconds=1001), [True, True, True, False]),
    ],
)
def test_a_question_that_reads_the_past_is_found(given: Answer, are_met: list[bool]) -> None:
    assert of_history(given) == are_met
