"""A run's events as a stream of server-sent events, for applications: `GET /api/v1/runs/{id}/stream/`."""

import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial
from uuid import UUID

from django.db import Error as DatabaseError
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.views.decorators.http import require_GET

from orchestrator_site.core import problems
from orchestrator_site.core.events import run_chain
from orchestrator_site.core.problems import Problem
from runs import states
from runs.consumers import BadAfter, seq_of
from runs.live import guards, messages, rows
from runs.live.following import follow
from runs.live.guards import Guard, OutOfScope, Refused, SignedOut
from runs.live.hub import Closing
from runs.live.messages import Message

logger = logging.getLogger(__name__)

ENDINGS = {f"run_{status}" for status in states.RUN.final}
SCOPE = "runs:read"


@require_GET
async def stream(request: HttpRequest, run_id: UUID) -> HttpResponse | StreamingHttpResponse:
    """Every event after `Last-Event-ID` (or `?after=`), then those to come, until the run has ended."""
    guard = Guard(guards.of_request(request, SCOPE), partial(guards.may_see_run, run_id))
    try:
        after = _after(request)
        await guard.check()
    except (Problem, Refused, DatabaseError) as error:
        return _refusal(error)
    response = StreamingHttpResponse(_told(run_id, after, guard), content_type="text/event-stream")
    response["Cache-Control"] = "no-cache"
    response["X-Accel-Buffering"] = "no"  # nginx would keep it back
    return response


def _after(request: HttpRequest) -> int:
    """Where a client goes on: a browser that comes again repeats the first address, and knows better by header."""
    given = {"Last-Event-ID": request.headers.get("Last-Event-ID"), "after": request.GET.get("after")}
    for name, text in given.items():
        if text:
            try:
                return seq_of(text)
            except BadAfter as error:
                raise problems.invalid({name: str(error)}) from error
    return 0


async def _told(run_id: UUID, after: int, guard: Guard) -> AsyncGenerator[str, None]:
    last = after
    try:
        async with aclosing(follow(run_chain(run_id), after)) as told:
            async for message in told:
                await guard.check_now_and_then()
                yield _encoded(message)
                last = message.seq or last
                if _may_be_last(message) and await rows.off_loop(rows.all_told, run_id, last):
                    yield "event: end\ndata: {}\n\n"
                    return
    except (Closing, Refused):
        return  # whoever comes again is answered in full
    except DatabaseError as error:
        logger.warning("the stream of %s ends, rows cannot be read: %s", run_id, error)


def _refusal(error: Exception) -> JsonResponse:
    match error:
        case Problem():
            problem = error
        case SignedOut():
            problem = Problem(401, str(error), headers={"WWW-Authenticate": 'Bearer realm="baton"'})
        case OutOfScope():
            problem = Problem(403, str(error))
        case Refused():
            problem = Problem(404, str(error))
        case _:
            logger.warning("a stream was refused, rows cannot be read: %s", error)
            problem = problems.unavailable()
    told = problems.document(problem.status_code, str(problem.detail), problem.kind, problem.faults)
    return JsonResponse(told, status=problem.status_code, content_type=problems.MEDIA_TYPE, headers=problem.headers)


def _encoded(message: Message) -> str:
    if message is messages.QUIET:
        return ": still here\n\n"
    place = f"id: {message.seq}\n" if message.seq is not None else ""
    return f"{place}event: {message.type}\ndata: {message.text}\n\n"


def _may_be_last(message: Message) -> bool:
    return message.type in ENDINGS or message.type in (messages.LIVE, messages.BEAT)
