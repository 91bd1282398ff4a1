"""What a request needs: a scope of its token, and a permission of its user."""

from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import User
from rest_framework.exceptions import PermissionDenied
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from orchestrator_site.core import roles
from orchestrator_site.core.models import Token


@dataclass(frozen=True)
class Access:
    """`permission` is None where it is enough to be somebody: the rows one sees are cut by `visible_to`."""

    scope: str
    permission: str | None = None


class MayAccess(BasePermission):
    """Asks the view's `access`, a mapping of method -> Access. A method that is not in it goes on to its 405."""

    def has_permission(self, request: Request, view: Any) -> bool:
        if not request.user.is_authenticated:
            return False
        needed: Access | None = view.access.get("GET" if request.method == "HEAD" else request.method)
        if needed is not None:
            require_scope(request, needed.scope)
            require_permission(request, needed.permission)
        return True


def require_scope(request: Request, scope: str) -> None:
    """A session has every scope. Raises PermissionDenied."""
    if isinstance(request.auth, Token) and scope not in request.auth.scopes:
        raise PermissionDenied(f"This token has not the scope {scope}; make one that has it.")


def require_permission(request: Request, permission: str | None) -> None:
    if permission is not None and not request.user.has_perm(permission):
        raise PermissionDenied(f"You have not the permission {permission}.")


def person(request: Request) -> User:
    """Who asks, behind `MayAccess`."""
    assert isinstance(request.user, User)
    return request.user


def is_app_token(request: Request) -> bool:
    return isinstance(request.auth, Token) and roles.is_app(request.user)


def via(request: Request) -> str:
    """How the user is known, as decisions keep it: `token` or `session`."""
    return "token" if isinstance(request.auth, Token) else "session"
