"""`Idempotency-Key`: a POST sent again is answered again, and done once.

The key is kept with what was answered, in the transaction of the work itself: neither can be there without the other.
What failed was rolled back, key and all, so that it may be sent again. Keys belong to (owner, path), for a day.
"""

import datetime as dt
import hashlib
import json
import re
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.db import connection, transaction
from django.db.models.functions import Now
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.encoders import JSONEncoder

from orchestrator_site.core import permissions
from orchestrator_site.core.models import IdempotencyKey
from orchestrator_site.core.problems import Problem, conflict, invalid

HEADER = "Idempotency-Key"
REPLAYED = "Idempotent-Replayed"
KEPT = dt.timedelta(days=1)
_KEY = re.compile(r"[\x21-\x7e]{1,200}\Z")
_FORGET_AT_ONCE = 50

Handler = Callable[..., Any]


def idempotent(post: Handler) -> Handler:
    """Decorates a view's `post`. Without the header it changes nothing."""
    return ahead_of(None)(post)


def ahead_of(look: Handler | None) -> Callable[[Handler], Handler]:
    """As `idempotent`, for a `post` that has to know something before any transaction is open: `look` is given what
    `post` is, and what it returns comes to `post` as `ahead`."""

    def decorate(post: Handler) -> Handler:
        @wraps(post)
        def answer(view: Any, request: Request, *args: Any, **kwargs: Any) -> Response:
            key = request.headers.get(HEADER)
            if key is not None and not _KEY.match(key):
                raise invalid({HEADER: "Use 1 to 200 visible ASCII characters without spaces, a UUID for instance."})
            if key is not None and (kept := _answered(request, key).first()) is not None:
                return _replay(kept, request)
            if look is not None:
                kwargs["ahead"] = look(view, request, *args, **kwargs)
            if key is None:
                return post(view, request, *args, **kwargs)
            return _once(key, request, lambda: post(view, request, *args, **kwargs))

        answer.is_idempotent = True  # type: ignore[attr-defined]
        return answer

    return decorate


def _once(key: str, request: Request, work: Callable[[], Response]) -> Response:
    with transaction.atomic():
        kept, is_new = _claim(request, key)
        if not is_new:
            return _replay(kept, request)
        response = work()
        _keep(kept, response)
    return response


def _answered(request: Request, key: str) -> Any:
    owner, route = permissions.person(request), request.path
    return IdempotencyKey.objects.filter(owner=owner, route=route, key=key, created_at__gt=Now() - KEPT)


def _claim(request: Request, key: str) -> tuple[IdempotencyKey, bool]:
    """This key's row, and whether it is ours to fill. Who holds the lock is at work until its transaction ends."""
    owner, route = permissions.person(request), request.path
    kept = _answered(request, key)
    if not _try_lock(f"{owner.pk} {route} {key}"):
        raise conflict("A request with this key is still at work; ask again in a moment.", kind="in-flight")
    _forget_old()
    if (answered := kept.first()) is not None:  # its transaction ended between our two looks
        return answered, False
    IdempotencyKey.objects.filter(owner=owner, route=route, key=key).delete()
    return IdempotencyKey.objects.create(owner=owner, route=route, key=key, body_digest=_digest(request)), True


def _try_lock(name: str) -> bool:
    """Held until the transaction ends, and given back only after its rows can be seen."""
    number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], signed=True)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [number])
        return cursor.fetchone()[0]


def _replay(kept: IdempotencyKey, request: Request) -> Response:
    if kept.body_digest != _digest(request):
        detail = "This key was used with another body; use a new key for a new request."
        raise Problem(422, detail, kind="key-reused")
    stored = json.loads(kept.response)
    return Response(stored["body"], status=kept.status, headers=stored["headers"] | {REPLAYED: "true"})


def _keep(kept: IdempotencyKey, response: Response) -> None:
    headers = {name: response[name] for name in ("Location",) if name in response}
    kept.response = json.dumps({"headers": headers, "body": response.data}, cls=JSONEncoder)
    kept.status = response.status_code
    kept.save(update_fields=["status", "response"])


def _digest(request: Request) -> str:
    """Of the parsed body: white space and the order of keys make no other request of it."""
    return hashlib.sha256(json.dumps(request.data, sort_keys=True).encode()).hexdigest()


def _forget_old() -> None:
    old = IdempotencyKey.objects.filter(created_at__lte=Now() - KEPT).order_by("created_at")
    locked = old.select_for_update(skip_locked=True).values_list("pk", flat=True)[:_FORGET_AT_ONCE]
    if found := list(locked):
        IdempotencyKey.objects.filter(pk__in=found).delete()
