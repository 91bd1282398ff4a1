"""Access tokens: made, recognised, revoked. Only the SHA-256 of a secret is kept, so it is shown once.

A token never gives more than its user may: its scopes are asked beside the user's permissions, never in their place.
"""

import datetime as dt
import hashlib
import secrets
from collections.abc import Iterable

from django.contrib.auth.models import User
from django.db import InternalError
from django.db.models import BooleanField, ExpressionWrapper, Q
from django.db.models.functions import Now
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from orchestrator_site.core import events, outages, roles
from orchestrator_site.core.clock import database_now
from orchestrator_site.core.models import Token

# Recognisable, so that secret scanners can find a leaked one.
MARK = "baton_"
PREFIX_LENGTH = 12

APPROVALS_DECIDE = "approvals:decide"
SCOPES = {
    "runs:read": "see runs, their events, traces, handoffs and artifacts",
    "runs:write": "start, cancel, retry and answer runs, resolve calls in doubt",
    "approvals:read": "see approval requests",
    APPROVALS_DECIDE: "decide approval requests",
    "agents:read": "see agents, the roster and the model catalogue",
    "agents:write": "draft, publish, roll back and retire agents, teach whose a request is",
    "tools:read": "see tools",
    "tools:write": "switch tools on and off, and set their risk",
    "switches:read": "see kill switches",
    "switches:write": "throw and release kill switches",
    "breakers:read": "see circuit breakers",
    "breakers:write": "open and close circuit breakers",
    "policies:read": "see policies and simulations",
    "policies:write": "draft, simulate, try and publish policies",
    "audit:read": "verify event chains",
}

DEFAULT_DAYS = 90
LONGEST_DAYS = 366
USE_IS_NOTED_EVERY = dt.timedelta(minutes=1)


class InvalidToken(ValueError):
    """No such token can be made; the message says why and the way out."""


def create(
    user: User, scopes: Iterable[str], by: User | None, *, name: str = "", days: int = DEFAULT_DAYS
) -> tuple[Token, str]:
    """A new token and its secret, which is kept nowhere. `by` None is the installation itself. Raises InvalidToken."""
    wanted = sorted(set(scopes))
    _refuse_faults(user, wanted, days)
    secret = MARK + secrets.token_urlsafe(32)
    with events.recording() as log:
        token = Token.objects.create(
            user=user,
            name=name.strip() or f"{user.get_username()}'s token",
            prefix=secret[:PREFIX_LENGTH],
            secret_digest=digest(secret),
            scopes=wanted,
            expires_at=database_now() + dt.timedelta(days=days),
        )
        log.platform("token_created", actor=_actor(by), **_facts(token), scopes=wanted, days=days)
    return token, secret


def revoke(token: Token, by: User | None) -> None:
    """Refused from the next request on; revoking twice changes nothing."""
    with events.recording() as log:
        if Token.objects.filter(pk=token.pk, revoked_at__isnull=True).update(revoked_at=Now()):
            log.platform("token_revoked", actor=_actor(by), **_facts(token))
    token.refresh_from_db(fields=["revoked_at"])


def digest(secret: str) -> str:
    # A plain hash is enough: 256 random bits cannot be guessed, salted or not.
    return hashlib.sha256(secret.encode()).hexdigest()


def _actor(by: User | None) -> str:
    return f"user:{by.get_username()}" if by else events.SYSTEM


def _refuse_faults(user: User, scopes: list[str], days: int) -> None:
    if unknown := sorted(set(scopes) - set(SCOPES)):
        raise InvalidToken(f"There is no scope {', '.join(unknown)}; there are {', '.join(SCOPES)}.")
    if not scopes:
        raise InvalidToken(f"A token without a scope opens nothing; choose from {', '.join(SCOPES)}.")
    if not 1 <= days <= LONGEST_DAYS:
        raise InvalidToken(f"A token lasts from 1 to {LONGEST_DAYS} days, not {days}.")
    if not user.is_active:
        raise InvalidToken(f"The user {user.get_username()!r} is not active.")
    if APPROVALS_DECIDE in scopes and roles.is_app(user):
        raise InvalidToken(f"{user.get_username()!r} is an app, and an app's token never decides approvals.")


def _facts(token: Token) -> dict[str, str]:
    return {"token": str(token.pk), "prefix": token.prefix, "name": token.name, "user": token.user.get_username()}


class TokenAuthentication(BaseAuthentication):
    """`Authorization: Bearer baton_…`. `request.auth` is the token."""

    def authenticate(self, request: Request) -> tuple[User, Token] | None:
        scheme, _, secret = get_authorization_header(request).decode("latin-1").partition(" ")
        if scheme.lower() != "bearer":
            return None
        token = _find(secret.strip())
        _note_use(token)
        return token.user, token

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="baton"'


def _find(secret: str) -> Token:
    expired = ExpressionWrapper(Q(expires_at__lte=Now()), output_field=BooleanField())
    idle = ExpressionWrapper(
        Q(last_used_at__isnull=True) | Q(last_used_at__lt=Now() - USE_IS_NOTED_EVERY), output_field=BooleanField()
    )
    tokens = Token.objects.select_related("user").annotate(is_expired=expired, is_idle=idle)
    token = tokens.filter(secret_digest=digest(secret)).first()
    if token is None:
        raise AuthenticationFailed("There is no such token.")
    if token.revoked_at is not None:
        raise AuthenticationFailed("This token was revoked.")
    if token.is_expired:
        raise AuthenticationFailed(f"This token expired at {token.expires_at:%Y-%m-%d %H:%M} UTC.")
    if not token.user.is_active:
        raise AuthenticationFailed("The user of this token is not active.")
    return token


def _note_use(token: Token) -> None:
    if not token.is_idle:  # type: ignore[attr-defined]  # annotated by _find
        return
    try:
        Token.objects.filter(pk=token.pk).update(last_used_at=Now())
    except InternalError as error:  # whoever only reads is answered from a database that takes no writes, too
        if not outages.is_read_only(error):
            raise
