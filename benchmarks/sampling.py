"""Where the time goes: stacks of a worker sampled from outside, and the statements it sent."""

import signal
import subprocess
import sys
import sysconfig
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

RATE = 200  # samples a second
ROWS = 45
PY_SPY = Path(sysconfig.get_path("scripts")) / "py-spy"


class Sampler:
    """py-spy over a process for the length of a block; only threads that hold the interpreter count."""

    def __init__(self, file: Path) -> None:
        self.file = file

    @contextmanager
    def of(self, pid: int) -> Iterator[None]:
        argv = [PY_SPY, "record", "--pid", str(pid), "--rate", str(RATE), "--gil", "--function", "--nonblocking"]
        recorder = subprocess.Popen(
            [*map(str, argv), "--format", "raw", "--duration", "unlimited", "--output", str(self.file)],
            stdout=subprocess.DEVNULL,
            stderr=sys.stderr,
        )
        try:
            yield
        finally:
            recorder.send_signal(signal.SIGINT)
            recorder.wait(60)

    def table(self) -> str:
        """The functions that took the most time themselves, and those under which the most was spent."""
        own, under, total = Counter[str](), Counter[str](), 0
        for line in self.file.read_text().splitlines():
            stack, _, count = line.rpartition(" ")
            frames = stack.split(";")
            own[frames[-1]] += int(count)
            total += int(count)
            for frame in set(frames):
                under[frame] += int(count)
        lines = ["", f"{total} samples. Own time:"]
        lines += [f"  {100 * n / total:5.1f} %  {frame}" for frame, n in own.most_common(ROWS)]
        lines.append("With everything below:")
        lines += [f"  {100 * n / total:5.1f} %  {frame}" for frame, n in under.most_common(2 * ROWS)]
        return "\n".join(lines)


@contextmanager
def statements(database_url: str, steps: int) -> Iterator[None]:
    """Print what was sent to a database during the block, per step; needs pg_stat_statements loaded."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
        connection.execute("SELECT pg_stat_statements_reset()")
        yield
        own = "dbid = (SELECT oid FROM pg_database WHERE datname = current_database())"
        found = connection.execute(
            f"SELECT calls, total_exec_time, query FROM pg_stat_statements WHERE {own} ORDER BY calls DESC"  # noqa: S608
        ).fetchall()
    calls, spent = sum(row[0] for row in found), sum(row[1] for row in found)
    print(f"\nstatements/step {calls / steps:.1f}, {spent / steps:.3f} ms in the executor")
    for count, milliseconds, query in found[:ROWS]:
        if count >= steps / 20:
            print(f"  {count / steps:5.2f} a step {milliseconds / count:7.3f} ms  {' '.join(query.split())[:150]}")
