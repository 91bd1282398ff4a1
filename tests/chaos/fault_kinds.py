"""The kinds of faults, with their weights. A new way to fail gets its kind here.

Each kind is a function of the stage and the dice. It strikes, and returns a `Blow`: what it did, for the log, and
what takes it back later. It returns None when there was nothing to strike at this moment.
"""

import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from signal import SIGCONT, SIGKILL, SIGQUIT, SIGSTOP, SIGTERM
from typing import Any

import psutil

from tests.chaos.stage import STRAYS, SUPERVISED_WORKERS, Stage


@dataclass(frozen=True)
class Blow:
    """`killed`: the name whose process is gone with it; `reported`: whether a supervisor tells the engine so.

    `take_back` is called after `seconds`.
    """

    target: str
    pid: int = 0
    killed: bool = False
    reported: bool = False
    seconds: float = 0.0
    take_back: Callable[[], object] | None = None
    told: dict[str, Any] = field(default_factory=dict)


# How often the last worker is killed too, when it is drawn.
NONE_LEFT = 0.1

Strike = Callable[[Stage, Random], Blow | None]
KINDS: dict[str, tuple[int, Strike]] = {}


def kind(weight: int) -> Callable[[Strike], Strike]:
    def decorate(strike: Strike) -> Strike:
        KINDS[strike.__name__] = (weight, strike)
        return strike

    return decorate


# -- processes die -----------------------------------------------------------------------------------------------
@kind(14)
def kill_worker(stage: Stage, dice: Random) -> Blow | None:
    if not _spares_one(stage, dice):
        return None
    return _kill_supervised(stage, dice, *SUPERVISED_WORKERS)


@kind(9)
def kill_stray_worker(stage: Stage, dice: Random) -> Blow | None:
    """Nobody tells the engine: what it held is free when its leases have run out."""
    if not _spares_one(stage, dice):
        return None
    return _kill_stray(stage, dice, "stray")


@kind(3)
def kill_reconciler(stage: Stage, dice: Random) -> Blow | None:
    return _kill_stray(stage, dice, "reconciler")


@kind(4)
def kill_web(stage: Stage, dice: Random) -> Blow | None:
    return _kill_supervised(stage, dice, "web")


@kind(2)
def kill_beat(stage: Stage, dice: Random) -> Blow | None:
    return _kill_supervised(stage, dice, "beat")


@kind(9)
def kill_redis(stage: Stage, dice: Random) -> Blow | None:
    return _kill_supervised(stage, dice, "redis")


@kind(8)
def restart_postgres(stage: Stage, dice: Random) -> Blow | None:
    """An immediate shutdown: every session ends where it is, and the next start replays the log."""
    return _kill_supervised(stage, dice, "postgres", signum=SIGQUIT)


@kind(3)
def kill_tool_processes(stage: Stage, dice: Random) -> Blow | None:
    """A worker's fork server and the tool calls below it, in the middle of what they do."""
    if not (names := stage.alive(*stage.workers())):
        return None
    name = dice.choice(names)
    below = _processes_below(stage.child(name).pid)
    _send_all(below, SIGKILL)
    return Blow(name, stage.child(name).pid, told={"processes": len(below)}) if below else None


@kind(2)
def stop_worker_gracefully(stage: Stage, dice: Random) -> Blow | None:
    """As a deploy does: it hands back what it holds, and another takes its place."""
    return _kill_supervised(stage, dice, *SUPERVISED_WORKERS, signum=SIGTERM)


# -- processes stand still ---------------------------------------------------------------------------------------
@kind(10)
def stop_worker(stage: Stage, dice: Random) -> Blow | None:
    """At times past its lease: then it wakes up as a zombie, with its threads in the middle of what they did."""
    return _stop(stage, dice, *stage.workers(), longest=8.0)


@kind(4)
def stop_worker_with_its_tools(stage: Stage, dice: Random) -> Blow | None:
    if not (names := stage.ready(*stage.workers())):
        return None
    name = dice.choice(names)
    pid = stage.child(name).pid
    return _freeze(name, [psutil.Process(pid), *_processes_below(pid)], dice.uniform(0.5, 8))


@kind(2)
def stop_reconciler(stage: Stage, dice: Random) -> Blow | None:
    return _stop(stage, dice, "reconciler", longest=6.0)


@kind(3)
def stop_web(stage: Stage, dice: Random) -> Blow | None:
    return _stop(stage, dice, "web", longest=3.0)


@kind(1)
def stop_beat(stage: Stage, dice: Random) -> Blow | None:
    return _stop(stage, dice, "beat", longest=5.0)


