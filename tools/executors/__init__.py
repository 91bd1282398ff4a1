"""Running one permitted call. Whatever happens is a ToolResult; deciding what it means is the engine's.

How to read a failure of a call that is not pure:
- `sent=False`: certainly nothing happened.
- LOST, or TIMEOUT with `sent=True`: nobody can say whether it happened.
- RAISED, HTTP_STATUS: the tool, or the target (a 4xx), itself said that it did not do it.
- INVALID_RESULT, TOO_LARGE: it happened, and only its result cannot be given.
"""

import logging
import os
from collections.abc import Callable, Mapping
from typing import Any

from tools.arguments import validate_arguments
from tools.executors import http, launcher, python
from tools.executors.processes import identity, is_dead
from tools.executors.results import failure
from tools.values import (
    CallContext,
    CannotTell,
    Effect,
    ErrorKind,
    ExecutorKind,
    Lookup,
    ToolResult,
    ToolSpec,
)

__all__ = ["endpoint", "foreseen_refusal", "is_dead", "lookup", "process_identities", "run", "validate_config"]

logger = logging.getLogger(__name__)

RUN: dict[ExecutorKind, Callable[..., ToolResult]] = {ExecutorKind.PYTHON: python.run, ExecutorKind.HTTP: http.run}
LOOKUP: dict[ExecutorKind, Callable[..., Lookup]] = {
    ExecutorKind.PYTHON: python.lookup,
    ExecutorKind.HTTP: http.lookup,
}
PROBLEMS = {ExecutorKind.PYTHON: python.problems, ExecutorKind.HTTP: http.problems}


def run(
    spec: ToolSpec,
    arguments: dict[str, Any],
    *,
    timeout_seconds: float,
    result_limit_bytes: int,
    call: CallContext,
) -> ToolResult:
    """Run one permitted call. Never raises: this boundary's `except` is broad on purpose."""
    try:
        if mistakes := validate_arguments(spec.input_schema, arguments):
            return failure(ErrorKind.INVALID_ARGUMENTS, " ".join(mistakes), sent=False)
        if (executor := RUN.get(spec.executor)) is None:
            return failure(ErrorKind.UNKNOWN_TOOL, f"{spec.name} is not run by an executor.", sent=False)
        return executor(
            spec, arguments, timeout_seconds=timeout_seconds, result_limit_bytes=result_limit_bytes, call=call
        )
    except Exception as error:
        # Our own mistake, at an unknown moment: the worst is assumed of it.
        logger.exception("An executor failed.")
        return failure(ErrorKind.LOST, f"The executor itself failed: {type(error).__name__}.", sent=True)


def lookup(spec: ToolSpec, call: CallContext, timeout_seconds: float) -> Lookup:
    """Whether the effect of this call exists. Never raises: this boundary's `except` is broad on purpose."""
    try:
        if (executor := LOOKUP.get(spec.executor)) is None:
            return CannotTell(f"{spec.name} has no lookup.")
        return executor(spec, call, timeout_seconds)
    except Exception as error:
        logger.exception("An executor's lookup failed.")
        return CannotTell(f"The lookup itself failed: {type(error).__name__}.")


def endpoint(spec: ToolSpec, arguments: Mapping[str, Any]) -> str:
    """What the ledger names as the target before anything is sent. Holds no secret, and never raises."""
    match spec.executor:
        case ExecutorKind.HTTP:
            return f"http:{http.target(spec.config, arguments)}"
        case ExecutorKind.PYTHON:
            return f"python:{spec.config.get('callable', '')}"
    return f"{spec.executor}:{spec.name}"


def validate_config(kind: ExecutorKind | str, config: Mapping[str, Any], effect: Effect | None = None) -> list[str]:
    """One sentence a mistake, each beginning with its field. With `effect`, also what that effect class needs."""
    check = PROBLEMS.get(ExecutorKind(kind))
    return check(config, effect) if check else []


def foreseen_refusal(spec: ToolSpec) -> str:
    """Why calls of this tool would reach nobody as the rules of egress are now; "" where nothing is known of it."""
    return http.foreseen_refusal(spec.name, spec.config) if spec.executor is ExecutorKind.HTTP else ""


def prepare() -> None:
    """Called once by a worker that is about to start its threads: what tool calls are forked from is made now."""
    try:
        launcher.copy_this_process()
    except (launcher.CannotStart, OSError):
        logger.exception("The fork server of this worker does not start as a copy.")


def process_identities() -> list[str]:
    """The processes that may carry an attempt's effect; when all are dead, so is the attempt. Record it before run().

    Starts the fork server when none runs, so that the answer is whole. One that cannot start carries nothing.
    """
    identities = [identity(os.getpid())]
    try:
        identities.append(launcher.server_identity())
    except (launcher.CannotStart, OSError):
        logger.exception("The fork server of this worker does not start.")
    return identities
