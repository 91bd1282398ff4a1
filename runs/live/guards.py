"""Whether a client may watch: asked when it comes, and again while it stays."""

import time
from collections.abc import Callable
from functools import partial
from importlib import import_module
from uuid import UUID

from django.conf import settings
from django.contrib import auth
from django.contrib.auth.models import User
from django.contrib.sessions.backends.base import SessionBase
from django.http import HttpRequest
from django.utils.crypto import constant_time_compare
from rest_framework.exceptions import AuthenticationFailed

from orchestrator_site.core.tokens import TokenAuthentication
from runs.live import rows
from runs.models import Run

# With a beat of 15 seconds, who was shut out is gone after 30 at most.
CHECK_SECONDS = 14.0

Who = Callable[[], User | None]
May = Callable[[User], bool]


class Refused(Exception):
    """The message is for the client."""


class SignedOut(Refused):
    """Nobody is signed in, or not any more."""


class OutOfScope(Refused):
    """The token was not made for this."""


class NotYours(Refused):
    """There is no such thing, or it is not for this user's eyes: which of the two is not told."""


class Guard:
    """`who` reads today's rows and answers with an active user or None; `may` says whether that user may watch."""

    def __init__(self, who: Who, may: May) -> None:
        self._who, self._may = who, may
        self._checked_at = 0.0

    async def check(self) -> User:
        """Raises Refused."""
        self._checked_at = time.monotonic()
        user, may = await rows.off_loop(self._ask)
        if user is None:
            raise SignedOut("Sign in first, or send a token.")
        if not may:
            raise NotYours("There is nothing here that you may see.")
        return user

    async def check_now_and_then(self) -> None:
        if time.monotonic() - self._checked_at >= CHECK_SECONDS:
            await self.check()

    def _ask(self) -> tuple[User | None, bool]:
        user = self._who()
        return user, user is not None and self._may(user)


def of_session(key: str | None) -> Who:
    """The user signed in with this session, read anew each time."""
    return partial(_signed_in, key)


def of_request(request: HttpRequest, scope: str) -> Who:
    """The user of the request's Bearer token, which needs the scope; without a token the one signed in."""
    return partial(_asking, request, scope)


def _asking(request: HttpRequest, scope: str) -> User | None:
    try:
        known = TokenAuthentication().authenticate(request)  # type: ignore[arg-type]  # it reads headers only
    except AuthenticationFailed as error:
        raise SignedOut(str(error.detail)) from error
    if known is None:
        return _signed_in(request.session.session_key)
    user, token = known
    if scope not in token.scopes:
        raise OutOfScope(f"This token has not the scope {scope}; make one that has it.")
    return user


def _signed_in(key: str | None) -> User | None:
    """As django.contrib.auth.get_user, but only reading: a look must not renew or end a session."""
    session = import_module(settings.SESSION_ENGINE).SessionStore(key)
    backend = session.get(auth.BACKEND_SESSION_KEY)
    if backend not in settings.AUTHENTICATION_BACKENDS:
        return None
    user = auth.load_backend(backend).get_user(session[auth.SESSION_KEY])
    return user if isinstance(user, User) and _is_of(session, user) else None


def _is_of(session: SessionBase, user: User) -> bool:
    """A changed password ends the sessions that were opened with the old one."""
    opened_with = session.get(auth.HASH_SESSION_KEY, "")
    hashes = [user.get_session_auth_hash(), *user.get_session_auth_fallback_hash()]
    return any(constant_time_compare(opened_with, known) for known in hashes)


def may_see_run(run_id: UUID, user: User) -> bool:
    return Run.objects.visible_to(user).filter(pk=run_id).exists()