@kind(3)
def stop_redis(stage: Stage, dice: Random) -> Blow | None:
    return _stop(stage, dice, "redis", longest=4.0)


# -- what they talk to -------------------------------------------------------------------------------------------
@kind(5)
def flush_redis(stage: Stage, dice: Random) -> Blow | None:
    stage.redis().flushall()
    return Blow("redis")


@kind(8)
def cut_before_commit(stage: Stage, dice: Random) -> Blow | None:
    return Blow("proxy", told={"cuts_so_far": stage.order_proxy(f"before {dice.randint(1, 4)}")})


@kind(8)
def cut_after_commit(stage: Stage, dice: Random) -> Blow | None:
    return Blow("proxy", told={"cuts_so_far": stage.order_proxy(f"after {dice.randint(1, 4)}")})


@kind(4)
def cut_all_connections(stage: Stage, dice: Random) -> Blow | None:
    return Blow("proxy", told={"cuts_so_far": stage.order_proxy("all")})


@kind(6)
def foul_model_weather(stage: Stage, dice: Random) -> Blow | None:
    weather = dice.choice(["429", "500", "529", "reset", "truncate", "garbage", "hang", "slow"])
    seconds = dice.uniform(0.5, 2.5)
    stage.make_weather(weather, seconds)
    return Blow("model", told={"weather": weather, "for_seconds": round(seconds, 1)})


@kind(2)
def stop_model(stage: Stage, dice: Random) -> Blow | None:
    return _stop(stage, dice, "model", longest=3.0)


# -- what nobody should be able to do ----------------------------------------------------------------------------
@kind(5)
def substitute_arguments(stage: Stage, dice: Random) -> Blow | None:
    """Behind everybody's back the row of a call that waits for its approval is changed."""
    with stage.database() as database:
        row = database.execute(
            """UPDATE runs_toolcall SET arguments = replace(arguments, '"amount":', '"amount":77')
               WHERE status = 'awaiting_approval' AND id = (
                   SELECT id FROM runs_toolcall WHERE status = 'awaiting_approval' AND arguments LIKE '%%"amount":%%'
                   ORDER BY md5(id::text || %s) LIMIT 1) RETURNING id""",
            [str(dice.random())],
        ).fetchone()
    return Blow("call", told={"call": str(row[0])}) if row else None


# -- how it is done ----------------------------------------------------------------------------------------------
def _spares_one(stage: Stage, dice: Random) -> bool:
    """Mostly a worker is left, or nothing would happen that could go wrong; at times there is none."""
    return len(stage.ready(*stage.workers())) > 1 or dice.random() < NONE_LEFT


def _kill_supervised(stage: Stage, dice: Random, *names: str, signum: signal.Signals = SIGKILL) -> Blow | None:
    if not (mortal := stage.may_die(*names)):
        return None
    name = dice.choice(mortal)
    return Blow(name, stage.end(name, signum), killed=signum != SIGTERM, reported=True)


def _kill_stray(stage: Stage, dice: Random, name: str) -> Blow | None:
    assert name in STRAYS
    if not stage.ready(name):
        return None
    child = stage.child(name)
    pid = child.pid
    child.kill()
    return Blow(name, pid, killed=True, seconds=dice.uniform(0, 3), take_back=stage.revive_strays)


def _stop(stage: Stage, dice: Random, *names: str, longest: float) -> Blow | None:
    if not (ready := stage.ready(*names)):
        return None
    name = dice.choice(ready)
    return _freeze(name, [psutil.Process(stage.child(name).pid)], dice.uniform(0.3, longest))


def _freeze(name: str, processes: list[psutil.Process], seconds: float) -> Blow:
    """Who wakes them is a process of its own: ours may be waiting for what the frozen ones have locked."""
    _send_all(processes, SIGSTOP)
    pids = [str(process.pid) for process in processes]
    command = f"sleep {seconds:.2f}; kill -CONT {' '.join(pids)}"
    subprocess.Popen(["/bin/sh", "-c", command], stderr=subprocess.DEVNULL, start_new_session=True)
    return Blow(name, processes[0].pid, seconds=seconds, take_back=lambda: _send_all(processes, SIGCONT))


def _processes_below(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _send(process: psutil.Process, signum: signal.Signals) -> None:
    with suppress(psutil.NoSuchProcess):
        process.send_signal(signum)


def _send_all(processes: list[psutil.Process], signum: signal.Signals) -> None:
    for process in processes:
        _send(process, signum)
