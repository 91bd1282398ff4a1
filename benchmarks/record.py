"""The report: what ran where, the tables, the targets; and its place in README.md."""

import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from time import perf_counter

import psutil
import psycopg

from benchmarks.cases import Section, Target
from benchmarks.platform import Servers

README = Path(__file__).with_name("README.md")
BEGIN, END = "<!-- figures: written by `make bench` -->", "<!-- end of figures -->"


def heading(servers: Servers, command: str) -> str:
    """When, what, and on which machine."""
    with psycopg.connect(host=servers.postgres_host, user="postgres", dbname="postgres") as connection:
        (version,) = connection.execute("SHOW server_version").fetchone() or ("?",)
    memory = psutil.virtual_memory().total / 2**30
    busy = os.getloadavg()[0]
    return (
        f"Measured {datetime.now(UTC):%Y-%m-%d %H:%M} UTC at commit `{_commit()}` by `{command}`: "
        f"{os.cpu_count()} cores ({_processor()}), {memory:.0f} GiB, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}, PostgreSQL {version} with fsync on; "
        f"median fsync of 8 KiB on its disk {fsync_milliseconds(servers.folder):.1f} ms; "
        f"load average at the start {busy:.1f}."
    )


def fsync_milliseconds(folder: Path, times: int = 100) -> float:
    """The median of writing 8 KiB at the end of a file and waiting for the disk."""
    waited = []
    with (folder / "fsync").open("wb", buffering=0) as file:
        for _ in range(times):
            file.write(bytes(8192))
            started = perf_counter()
            os.fdatasync(file.fileno())
            waited.append(1000 * (perf_counter() - started))
    return median(waited)


def text(head: str, sections: Iterable[Section]) -> str:
    """The whole report as Markdown."""
    sections = list(sections)
    targets = [target for section in sections for target in section.targets]
    parts = [head, "### Targets", _table(("target", "figure", ""), [_row(target) for target in targets])]
    for section in sections:
        parts += [f"### {section.title}", _table(section.head, section.rows), *section.remarks]
    return "\n\n".join(parts)


def write(report: str) -> None:
    """Put the report between the marks of README.md, in place of the one before."""
    before, _, rest = README.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    README.write_text(f"{before}{BEGIN}\n\n{report}\n\n{END}{after}")


def _row(target: Target) -> Sequence[str]:
    said = {True: "met", False: "**not met**", None: "not measured"}
    return target.text, target.figure, said[target.is_met]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _commit() -> str:
    asked = ["git", "describe", "--always", "--dirty", "--abbrev=10", "--exclude", "*"]
    said = subprocess.run(asked, cwd=README.parent, capture_output=True, text=True, check=False)
    return said.stdout.strip() or "unknown"


def _processor() -> str:
    if sys.platform != "linux":
        return platform.processor()
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
