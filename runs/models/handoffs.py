"""Handoffs: typed proposals that another agent continues. A person accepts each."""

from django.db import models
from django.db.models.functions import Now

from orchestrator_site.core.ids import new_id
from runs import states
from runs.models.dispatches import Dispatch


class Handoff(models.Model):
    """`artifacts` are references (`artifact:<id>`), never bytes; `preconditions` are sentences shown as a checklist."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    source = models.OneToOneField(Dispatch, on_delete=models.PROTECT, related_name="handoff")
    target = models.ForeignKey("agents.Agent", on_delete=models.PROTECT, related_name="+")
    reason = models.TextField()
    task = models.TextField()
    artifacts = models.JSONField(default=list)
    preconditions = models.JSONField(default=list)
    confidence = models.FloatField(null=True)
    request = models.ForeignKey("approvals.ApprovalRequest", null=True, on_delete=models.PROTECT, related_name="+")
    status = models.CharField(max_length=10, choices=states.HANDOFF.choices(), default=states.PROPOSED)
    continued_by = models.OneToOneField(Dispatch, null=True, on_delete=models.PROTECT, related_name="continues_handoff")
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [states.HANDOFF.constraint()]
        indexes = [models.Index(fields=["status", "id"], name="handoff_in_status")]
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"to {self.target} {self.status}"
