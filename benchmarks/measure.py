"""What a piece of work cost: time, CPU of whole process trees, bytes and commits in the write-ahead log."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

import psutil
import psycopg

Groups = Mapping[str, Sequence[int]]  # process ids by what they are; each stands for its whole tree


@dataclass(frozen=True)
class Reading:
    at: float
    cpu_seconds: dict[str, float]
    lsn: str


@dataclass(frozen=True)
class Cost:
    """What lies between two readings. `full_page_bytes` is the part of `wal_bytes` that checkpoints cause."""

    seconds: float
    cpu_seconds: dict[str, float]
    wal_bytes: int
    full_page_bytes: int
    commits: int
    wal_by_record: dict[str, int] = field(default_factory=dict)


class Meter:
    """Reads the counters of a set of process trees and of one PostgreSQL server, whatever databases it holds."""

    def __init__(self, postgres_host: str, groups: Groups) -> None:
        self.groups = groups
        self._connection = psycopg.connect(host=postgres_host, user="postgres", dbname="postgres", autocommit=True)
        self._connection.execute("CREATE EXTENSION IF NOT EXISTS pg_walinspect")

    def checkpoint(self) -> None:
        """So that every measurement starts with the same debt: none."""
        self._connection.execute("CHECKPOINT")

    def read(self) -> Reading:
        cpu = {name: sum(map(tree_cpu_seconds, pids)) for name, pids in self.groups.items()}
        (lsn,) = self._connection.execute("SELECT pg_current_wal_insert_lsn()").fetchone() or ("0/0",)
        return Reading(time.perf_counter(), cpu, str(lsn))

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
            cpu_seconds={name: used - start.cpu_seconds[name] for name, used in end.cpu_seconds.items()},
            wal_bytes=int(total),
            full_page_bytes=int(sum(images for _, _, _, images in rows)),
            commits=int(sum(count for kind, count, _, _ in rows if kind in {"Transaction/COMMIT"})),
            wal_by_record={kind: int(size) for kind, _, size, _ in rows if size},
        )

    def close(self) -> None:
        self._connection.close()

    def _row(self, statement: str, *values: object) -> tuple:
        return self._connection.execute(statement, values).fetchone() or ()


def tree_cpu_seconds(pid: int) -> float:
    """User and system time of a process, of all it started, and of those among them that it has buried."""
    root = psutil.Process(pid)
    total = 0.0
    for process in [root, *root.children(recursive=True)]:
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue  # its parent answers for it
        total += times.user + times.system + times.children_user + times.children_system
    return total


def spread(figures: Sequence[float]) -> str:
    """The median, and in brackets the lowest and the highest."""
    if len(figures) == 1:
        return f"{figures[0]:.3g}"
    return f"{median(figures):.3g} [{min(figures):.3g}, {max(figures):.3g}]"
