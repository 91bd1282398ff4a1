"""The record of what was measured: `figures.json`, case by case, and the tables of README.md made of it.

A case that is measured again replaces its own figures and no other's; each says at which commit it was measured, by
which command and on what.
"""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import psutil
import psycopg

from benchmarks.platform import Servers
from benchmarks.report import Section, Target, table

FIGURES = Path(__file__).with_name("figures.json")
README = Path(__file__).with_name("README.md")
BEGIN, END = "<!-- figures: written by `make bench` -->", "<!-- end of figures -->"


@dataclass(frozen=True)
class Measured:
    """What one case found, and where."""

    commit: str
    command: str
    machine: str
    sections: Sequence[Section]


def machine(servers: Servers) -> str:
    with psycopg.connect(host=servers.postgres_host, user="postgres", dbname="postgres") as connection:
        (version,) = connection.execute("SHOW server_version").fetchone() or ("?",)
    memory = psutil.virtual_memory().total / 2**30
    return (
        f"{os.cpu_count()} cores ({_processor()}), {memory:.0f} GiB, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}, PostgreSQL {version} with fsync on; "
        f"median fsync of 8 KiB {fsync_milliseconds(servers.folder):.2g} ms; "
        f"load average at the start {os.getloadavg()[0]:.1f}"
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


def commit() -> str:
    """`-dirty` when anything is changed but what a benchmark writes itself."""
    written = [
        f":(top,exclude){path}" for path in ("benchmarks/figures.json", "benchmarks/README.md", "docs/scaling.md")
    ]
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", ":(top)", *written)
    return (_git("rev-parse", "--short=10", "HEAD") or "unknown") + ("-dirty" if changed else "")


def _git(*asked: str) -> str:
    said = subprocess.run(["git", *asked], cwd=README.parent, capture_output=True, text=True, check=False)
    return said.stdout.strip()


# -- kept --------------------------------------------------------------------------------------------------------
def kept() -> dict[str, Measured]:
    """By case, as last written."""
    if not FIGURES.exists():
        return {}
    return {name: _read(told) for name, told in json.loads(FIGURES.read_text()).items()}


def keep(found: Mapping[str, Measured], cases: Sequence[str]) -> None:
    """Write what was found beside what other cases found before, in this order, and README.md anew."""
    known = kept() | dict(found)
    every = {name: known[name] for name in cases if name in known}
    told = json.dumps({name: asdict(each) for name, each in every.items()}, indent=1, ensure_ascii=False)
    FIGURES.write_text(told + "\n")
    between(README, BEGIN, END, text(every, missing=[name for name in cases if name not in every]))


def between(file: Path, begin: str, end: str, text: str) -> None:
    """Put a text between two marks of a file, in place of the one before."""
    before, found, rest = file.read_text().partition(begin)
    if not found or end not in rest:
        raise SystemExit(f"{file} has lost its marks {begin} and {end}; put them back.")
    file.write_text(f"{before}{begin}\n\n{text}\n\n{end}{rest.partition(end)[2]}")


def _read(told: dict[str, Any]) -> Measured:
    sections = [
        Section(**each | {"targets": [Target(**target) for target in each["targets"]]}) for each in told["sections"]
    ]
    return Measured(**told | {"sections": sections})


# -- told --------------------------------------------------------------------------------------------------------
def text(every: Mapping[str, Measured], missing: Sequence[str] = ()) -> str:
    """The whole report as Markdown."""
    rows = [
        (name, *target.cells) for name, each in every.items() for section in each.sections for target in section.targets
    ]
    parts = ["### Targets", table(("case", "what", "target", "measured", ""), rows)] if rows else []
    for name, each in every.items():
        parts += [f"### {name}", f"At commit `{each.commit}` by `{each.command}`: {each.machine}."]
        for section in each.sections:
            parts += [f"**{section.title}**", table(section.head, section.rows), *section.remarks]
    parts += [f"Not measured yet: `{name}` (`make bench ARGS='--case {name}'`)." for name in missing]
    return "\n\n".join(parts)


def _processor() -> str:
    if sys.platform != "linux":
        return platform.processor()
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
