"""Calling a registered function and turning all it may do into a value; used in the worker's thread and in children."""

import inspect
import logging
from collections.abc import Callable, Mapping
from typing import Any

from tools.callables import RegisteredCallable
from tools.executors.provided import Http, NoAnswer
from tools.executors.results import Unfit, failure, rendered, success
from tools.values import CallContext, ErrorKind, ToolResult

logger = logging.getLogger(__name__)


class DoesNotFit(Exception):
    """The arguments cannot be given to the function; nothing was called."""


def keywords(
    registered: RegisteredCallable, arguments: Mapping[str, Any], call: CallContext, http: Http
) -> dict[str, Any]:
    """What the function is called with. Raises DoesNotFit."""
    ours: dict[str, Any] = {"call": call} if registered.wants_call else {}
    ours |= {"http": http} if registered.wants_http else {}
    for name in ours:
        if name in arguments:
            raise DoesNotFit(f"{registered.name} takes no argument named {name} from outside.")
    given = dict(arguments) | ours
    try:
        inspect.signature(registered.function).bind(**given)
    except TypeError as error:
        raise DoesNotFit(f"{registered.name} cannot take these arguments: {error}.") from None
    return given


def invoke(function: Callable[..., Any], given: Mapping[str, Any], limit_bytes: int) -> tuple[ToolResult, bool]:
    """The result, and whether the function returned None. Broad on purpose: a tool may raise whatever it likes."""
    try:
        value = function(**given)
    except NoAnswer as nothing:
        return failure(nothing.kind, str(nothing), sent=True), False
    except (Exception, SystemExit) as error:
        logger.info("A tool's function raised.", exc_info=True)
        return failure(ErrorKind.RAISED, _told(error), sent=True), False
    try:
        return success(rendered(value, limit_bytes)), value is None
    except Unfit as unfit:
        return failure(unfit.kind, str(unfit), sent=True), False


def _told(error: BaseException) -> str:
    try:
        said = str(error)
    except Exception:  # an exception whose own __str__ raises is still only a failed tool
        said = ""
    name = type(error).__name__
    return f"The tool failed: {name}: {said}" if said else f"The tool failed: {name}."
