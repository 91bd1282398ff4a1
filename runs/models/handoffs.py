"""Handoffs: typed proposals that another agent continues. A person accepts each."""

from django.db import models
from django.db.models.functions import Now

from agents.values import Transfer
from orchestrator_site.core.ids import new_id
from runs import states
from runs.models.dispatches import Dispatch


class Handoff(models.Model):
    """`artifacts` are references (`artifact:<id>`), never bytes. `preconditions` are sentences, or {says, check,
    outcome, why} as they were last looked at. `state` is the typed task state, None for none.

    `transfer`, `summariser`, `deadline_seconds` (None: the installation's) and `source_watches` are the transition's as
    it was when this was proposed; `steps` are the source's answers that it chose to pass on, 1 its first.
    `passed` is the text that the target reads below its task, as the approver saw it, and `tokens_at_most` an upper
    bound of both together. `continued_by` is the dispatch that goes on, `returned_to` the source's next one, which a
    person sent it back to with guidance, `closed_by` the one in which a watching source had the last word.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    source = models.OneToOneField(Dispatch, on_delete=models.PROTECT, related_name="handoff")
    target = models.ForeignKey("agents.Agent", on_delete=models.PROTECT, related_name="+")
    reason = models.TextField()
    task = models.TextField()
    artifacts = models.JSONField(default=list)
    preconditions = models.JSONField(default=list)
    confidence = models.FloatField(null=True)
    state = models.JSONField(null=True)
    transfer = models.CharField(
        max_length=10, default=Transfer.STRUCTURED.value, choices=[(each.value, each.value) for each in Transfer]
    )
    steps = models.JSONField(default=list)
    summariser = models.ForeignKey("agents.Agent", null=True, on_delete=models.PROTECT, related_name="+")
    deadline_seconds = models.PositiveIntegerField(null=True)
    source_watches = models.BooleanField(default=False, db_default=False)
    passed = models.TextField(blank=True, db_default="")
    tokens_at_most = models.PositiveIntegerField(default=0, db_default=0)
    request = models.ForeignKey("approvals.ApprovalRequest", null=True, on_delete=models.PROTECT, related_name="+")
    status = models.CharField(max_length=10, choices=states.HANDOFF.choices(), default=states.PROPOSED)
    continued_by = models.OneToOneField(Dispatch, null=True, on_delete=models.PROTECT, related_name="continues_handoff")
    returned_to = models.OneToOneField(Dispatch, null=True, on_delete=models.PROTECT, related_name="+")
    closed_by = models.OneToOneField(Dispatch, null=True, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [states.HANDOFF.constraint()]
        indexes = [models.Index(fields=["status", "id"], name="handoff_in_status")]
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"to {self.target} {self.status}"
