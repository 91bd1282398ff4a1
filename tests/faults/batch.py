"""One run for every effect class and executor, asked for and not, brought to one point together; a ledger judges."""

import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.contrib.auth.models import User

from orchestrator_site.core import events, verify
from runs import carrier, reconcile, states
from runs.models import Dispatch, Run, ToolCall
from tests.model_fixtures import Process
from tests.runs import cast
from tests.waiting import PATIENCE_SECONDS, eventually
from tools.models import Tool
from tools.values import Effect, Risk

EXECUTORS = ("python", "http")
LEASE_SECONDS = 3.0
AT_REST = [*states.RUN.final, states.WAITING]


@dataclass(frozen=True)
class Cell:
    """A kind of call. `gated`: a person is asked for it first."""

    effect: Effect
    executor: str
    gated: bool

    @property
    def tool(self) -> str:
        return f"{self.effect}_{self.executor}_{'asked' if self.gated else 'free'}"

    def __str__(self) -> str:
        return self.tool.replace("_", " ")


CELLS = [Cell(effect, executor, gated) for gated in (True, False) for executor in EXECUTORS for effect in Effect]
# Where half of them say as much: each effect class by both executors, asked for by one of them.
HALF = [cell for cell in CELLS if cell.gated == (cell.executor == "http")]
Batch = Mapping[Cell, Run]


def hire(*, tool_seconds: float = 120, **limits: Any) -> None:
    """An agent that has a tool of every kind."""
    for cell in CELLS:
        risk, content = (Risk.HIGH if cell.gated else Risk.LOW), {"timeout_seconds": tool_seconds}
        if cell.executor == "http":
            cast.http_tool(cell.tool, "/effects", cell.effect, risk, **content)
        else:
            cast.tool(cell.tool, "tests.effect", cell.effect, risk, **content)
    Tool.objects.filter(name__endswith="free").update(confirmation="never")
    cast.agent("worker", *(cell.tool for cell in CELLS), limits=limits)


def prepare(ann: User, cells: Iterable[Cell] = CELLS, **arguments: Any) -> Batch:
    """Start the runs whose calls a person is asked for, and bring them to the question."""
    asked = {cell: _start(ann, cell, arguments) for cell in cells if cell.gated}
    take_over(asked)
    return asked


def begin(ann: User, bob: User, prepared: Batch, cells: Iterable[Cell] = CELLS, **arguments: Any) -> Batch:
    """Approve what was prepared and start the runs that nobody is asked for: now the next worker sends their calls."""
    for run in prepared.values():
        cast.decide(cast.request_of(run), bob)
    return {**prepared, **{cell: _start(ann, cell, arguments) for cell in cells if not cell.gated}}


def _start(ann: User, cell: Cell, arguments: Mapping[str, Any]) -> Run:
    given = {"dedupe": cell.effect == Effect.KEYED, **arguments}
    return cast.start(ann, cast.script(cast.call((cell.tool, given)), cast.text("done")))


class Holds:
    """Signs at the crash points of a worker that was started with `env`: whoever reaches one waits."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.env = {
            "BATON_HOLD_IN": str(folder),
            "BATON_LEASE_SECONDS": str(LEASE_SECONDS),
            "BATON_RECONCILE_SECONDS": "60",  # what this worker does not come for is left to the test
            "BATON_BREAKER_FAILURES": "1000",  # they fail on purpose, and no breaker is to open on it
            "BATON_DB_POOL": "0",  # more may stand still in a transaction than a pool has connections
        }

    def put_up(self, point: str) -> None:
        (self.folder / point).touch()

    def await_arrivals(self, point: str, count: int) -> None:
        eventually(lambda: (self.folder / point).stat().st_size >= count)

    def take_down(self, point: str) -> None:
        (self.folder / point).unlink(missing_ok=True)


def settle(batch: Batch) -> None:
    """Wait until every run has ended or waits for a person, by other workers' doing."""
    moving = Run.objects.filter(pk__in=[run.pk for run in batch.values()]).exclude(status__in=AT_REST)
    left = Dispatch.objects.filter(run__in=moving).values_list("status", "lease_owner", "waiting_on", "due_at")
    eventually(lambda: not moving.exists(), told=lambda: list(left.all()))
    refresh(batch)


def take_over(batch: Batch) -> None:
    """What another worker and its reconciler do, until every run has ended or waits for a person."""
    ids = [run.pk for run in batch.values()]
    ends_at = time.monotonic() + PATIENCE_SECONDS
    with ThreadPoolExecutor(8) as threads:
        while moving := Run.objects.filter(pk__in=ids).exclude(status__in=AT_REST):
            assert time.monotonic() < ends_at, f"still at work: {[*moving.values_list('pk', 'status')]}"
            reconcile.sweep()
            ready = Dispatch.objects.forgotten().filter(run__in=ids).values_list("pk", flat=True)
            if not any(list(threads.map(carrier.carry, list(ready)))):
                time.sleep(0.1)
    refresh(batch)


def refresh(batch: Batch) -> None:
    for run in batch.values():
        run.refresh_from_db()


def call_of(run: Run) -> ToolCall | None:
    return ToolCall.objects.filter(dispatch__run=run).first()


def made(ledger: Process, batch: Batch) -> dict[Cell, int]:
    """How many effects each run's call has had, as the outside world counted them."""
    calls = ToolCall.objects.filter(dispatch__run__in=list(batch.values()))
    keys = {call.idempotency_key: call.dispatch_id for call in calls}
    runs = dict(Dispatch.objects.filter(pk__in=keys.values()).values_list("pk", "run_id"))
    counts = dict.fromkeys([run.pk for run in batch.values()], 0)
    for effect in ledger.get("/effects"):
        if effect["key"] in keys:
            counts[runs[keys[effect["key"]]]] += 1
    return {cell: counts[run.pk] for cell, run in batch.items()}


def is_accounted_for(cell: Cell, run: Run, effects: int) -> None:
    """The platform's books say what the ledger counted, or that nobody knows; nothing is open, nothing repeated."""
    call = call_of(run)
    status = call.status if call else "never asked for"
    if cell.effect != Effect.PURE:
        assert effects <= 1, "an effect was repeated"
        if status == states.DONE:
            assert effects == 1, "a call is said to be done that had no effect"
        elif status not in (states.UNCERTAIN, states.RESOLVED):
            assert effects == 0, f"a call had its effect, and is {status}"
    if run.is_final:
        assert not run.dispatches.open().exists()
        assert status not in states.TOOL_CALL.open - {states.UNCERTAIN}
    assert verify.chain(events.run_chain(run.pk)) is None
    attempts = call.attempts.count() if call else 0
    assert cast.event_types(run).count("tool_call_executing") == attempts, "an attempt without event, or the reverse"
