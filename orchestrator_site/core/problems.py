"""Errors as RFC 9457 problem documents: one shape for whatever goes wrong behind /api/.

{"type", "title", "status", "detail", "errors"?: [{"field", "detail"}], …}; `type` is `about:blank` where the status
says it all. `field` is a dotted path into the body, empty for the body as a whole.
"""

import logging
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any

from django.core.exceptions import PermissionDenied
from django.core.signals import got_request_exception
from django.db import InterfaceError, InternalError, OperationalError
from django.http import Http404, JsonResponse
from rest_framework import exceptions
from rest_framework.response import Response

from orchestrator_site.core import outages
from orchestrator_site.core.transitions import StaleRow

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
_TYPE = "urn:baton:problem:"
RETRY_AFTER_SECONDS = 5


class Problem(exceptions.APIException):
    """Raise it to answer with it. `kind` names the problem for programs; `more` are further members of the document."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        kind: str = "",
        errors: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(detail)
        self.status_code = status
        self.kind = kind
        self.faults = dict(errors or {})
        self.headers = dict(headers or {})
        self.more = more


def invalid(faults: Mapping[str, str], *, status: int = 400) -> Problem:
    """Fields that are wrong: 400 where the request cannot be understood, 422 where it can and does not fit."""
    return Problem(status, "Some fields are not valid.", kind="invalid", errors=faults)


def conflict(detail: str, *, kind: str = "conflict", **more: Any) -> Problem:
    return Problem(409, detail, kind=kind, **more)


def handler(error: Exception, context: Mapping[str, Any]) -> Response:
    """For `EXCEPTION_HANDLER`: every error of a view becomes a problem document."""
    problem = _problem(error)
    if problem is None:
        problem = _unexpected(error, context)
    return Response(
        document(problem.status_code, str(problem.detail), problem.kind, problem.faults, **problem.more),
        status=problem.status_code,
        content_type=MEDIA_TYPE,
        headers=problem.headers,
    )


def document(
    status: int, detail: str, kind: str = "", faults: Mapping[str, str] | None = None, **more: Any
) -> dict[str, Any]:
    listed = [{"field": field, "detail": sentence} for field, sentence in (faults or {}).items()]
    return {
        "type": _TYPE + kind if kind else "about:blank",
        "title": kind.replace("-", " ").capitalize() if kind else HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        **({"errors": listed} if listed else {}),
        **more,
    }


def response(status: int, detail: str, kind: str = "", **more: Any) -> JsonResponse:
    """For plain Django views."""
    return JsonResponse(document(status, detail, kind, **more), status=status, content_type=MEDIA_TYPE)


def _problem(error: Exception) -> Problem | None:
    match error:
        case Problem():
            return error
        case exceptions.ValidationError():
            return invalid(dict(flat(error.detail)))
        case exceptions.APIException():
            return _of_framework(error)
        case Http404():
            return Problem(404, "There is nothing here that you may see.")
        case PermissionDenied():
            return Problem(403, str(error) or "You may not do this.")
        case StaleRow():
            return conflict("Somebody else moved this first; look at it again.", kind="moved-meanwhile")
        case OperationalError() | InterfaceError():
            logger.warning("answered 503: %s", error)
            return unavailable()
        case InternalError() if outages.is_read_only(error):
            logger.warning("answered 503: %s", error)
            return unavailable("The database takes no writes at the moment, and nothing was changed; try again.")
        case InternalError() if outages.is_away(error):
            logger.warning("answered 503: %s", error)
            return unavailable()
    return None


def unavailable(detail: str = "The database does not answer; try again in a moment.") -> Problem:
    return Problem(503, detail, kind="unavailable", headers={"Retry-After": str(RETRY_AFTER_SECONDS)})


def _of_framework(error: exceptions.APIException) -> Problem:
    headers = {}
    if challenge := getattr(error, "auth_header", None):
        headers["WWW-Authenticate"] = challenge
    if wait := getattr(error, "wait", None):
        headers["Retry-After"] = str(int(wait))
    return Problem(error.status_code, _WAYS_OUT.get(type(error)) or str(error.detail), headers=headers)


_WAYS_OUT = {
    exceptions.NotAuthenticated: "Send a token, with the header `Authorization: Bearer …`; `manage.py create_token` "
    "makes one.",
    exceptions.UnsupportedMediaType: "Send the body as JSON, with the header `Content-Type: application/json`.",
}


def flat(detail: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """The framework's nested faults as (dotted path, sentences)."""
    if isinstance(detail, Mapping):
        for name, inner in detail.items():
            step = "" if name == "non_field_errors" else str(name)
            yield from flat(inner, ".".join(part for part in (path, step) if part))
    elif isinstance(detail, list) and any(isinstance(each, (Mapping, list)) for each in detail):
        for index, inner in enumerate(detail):
            if inner:
                yield from flat(inner, ".".join(part for part in (path, str(index)) if part))
    else:
        yield path, " ".join(map(str, detail)) if isinstance(detail, list) else str(detail)


def _unexpected(error: Exception, context: Mapping[str, Any]) -> Problem:
    """Our mistake: logged in full, told in one sentence, and announced to Django as its own handler would."""
    logger.error("an unexpected error was answered with 500", exc_info=error)
    request = context.get("request")
    got_request_exception.send(sender=type(context.get("view")), request=getattr(request, "_request", request))
    return Problem(500, "Something went wrong on our side; it was logged.")
