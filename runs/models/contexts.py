"""Views: what an agent is shown of its own past, once all of it would not fit any more. The steps themselves stay."""

from django.db import models
from django.db.models.functions import Now

from runs.models.dispatches import Dispatch
from runs.models.nodes import Node


class ContextView(models.Model):
    """One change of what the model is shown of a dispatch's transcript; they add up, in the order of their numbers.

    `after_step`: the newest answered step when it was made. `left_out` are the ids of calls whose results give way to
    references. `summarised_to`: `summary` stands for the steps up to this one; while neither it nor `failed` says
    something, it is being made, in `node`, by the dispatch that then is `made_by`. `tokens_before` is what the next
    request was bound by, `tokens_after` an estimate of what is left of it.
    """

    dispatch = models.ForeignKey(Dispatch, on_delete=models.PROTECT, related_name="context_views", db_index=False)
    number = models.PositiveSmallIntegerField()
    after_step = models.PositiveIntegerField()
    left_out = models.JSONField(default=list)
    summarised_to = models.PositiveIntegerField(null=True)
    summary = models.TextField(blank=True)
    failed = models.CharField(max_length=300, blank=True)
    node = models.ForeignKey(Node, null=True, on_delete=models.PROTECT, related_name="+", db_index=False)
    made_by = models.ForeignKey(Dispatch, null=True, on_delete=models.PROTECT, related_name="+", db_index=False)
    tokens_before = models.PositiveIntegerField()
    tokens_after = models.PositiveIntegerField()
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [models.UniqueConstraint(fields=["dispatch", "number"], name="context_view_once")]
        ordering = ["dispatch", "number"]

    def __str__(self) -> str:
        return f"view {self.number}"

    @property
    def is_pending(self) -> bool:
        """Its summary is still to come."""
        return self.summarised_to is not None and not self.summary and not self.failed
