"""Messages: what an agent, a person or the platform tells a dispatch while it is at work."""

from django.db import models
from django.db.models.functions import Now

from runs.models.dispatches import Dispatch


class Message(models.Model):
    """One message to a dispatch, written by `runs.mail` alone.

    `sender` is an actor as in events: `agent:<slug>`, `user:<name>` or `system`; `sender_dispatch` the agent's own
    dispatch. `step` is the number of the step that read it first, null until then.
    """

    dispatch = models.ForeignKey(Dispatch, on_delete=models.PROTECT, related_name="messages", db_index=False)
    number = models.PositiveIntegerField()
    sender = models.CharField(max_length=200)
    sender_dispatch = models.ForeignKey(Dispatch, null=True, on_delete=models.PROTECT, related_name="+", db_index=False)
    text = models.TextField()
    labels = models.CharField(max_length=40, blank=True, default="", db_default="")
    step = models.PositiveIntegerField(null=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [models.UniqueConstraint(fields=["dispatch", "number"], name="message_number_once")]
        ordering = ["dispatch", "number"]

    def __str__(self) -> str:
        return f"message {self.number} from {self.sender}"
