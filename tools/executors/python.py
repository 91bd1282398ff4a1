"""Registered Python callables: trusted reads in the worker's thread, everything else in a child that can be killed.

callable     the name it is registered by
network      "open" (default): what the machine has; "provided": only the client that the callable names as `http`,
             which the worker opens connections for; "none". Both of the latter run in a child without a network.
credentials  a list of the NAMEs that it and its lookup may refer to as "env:NAME" in headers given to that client
"""

import copy
import json
import logging
import signal
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from django.conf import settings

from orchestrator_site.core.own_secrets import PLATFORM_OWN
from tools import callables
from tools.executors import child, launcher, secrets
from tools.executors.invocation import DoesNotFit, invoke, keywords
from tools.executors.provided import Http, Provider
from tools.executors.results import failure, success, too_large
from tools.values import (
    Absent,
    CallContext,
    CannotTell,
    Effect,
    ErrorKind,
    Found,
    Lookup,
    ToolResult,
    ToolSpec,
)

logger = logging.getLogger(__name__)

SETTINGS = frozenset({"callable", "network", "credentials"})


def run(
    spec: ToolSpec,
    arguments: Mapping[str, Any],
    *,
    timeout_seconds: float,
    result_limit_bytes: int,
    call: CallContext,
) -> ToolResult:
    provider = Provider.until(spec, timeout_seconds)
    try:
        registered = callables.get(spec.config.get("callable", ""))
        given = keywords(registered, arguments, call, Http(provider.answer))
    except callables.UnknownCallable as error:
        return failure(ErrorKind.UNKNOWN_TOOL, str(error), sent=False)
    except DoesNotFit as error:
        return failure(ErrorKind.INVALID_ARGUMENTS, str(error), sent=False)
    network = spec.config.get("network", child.OPEN)
    if registered.trusted and spec.effect is Effect.PURE and network == child.OPEN:
        return _in_this_thread(registered, given, timeout_seconds, result_limit_bytes)
    request = _request(registered, call, result_limit_bytes, network) | {"arguments": dict(arguments)}
    try:
        report = launcher.in_child(
            request, timeout_seconds=timeout_seconds, limit_bytes=result_limit_bytes, answer=provider.answer
        )
    except launcher.CannotStart as error:
        return failure(ErrorKind.UNREACHABLE, str(error), sent=False)
    return _result(report, timeout_seconds, result_limit_bytes)


def lookup(spec: ToolSpec, call: CallContext, timeout_seconds: float) -> Lookup:
    """Always in a child: nobody promised that a lookup cannot hang."""
    limit = spec.result_limit_bytes
    try:
        registered = callables.get(spec.config.get("callable", ""))
        network = spec.config.get("network", child.OPEN)
        request = _request(registered, call, limit, network) | {"lookup_key": call.idempotency_key}
        answer = Provider.until(spec, timeout_seconds).answer
        report = launcher.in_child(request, timeout_seconds=timeout_seconds, limit_bytes=limit, answer=answer)
    except (callables.UnknownCallable, launcher.CannotStart) as error:
        return CannotTell(str(error))
    if report.kind == child.NOTHING:
        return Absent()
    result = _result(report, timeout_seconds, limit)
    # A result that is too large or has no JSON form is still one: the effect was found.
    if result.ok or result.error in (ErrorKind.TOO_LARGE, ErrorKind.INVALID_RESULT):
        return Found(result)
    return CannotTell(result.content)


def problems(config: Mapping[str, Any], effect: Effect | None) -> list[str]:
    found = [f"{name}: a python tool has no such setting." for name in config if name not in SETTINGS]
    found += _credential_problems(config.get("credentials", []))
    network = config.get("network", child.OPEN)
    if network not in child.NETWORKS:
        found.append(f"network: must be one of {', '.join(child.NETWORKS)}.")
    try:
        registered = callables.get(config.get("callable", ""))
    except callables.UnknownCallable:
        return [
            *found,
            f"callable: {config.get('callable')!r} is not registered; known: {', '.join(callables.names())}.",
        ]
    if registered.wants_http and network == child.NONE:
        found.append(f'network: {registered.name} asks for the provided client; set "provided".')
    if effect is Effect.VERIFIABLE and registered.lookup is None:
        found.append(f"callable: {registered.name} has no lookup, which a verifiable tool needs.")
    if effect is Effect.KEYED and not registered.wants_call:
        found.append(f"callable: {registered.name} takes no call, so it cannot know the key of a keyed tool.")
    return found


