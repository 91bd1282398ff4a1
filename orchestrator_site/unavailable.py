"""A page that needs a database which is away, or takes no writes: 503 and a word about it, in place of 500."""

import logging
from collections.abc import Callable

from django.db import Error as DatabaseError
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string

from orchestrator_site.core import outages, problems

logger = logging.getLogger(__name__)


class Unavailable:
    """The API's own views say it by their exception handler."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self._get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        if not (isinstance(error, DatabaseError) and outages.is_away(error)):
            return None
        logger.warning("answered 503: %s", error)
        # Without the request: who is signed in stands in the database.
        page = render_to_string("503.html", {"reads_only": outages.is_read_only(error)})
        return HttpResponse(page, status=503, headers={"Retry-After": str(problems.RETRY_AFTER_SECONDS)})
