"""Calls alike that were asked about in one turn: one question, decided together.

Each call keeps its own request with its own digest, which is what binds it. A batch is its open requests, in their
order; its digest covers all of them, so that whoever decides it saw the very set that is decided. One that is closed
or taken out is no part of it any more, and nothing has to be put right for that, whoever did it and however it ended.
"""

from collections.abc import Sequence
from uuid import UUID

from django.contrib.auth.models import User

from approvals import closing, eligibility, kinds
from approvals.errors import NotAllowedToDecide
from approvals.models import ApprovalRequest
from orchestrator_site.core import canonical, events
from orchestrator_site.core.events import Record


def members(request: ApprovalRequest) -> list[ApprovalRequest]:
    """The open requests that are asked together with this one, itself among them; empty when it stands alone."""
    if request.batch is None:
        return []
    found = list(ApprovalRequest.objects.open().filter(batch=request.batch).order_by("place"))
    return found if len(found) > 1 else []


def digest(together: Sequence[ApprovalRequest]) -> str:
    """Of all that is asked together: SHA-256 of canonical JSON [[id, digest of the request], ...] in their order."""
    return canonical.digest(canonical.dumps([[str(each.pk), each.digest] for each in together]))


def lock(request: ApprovalRequest) -> list[ApprovalRequest]:
    """Lock the batch of this request, and what it is about, run → dispatch → calls → requests; the open ones."""
    kind = kinds.get(request.kind)
    for each in members(request) or [request]:
        kind.lock(each)
    rows = ApprovalRequest.objects.open().filter(batch=request.batch).order_by("pk").select_for_update(of=("self",))
    return sorted(rows, key=lambda each: each.place)


def tell_decided(log: Record, together: Sequence[ApprovalRequest], verdict: str, *, by: User, via: str) -> None:
    """What the digest that was posted covered; a decision of each follows."""
    first = together[0]
    log.run(
        first.run_id,
        "approval_batch_decided",
        actor=closing.actor_of(by, via),
        batch=str(first.batch),
        verdict=verdict,
        digest=digest(together),
        requests=[[str(each.pk), each.digest] for each in together],
    )


def take_out(log: Record, request: ApprovalRequest, *, by: User, via: str, all_of_it: bool = False) -> None:
    """From here on this request is asked alone, or each of its batch; the caller has locked them."""
    together = ApprovalRequest.objects.open().filter(batch=request.batch)
    taken = together if all_of_it else together.filter(pk=request.pk)
    ids = [str(id) for id in taken.order_by("place").values_list("pk", flat=True)]
    log.run(
        request.run_id,
        "approval_batch_split",
        actor=closing.actor_of(by, via),
        batch=str(request.batch),
        taken=ids,
    )
    taken.update(batch=None)


def split(request_id: UUID, *, by: User, via: str, all_of_it: bool = True) -> None:
    """Decide one by one: each of the batch, or this one, stands alone. Nothing happens to one that does already.

    Raises ApprovalRequest.DoesNotExist, errors.NotAllowedToDecide.
    """
    request = ApprovalRequest.objects.get(pk=request_id)
    if objection := eligibility.why_not(request, by):
        raise NotAllowedToDecide(objection)
    with events.recording() as log:
        if request.batch is None or request.pk not in {each.pk for each in lock(request)}:
            return
        take_out(log, request, by=by, via=via, all_of_it=all_of_it)
