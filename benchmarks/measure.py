"""What a piece of work cost: time, CPU of whole process trees, bytes and commits in the write-ahead log."""

import os
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median

import psutil
import psycopg

# The kernel's name for "CPU time of a whole process" in the number of a clock (clock_getcpuclockid(3) builds the same).
CPUCLOCK_SCHED = 2

Groups = Mapping[str, Sequence[int]]  # process ids by what they are; each stands for its whole tree


@dataclass(frozen=True)
class Reading:
    """`beside_seconds` is CPU that is not the system's; `busy_seconds` the whole machine's, whoever used it."""

    at: float
    cpu_seconds: dict[str, float]
    beside_seconds: dict[str, float]
    busy_seconds: float
    lsn: str


@dataclass(frozen=True)
class Cost:
    """What lies between two readings. `full_page_bytes` is the part of `wal_bytes` that checkpoints cause."""

    seconds: float
    cpu_seconds: dict[str, float]
    beside_seconds: dict[str, float]
    busy_seconds: float
    wal_bytes: int
    full_page_bytes: int
    commits: int
    wal_by_record: dict[str, int] = field(default_factory=dict)

    @property
    def share_of_strangers(self) -> float:
        """The part of the machine's CPU time that went to processes which have no business in the measurement."""
        ours = sum(self.cpu_seconds.values()) + sum(self.beside_seconds.values())
        return max(0.0, self.busy_seconds - ours) / (self.seconds * (os.cpu_count() or 1))


class Meter:
    """Reads the counters of a set of process trees and of one PostgreSQL server, whatever databases it holds."""

    def __init__(self, postgres_host: str, groups: Groups, beside: Groups) -> None:
        self.groups, self.beside = groups, beside
        self._connection = psycopg.connect(host=postgres_host, user="postgres", dbname="postgres", autocommit=True)
        self._connection.execute("CREATE EXTENSION IF NOT EXISTS pg_walinspect")

    def checkpoint(self) -> None:
        """So that every measurement starts with the same debt: none."""
        self._connection.execute("CHECKPOINT")

    def read(self) -> Reading:
        beside = _cpu_seconds(self.beside) | {"driver": time.process_time()}
        (lsn,) = self._connection.execute("SELECT pg_current_wal_insert_lsn()").fetchone() or ("0/0",)
        return Reading(time.perf_counter(), _cpu_seconds(self.groups), beside, _busy_seconds(), str(lsn))

    def cost(self, start: Reading, end: Reading) -> Cost:
        (total,) = self._row("SELECT pg_wal_lsn_diff(%s, %s)", end.lsn, start.lsn)
        # The records of what is not flushed yet cannot be inspected; there is none once this was committed.
        self._connection.execute("SELECT pg_logical_emit_message(false, 'bench', 'end', true)")
        statement = """
            SELECT "resource_manager/record_type", count, record_size, fpi_size FROM pg_get_wal_stats(%s, %s, true)
        """
        rows = self._connection.execute(statement, [start.lsn, end.lsn]).fetchall()
        return Cost(
            seconds=end.at - start.at,
            cpu_seconds=_used(start.cpu_seconds, end.cpu_seconds),
            beside_seconds=_used(start.beside_seconds, end.beside_seconds),
            busy_seconds=end.busy_seconds - start.busy_seconds,
            wal_bytes=int(total),
            full_page_bytes=int(sum(images for _, _, _, images in rows)),
            commits=int(sum(count for kind, count, _, _ in rows if kind in {"Transaction/COMMIT"})),
            wal_by_record={kind: int(size) for kind, _, size, _ in rows if size},
        )

    def close(self) -> None:
        self._connection.close()

    def _row(self, statement: str, *values: object) -> tuple:
        return self._connection.execute(statement, values).fetchone() or ()


def _cpu_seconds(groups: Groups) -> dict[str, float]:
    return {name: sum(map(tree_cpu_seconds, pids)) for name, pids in groups.items()}


def _used(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    return {name: seconds - before[name] for name, seconds in after.items()}


def tree_cpu_seconds(pid: int) -> float:
    """User and system time of a process, of all it started, and of those among them that it has buried."""
    root = psutil.Process(pid)
    total = 0.0
    for process in [root, *root.children(recursive=True)]:
        try:
            buried = process.cpu_times()
            total += _cpu_seconds_of(process) + buried.children_user + buried.children_system
        except (psutil.NoSuchProcess, OSError):
            continue  # it has just ended: its parent answers for it
    return total


def _cpu_seconds_of(process: psutil.Process) -> float:
    """On Linux by the clock of the process, in nanoseconds; /proc rounds each of many backends down to 10 ms."""
    if platform.system() == "Linux":
        return time.clock_gettime((~process.pid << 3) | CPUCLOCK_SCHED)
    times = process.cpu_times()
    return times.user + times.system


@contextmanager
def counting_strangers() -> Iterator[list[float]]:
    """One number, there at the end: the share of the machine's CPU that went to processes we did not start."""
    found: list[float] = []
    at, ours, busy = time.perf_counter(), tree_cpu_seconds(os.getpid()), _busy_seconds()
    yield found
    theirs = (_busy_seconds() - busy) - (tree_cpu_seconds(os.getpid()) - ours)
    found.append(max(0.0, theirs) / ((time.perf_counter() - at) * (os.cpu_count() or 1)))


def _busy_seconds() -> float:
    times = psutil.cpu_times()
    return sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0)


def spread(figures: Sequence[float]) -> str:
    """The median, and in brackets the lowest and the highest."""
    if len(figures) == 1:
        return f"{figures[0]:.3g}"
    return f"{median(figures):.3g} [{min(figures):.3g}, {max(figures):.3g}]"
