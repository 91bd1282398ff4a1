"""What deciding some kinds of request takes beside the permission to decide; said by the kinds, asked by the queue."""

from django.contrib.auth.models import User

_further: dict[str, str] = {}


def need(kind: str, permission: str) -> None:
    """`app.codename`; "" for nothing more."""
    _further.pop(kind, None)
    if permission:
        _further[kind] = permission


def not_for(user: User) -> list[str]:
    """The kinds of request that this user may not decide, whatever else they may."""
    return sorted(kind for kind, permission in _further.items() if not user.has_perm(permission))
