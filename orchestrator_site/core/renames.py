"""Names of users that something else keeps as it knew them, so that they stay, or takes on when they change."""

from collections.abc import Callable
from typing import Any

from django.contrib.auth.models import User
from django.db.models import signals

Keeper = Callable[[str], str | None]
Follower = Callable[[str, str], None]

_keepers: list[Keeper] = []
_followers: list[Follower] = []


def register(keeper: Keeper) -> None:
    """`keeper` says of a username why it may not change, in a sentence with the way out, or None."""
    _keepers.append(keeper)


def follow(follower: Follower) -> None:
    """`follower` is told the old and the new name of a user who was renamed, once the row is written."""
    _followers.append(follower)


def why_not(name: str) -> str | None:
    """Why a user of this name keeps it."""
    return next(filter(None, (keeper(name) for keeper in _keepers)), None)


def _look_up(instance: User, update_fields: Any = None, **kwargs: Any) -> None:
    """The one look at the old name, for all who keep it or follow."""
    writes_name = instance.pk is not None and (update_fields is None or "username" in update_fields)
    known = User.objects.filter(pk=instance.pk).values_list("username", flat=True).first() if writes_name else None
    before = known if known != instance.username else None
    if before is not None and (why := why_not(before)):
        raise ValueError(why)
    instance._name_before = before  # type: ignore[attr-defined]


def _tell(instance: User, **kwargs: Any) -> None:
    before = instance._name_before  # type: ignore[attr-defined]
    if before is not None:
        for follower in _followers:
            follower(before, instance.username)


def connect() -> None:
    signals.pre_save.connect(_look_up, sender=User, dispatch_uid="core.renames.look_up")
    signals.post_save.connect(_tell, sender=User, dispatch_uid="core.renames.tell")
