"""Rows that pace the work are read once an epoch: who saves one grows it, and lets go who waits for the old one."""

from typing import Any

from django.db.models import Model, signals
from django.db.models.functions import Now

from agents import roster
from orchestrator_site.core import renames
from runs import states
from runs.models import Dispatch, PlaceLimit, RateBucket, RateLimit
from runs.pacing import rates, switches
from runs.pacing.buckets import LONG_AGO


def _changed(sender: type[Model], instance: Any, **kwargs: Any) -> None:
    roster.bump()
    if sender is RateLimit:
        # What was used up of the old one is no measure of the new one, which begins full.
        buckets = RateBucket.objects.filter(limit=instance)
        buckets.update(spent_to=LONG_AGO, promised_to=LONG_AGO, made_up_to=LONG_AGO)
    kind = "rate" if sender is RateLimit else "place"
    held = Dispatch.objects.filter(status=states.WAITING, held_by__startswith=f"{kind}:{instance.pk}:")
    held.update(due_at=Now(), held_by="", place_at=None)


def connect() -> None:
    # Switches and rates name an app by its user's name.
    renames.follow(switches.follow)
    renames.follow(rates.follow)
    # After the row: who waits for it locked it first, so that all who do are seen.
    for signal in (signals.post_save, signals.post_delete):
        for model in (RateLimit, PlaceLimit):
            signal.connect(_changed, sender=model, dispatch_uid=f"pacing.{model.__name__}.{id(signal)}")