def _credential_problems(names: Any) -> list[str]:
    if not isinstance(names, list):
        return ["credentials: must be a list of names of environment variables."]
    found = []
    for name in names:
        if not isinstance(name, str) or not secrets.NAME.fullmatch(name):
            found.append(f"credentials: {name!r} is no name of an environment variable.")
        elif name in PLATFORM_OWN:
            found.append(f"credentials: {name} is the platform's own, and is given to no tool.")
    return found


def _in_this_thread(
    registered: callables.RegisteredCallable, given: dict[str, Any], timeout_seconds: float, limit_bytes: int
) -> ToolResult:
    started = time.monotonic()
    # A copy: what the function does to its arguments must not reach the frozen ones.
    result, _ = invoke(registered.function, copy.deepcopy(given), limit_bytes)
    took = time.monotonic() - started
    if took > timeout_seconds:
        logger.warning("%s is trusted not to hang and took %.1f s of %.1f s.", registered.name, took, timeout_seconds)
    return result


def _request(
    registered: callables.RegisteredCallable, call: CallContext, limit_bytes: int, network: str
) -> dict[str, Any]:
    databases = settings.DATABASES if settings.configured else {}
    return {
        "callable": registered.name,
        "module": registered.function.__module__,
        "arguments": {},
        "lookup_key": None,
        "network": network,
        "limit_bytes": limit_bytes,
        "call": {
            "idempotency_key": call.idempotency_key,
            "ids": [str(call.run_id), str(call.dispatch_id), str(call.call_id)],
        },
        # By name: a test's database differs from what the settings of a fresh process say.
        "databases": {alias: database["NAME"] for alias, database in databases.items() if database.get("NAME")},
    }


def _result(report: launcher.Report, timeout_seconds: float, limit_bytes: int) -> ToolResult:
    if report.declared_bytes is not None:
        return failure(ErrorKind.TOO_LARGE, str(too_large(report.declared_bytes, limit_bytes)), sent=True)
    if report.kind is not None:
        return _reported(report, limit_bytes)
    if report.timed_out:
        ending = "was stopped" if report.seen_dead else "could not be stopped: its process outlived being killed"
        sentence = f"The tool did not finish within {timeout_seconds:g} seconds and {ending}."
        told = failure(ErrorKind.TIMEOUT, sentence, sent=report.entered)
        return replace(told, may_go_on=not report.seen_dead)
    if not report.entered:
        sentence = f"The process of the call {_death(report)} before the tool was entered."
        return failure(ErrorKind.UNREACHABLE, sentence, sent=False)
    sentence = f"The process of the call {_death(report)} before it reported, so nobody can say whether it took effect."
    return failure(ErrorKind.LOST, sentence, sent=True)


def _reported(report: launcher.Report, limit_bytes: int) -> ToolResult:
    """Checked again: the function shares a process with what writes the report."""
    try:
        body = report.body.decode()
        match report.kind:
            case child.NOTHING:
                return success("null")
            case child.RESULT if len(report.body) <= limit_bytes:
                return success(body)
            case child.RESULT:
                return failure(ErrorKind.TOO_LARGE, str(too_large(len(report.body), limit_bytes)), sent=True)
            case child.FAILURE:
                told = json.loads(body)
                return failure(ErrorKind(told["kind"]), str(told["content"]), sent=report.entered)
    except (ValueError, KeyError, TypeError):
        pass
    return failure(
        ErrorKind.LOST, "The process of the call reported something that cannot be read.", sent=report.entered
    )


def _death(report: launcher.Report) -> str:
    status = report.exit_status
    if status is None:
        return "ended"
    if status >= 0:
        return f"ended with exit status {status}"
    try:
        return f"was killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"was killed by signal {-status}"
