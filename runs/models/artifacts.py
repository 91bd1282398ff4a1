"""Artifacts: content-addressed bytes with a reference; what agents pass to each other instead of payloads."""

from django.db import models
from django.db.models.functions import Now

from orchestrator_site.core.ids import new_id
from runs.models.dispatches import Dispatch
from runs.models.runs import Run


class Blob(models.Model):
    """Bytes, kept once, under their SHA-256."""

    digest = models.CharField(primary_key=True, max_length=64)
    content = models.BinaryField()

    def __str__(self) -> str:
        return self.digest[:12]


class Artifact(models.Model):
    """A named use of a blob in a run, written by one dispatch."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    run = models.ForeignKey(Run, on_delete=models.PROTECT, related_name="artifacts")
    dispatch = models.ForeignKey(Dispatch, null=True, on_delete=models.PROTECT, related_name="artifacts")
    name = models.CharField(max_length=200)
    media_type = models.CharField(max_length=100, default="text/plain")
    size = models.BigIntegerField()
    blob = models.ForeignKey(Blob, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["run", "created_at"]

    def __str__(self) -> str:
        return self.reference

    @property
    def reference(self) -> str:
        return f"artifact:{self.id}"
