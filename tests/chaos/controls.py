"""Controls that must fail: each breaks one guarantee, and the checker has to catch it, or it has no teeth."""

import subprocess
import sys
from dataclasses import dataclass


@dataclass(frozen=True)
class Control:
    """`line` of the checker has to be above zero within `seconds`; `faults` and `kinds` bring it to light quickly."""

    sabotage: str
    what: str
    line: str
    faults: tuple[str, ...]
    kinds: tuple[str, ...]
    pause_seconds: float
    seconds: float = 180.0


CONTROLS = {
    control.sabotage: control
    for control in (
        Control(
            "retry_unsafe",
            "unsafe calls are sent again after a crash",
            "duplicated",
            ("kill_worker", "kill_stray_worker"),
            ("slow_and_unsafe",),
            pause_seconds=1.5,
        ),
        Control(
            "binding_off",
            "the approval is not held against what is sent",
            "arguments not those approved",
            ("substitute_arguments",),
            ("asked_about",),
            pause_seconds=0.3,
        ),
        Control(
            "switches_off",
            "a kill switch stops nothing",
            "begun while it was stopped",
            ("flush_redis",),
            ("calls_of_all_classes",),
            pause_seconds=5.0,
        ),
        Control(
            "fence_off",
            "a worker writes without its lease",
            "written without the lease",
            ("stop_worker",),
            ("slow_model", "tools_in_trouble"),
            pause_seconds=1.0,
        ),
    )
}


def all_caught(seed: str) -> bool:
    """Each in a platform of its own."""
    caught = [_is_caught(control, seed) for control in CONTROLS.values()]
    return all(caught)


def _is_caught(control: Control, seed: str) -> bool:
    command = [sys.executable, "-m", "tests.chaos", "--control", control.sabotage, "--seed", seed]
    return subprocess.run(command, check=False).returncode == 0
