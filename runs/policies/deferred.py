"""Calls that wait for a window, when another policy is put in force: it may have another window, or none."""

from django.db.models.functions import Now

from orchestrator_site.core import observers
from orchestrator_site.core.models import Event
from runs import states
from runs.models import Dispatch, ToolCall


@observers.observe("runs.rule_deferred_again", "policy_published")
def rule_again_soon(event: Event) -> None:
    """All of them are due now: who holds them next rules on them by today's policy, and defers again what it must.

    Locks: the dispatches, then their calls.
    """
    waiting = Dispatch.objects.filter(status=states.WAITING, due_at__gt=Now(), calls__status=states.DEFERRED)
    ids = sorted(set(waiting.values_list("pk", flat=True)))
    held = Dispatch.objects.select_for_update(of=("self",)).filter(pk__in=ids, status=states.WAITING).order_by("pk")
    still = [dispatch.pk for dispatch in held]
    ToolCall.objects.filter(dispatch__in=still, status=states.DEFERRED, due_at__gt=Now()).update(due_at=Now())
    Dispatch.objects.filter(pk__in=still).update(due_at=Now())
