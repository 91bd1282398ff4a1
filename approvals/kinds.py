"""The port: rooms above register here what each kind of request means to them."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from django.contrib.auth.models import User

from approvals import permissions, states
from approvals.models import ApprovalRequest, Decision
from orchestrator_site.core.events import Record
from tools.values import Risk


@dataclass(frozen=True)
class ReRuled:
    """An edit, validated and ruled upon anew: `frozen` is the whole content as it would run.

    `another_person`: the editor may not decide it alone, even where the risk did not rise.
    `title`, `policy_version`: None keeps what the request says. `four_eyes` and `approvers` can only be added; "" as
    `group` keeps that of the request.
    """

    frozen: Mapping[str, Any]
    risk: Risk
    reasons: tuple[str, ...]
    another_person: bool = False
    four_eyes: bool = False
    approvers: int = 1
    group: str = ""
    title: str | None = None
    policy_version: str | None = None


class Kind(ABC):
    """One kind of request. All methods run inside the transaction that closes the request."""

    name: ClassVar[str]
    label: ClassVar[str]
    template: ClassVar[str]  # renders the card; is given `request`
    # Renders the one card of several that are asked together; without it, each is asked alone.
    together_template: ClassVar[str] = ""
    verdicts: ClassVar[frozenset[str]]
    # `app.codename`: deciding one takes this too, and it is offered to nobody without.
    permission: ClassVar[str] = ""
    # Whether a person may permit it against what stands in its way, with a reason.
    overridable: ClassVar[bool] = False
    # What somebody did who gave a verdict, where this kind has better words for it.
    did: ClassVar[Mapping[str, str]] = {}

    @abstractmethod
    def lock(self, request: ApprovalRequest) -> None:
        """Lock the rows the request is about, run → dispatch → call. The request itself is not locked yet."""

    @abstractmethod
    def on_decided(self, request: ApprovalRequest, decision: Decision, log: Record) -> None:
        """Carry the verdict to the subject: one of `verdicts`, or `expired`, which permits nothing."""

    def re_rule(self, request: ApprovalRequest, edit: Mapping[str, Any], by: User) -> ReRuled:
        """Raises errors.InvalidEdit. Needed where `verdicts` has `modified`."""
        raise NotImplementedError

    def on_superseded(self, old: ApprovalRequest, new: ApprovalRequest, log: Record) -> None:
        """An edit needs another person: the subject now waits for `new`. Needed where `verdicts` has `modified`."""
        raise NotImplementedError

    def may_decide(self, request: ApprovalRequest, user: User) -> str | None:
        """One more reason why this user may not decide, as a sentence; None when there is none."""
        return None


class UnknownKind(LookupError):
    """Our mistake: no room has registered this kind."""


_kinds: dict[str, Kind] = {}


def register(kind: Kind) -> None:
    """Raises ValueError for a taken name or a kind that accepts what it cannot handle."""
    if kind.name in _kinds:
        raise ValueError(f"A kind named {kind.name!r} is registered already.")
    if unknown := kind.verdicts - states.PERSONAL:
        raise ValueError(f"{kind.name}: no person gives the verdicts {sorted(unknown)}.")
    if states.MODIFIED in kind.verdicts and _lacks_edits(type(kind)):
        raise ValueError(f"{kind.name} accepts edits, so it needs re_rule() and on_superseded().")
    _kinds[kind.name] = kind
    permissions.need(kind.name, kind.permission)


def forget(name: str) -> None:
    _kinds.pop(name, None)
    permissions.need(name, "")


def get(name: str) -> Kind:
    try:
        return _kinds[name]
    except KeyError:
        raise UnknownKind(f"No kind of request is named {name!r}.") from None


def registered() -> list[Kind]:
    return sorted(_kinds.values(), key=lambda kind: kind.name)


def _lacks_edits(kind: type[Kind]) -> bool:
    return kind.re_rule is Kind.re_rule or kind.on_superseded is Kind.on_superseded
