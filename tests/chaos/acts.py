"""The acts of one play: bring up, strike, heal, let all come to its end, write down, check, tell."""

import os
import resource
import shutil
import time
from collections.abc import Callable, Collection
from io import StringIO
from pathlib import Path

import psycopg
from django.core.management import CommandError, call_command
from django.db import connection

from tests.chaos import history, report, stuck
from tests.chaos.checker import Verdict, check
from tests.chaos.checker import material as written
from tests.chaos.checker.material import Material
from tests.chaos.controls import Control
from tests.chaos.nemesis import Nemesis
from tests.chaos.stage import Stage

ENDING_SECONDS = 300.0
# What is broken on purpose may never come to its end: it is looked at in mid-play.
GLIMPSE_SECONDS = 3.0
CONTROL_OPEN = 24


def play(
    folder: Path, seed: str, *, seconds: float, pause_seconds: float, most_open: int, only: Collection[str] = ()
) -> bool:
    """The whole of it; whether all that must be zero is zero."""
    with Stage(seed=seed, most_open=most_open) as stage:
        nemesis = _nemesis(stage, seed, seconds, pause_seconds, only)
        stage.platform.watch(until=nemesis.look)
        nemesis.rest()
        stage.heal()
        healed = time.monotonic()
        if stage.let_people_finish(ENDING_SECONDS):
            print(f"all came to its end {time.monotonic() - healed:.0f} s after the last fault", flush=True)
        else:
            stuck.dump(stage, folder / "stuck.txt")
            print(f"not all came to its end within {ENDING_SECONDS:g} s; rows, locks and stacks: {folder}/stuck.txt")
        material, verdict = _judge(stage, folder)
        print("\n".join(report.lines(material, verdict)), flush=True)
        try:
            print(f"verify_audit: {_audit()}", flush=True)
        except CommandError as error:
            print(f"verify_audit: {error}", flush=True)
            return False
    print(_machine(), flush=True)
    return verdict.is_clean


def _machine() -> str:
    """How much of the machine this took, and how many others wanted it: speed is to be read beside it."""
    took = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (
        f"machine: {os.cpu_count()} cores, {took.ru_utime + took.ru_stime:.0f} CPU seconds taken by our processes, "
        f"load average {os.getloadavg()[1]:.1f}"
    )


def play_control(folder: Path, seed: str, control: Control) -> bool:
    """With a guarantee broken; whether the checker catches it before the time is up."""
    with Stage(seed=seed, most_open=CONTROL_OPEN, kinds=control.kinds, sabotage=control.sabotage) as stage:
        nemesis = _nemesis(stage, seed, control.seconds, control.pause_seconds, control.faults)
        caught: list[str] = []
        began = time.monotonic()
        glimpses = _every(GLIMPSE_SECONDS, lambda: caught.extend(_glimpse(stage, folder, control.line)))
        stage.platform.watch(until=lambda: nemesis.look() or glimpses() or bool(caught))
        verdict = f"{'caught' if caught else 'NOT CAUGHT'} in {time.monotonic() - began:.0f} s"
    print(f"control: {control.what}: {control.line}: {verdict}", flush=True)
    for sentence in caught[:1]:
        print(f"    {sentence}", flush=True)
    return bool(caught)


def _glimpse(stage: Stage, folder: Path, line: str) -> list[str]:
    """What the checker says in mid-play. The ledger is read first: whatever happened then has its rows later."""
    happened = list(written.lines(folder / "ledger.jsonl"))
    try:
        with stage.database() as database:
            history.write(database, folder / "history.jsonl")
    except psycopg.OperationalError:
        return []
    material = written.read(folder)
    material.ledger = happened
    return check(material).findings[line]


def _every(seconds: float, work: Callable[[], object]) -> Callable[[], None]:
    """Called again and again, it works when so much time has passed since the last work."""
    last = time.monotonic()

    def perhaps() -> None:
        nonlocal last
        if time.monotonic() - last >= seconds:
            work()
            last = time.monotonic()

    return perhaps


def _nemesis(stage: Stage, seed: str, seconds: float, pause_seconds: float, only: Collection[str]) -> Nemesis:
    log = stage.folder / "nemesis.jsonl"
    return Nemesis(stage, f"{seed} nemesis", seconds=seconds, pause_seconds=pause_seconds, log=log, only=only)


def _judge(stage: Stage, folder: Path) -> tuple[Material, Verdict]:
    with stage.database() as database:
        history.write(database, folder / "history.jsonl")
    material = written.read(folder)
    return material, check(material)


def _audit() -> str:
    """What `verify_audit` says; raises CommandError when it finds a fault."""
    connection.close()  # as it may be, from before a restart
    out = StringIO()
    call_command("verify_audit", stdout=out)
    return out.getvalue().strip()


def leave(folder: Path, *, keep: bool) -> None:
    if keep:
        print(f"everything is kept in {folder}; check it again: python -m tests.chaos.checker {folder}")
        return
    shutil.rmtree((folder / "postgres").resolve(), ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)
