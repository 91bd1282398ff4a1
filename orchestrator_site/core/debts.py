"""What observers are still owed, when a person looks at it."""

from collections.abc import Iterable

from django.contrib.auth.models import AbstractBaseUser
from django.db.models.functions import Now

from orchestrator_site.core import events
from orchestrator_site.core.models import Observation


def try_again(observations: Iterable[int], by: AbstractBaseUser) -> int:
    """Make these due now, with their failures forgotten; returns how many were still owed."""
    with events.recording() as log:
        owed = list(Observation.objects.select_for_update().filter(pk__in=observations).order_by("pk"))
        Observation.objects.filter(pk__in=[debt.pk for debt in owed]).update(
            due_at=Now(), failures=0, given_up=False, last_error=""
        )
        for debt in owed:
            log.platform(
                "observation_retried",
                actor=f"user:{by.get_username()}",
                observer=debt.observer,
                event=debt.event_id,
                failures=debt.failures,
            )
    return len(owed)
