"""A long past: what is asked all day over a million events, and a month of them that leaves."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from io import StringIO
from statistics import median
from typing import TYPE_CHECKING, TypeVar

from benchmarks.cases.bench import Bench
from benchmarks.report import Section, Target

if TYPE_CHECKING:  # Django's models, which can be imported only once the case has begun
    from benchmarks.past import People
    from benchmarks.plans import Scan
    from benchmarks.questions import Question

T = TypeVar("T")

TIMES = 5
# A read of one table may take this many rows in hand. The admin looks 20,000 back, and of a table that is hardly longer
# than that PostgreSQL rightly reads all. Runs, dispatches, steps, calls and events are far longer.
MOST_ROWS = 40_000
SLOWEST_MS = 1_000

# By the word that the questions' names begin with.
ROOMS = {
    "sweep": "sweeps (every worker, every two seconds)",
    "live": "live pages",
    "home": "the home page",
    "runs": "the list of runs and its filters",
    "a": "a run, a request",
    "approvals": "the approvals' queue",
    "uncertain": "calls in doubt",
    "health": "health",
    "api": "the REST API",
    "admin": "the admin and its searches",
}


@dataclass(frozen=True)
class Answer:
    """`milliseconds`: the median of some times; `scans`: every read of a table that it took."""

    question: str
    milliseconds: float
    scans: Sequence["Scan"]

    @property
    def room(self) -> str:
        return ROOMS[self.question.partition(":")[0].split()[0].rstrip(",")]

    @property
    def most_rows(self) -> int:
        return max((scan.examined for scan in self.scans), default=0)


def history(bench: Bench) -> Iterator[Section]:
    """100,000 runs with a million events over a year (quick: a tenth): asked all that is asked, and dropped from."""
    from django.core.management import call_command

    from benchmarks import past
    from orchestrator_site.core.models import Event
    from tests.model_fixtures import running
    from tests.runs import callables  # noqa: F401  (registers the past's tools)

    call_command("collectstatic", interactive=False, verbosity=0)  # pages name their files by digest
    runs = 10_000 if bench.options.is_quick else 100_000
    with running("tests.scripted_model") as model:
        who, seconds = timed(lambda: past.fill(model.url, runs=runs, waiting_runs=runs // 100))
    events = Event.objects.count()
    print(f"  {runs:,} runs with {events:,} events, written in {seconds:.0f} s", flush=True)
    yield _asked(who, f"{runs:,} runs with {events:,} events over a year, {runs // 100:,} of them waiting")
    yield _dropped(bench)


def timed(ask: Callable[[], T]) -> tuple[T, float]:
    """What it answers, and the seconds it took."""
    started = time.perf_counter()
    answer = ask()
    return answer, time.perf_counter() - started


# -- asked -------------------------------------------------------------------------------------------------------
def _asked(who: "People", title: str) -> Section:
    from benchmarks import questions

    answers = [_answer(question) for question in questions.everything(who)]
    section = Section(
        f"Asked of {title}", ("", "questions", "slowest, median ms", "which", "most rows read of a table")
    )
    for room in ROOMS.values():
        own = [answer for answer in answers if answer.room == room]
        slowest = max(own, key=lambda answer: answer.milliseconds)
        most = max(answer.most_rows for answer in own)
        section.rows.append((room, str(len(own)), f"{slowest.milliseconds:.0f}", slowest.question, f"{most:,}"))
    section.remarks.append(
        f"Each question is a whole page or call, asked {TIMES} times by one client in one process after a first time "
        "that is not counted, and then every statement once more with its plan."
    )
    section.targets += asked_targets(answers)
    return section


def asked_targets(answers: Sequence[Answer]) -> Iterator[Target]:
    read_whole = sorted({f"{scan.table} for {answer.question}" for answer in answers for scan in answer.scans if
                         scan.is_sequential and scan.examined > MOST_ROWS})  # fmt: skip
    said = f"{len(read_whole)}" + (f": {'; '.join(read_whole[:3])}" if read_whole else "")
    yield Target(f"tables read from end to end, of {len(answers)} questions", "0", said, not read_whole)
    sweeps = max(answer.most_rows for answer in answers if answer.question.startswith("sweep"))
    yield Target("rows a sweep reads of a table", "≤ 1,000", f"{sweeps:,}", sweeps <= 1000)
    widest = max(answers, key=lambda answer: answer.most_rows)
    told = f"{widest.most_rows:,} ({widest.question})"
    yield Target("rows a question reads of a table", f"≤ {MOST_ROWS:,}", told, widest.most_rows <= MOST_ROWS)
    slowest = max(answers, key=lambda answer: answer.milliseconds)
    told = f"{slowest.milliseconds:.0f} ms ({slowest.question})"
    yield Target("the slowest question, median", f"≤ {SLOWEST_MS:,} ms", told, slowest.milliseconds <= SLOWEST_MS)


def _answer(question: "Question") -> Answer:
    from benchmarks import plans

    question.ask()
    milliseconds = median(1000 * timed(question.ask)[1] for _ in range(TIMES))
    return Answer(question.name, milliseconds, plans.scans(question.ask))


# -- dropped -----------------------------------------------------------------------------------------------------
def _dropped(bench: Bench) -> Section:
    from django.core.management import CommandError, call_command

    from orchestrator_site.core import checkpoints, clock
    from orchestrator_site.core.models import ChainHead
    from runs import retention

    heads = ChainHead.objects.update(moved=True)
    _, signing = timed(checkpoints.make)
    month = retention.droppable(clock.database_now().date())[1]  # the first may have begun before the past did
    gone, dropping = timed(lambda: retention.drop(month, bench.servers.folder / "archive"))
    said = StringIO()
    try:
        _, verifying = timed(lambda: call_command("verify_audit", stdout=said))
        told, is_whole = said.getvalue().strip(), True
    except CommandError as fault:
        verifying, told, is_whole = 0.0, str(fault), False
    assert gone.archive is not None
    section = Section("A month of the log leaves", ("", "seconds", "how much"))
    section.rows += [
        ("sign all chains in one checkpoint", f"{signing:.1f}", f"{heads:,} chains"),
        (
            "verify the month, write its archive, drop its partition",
            f"{dropping:.1f}",
            f"{gone.chains:,} chains, {gone.rows:,} events, {gone.archive.stat().st_size / 2**20:.0f} MiB",
        ),
        ("verify the whole audit after it", f"{verifying:.1f}", told),
    ]
    section.targets.append(Target("the audit after a month was dropped", "no fault", told, is_whole))
    return section
