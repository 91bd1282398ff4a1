"""Artifacts: content-addressed bytes with a reference; what agents pass to each other instead of payloads."""

from django.db import models
from django.db.models.functions import Now

from orchestrator_site.core.ids import new_id
from runs.models.dispatches import Dispatch
from runs.models.runs import Run


class Blob(models.Model):
    """Bytes, kept once, under their SHA-256: in this row, or `stored_as` a file of the artifacts' storage."""

    digest = models.CharField(primary_key=True, max_length=64)
    content = models.BinaryField(null=True)
    stored_as = models.CharField(max_length=200, blank=True, default="", db_default="")

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="blob_in_one_place", condition=models.Q(content__isnull=True) ^ models.Q(stored_as="")
            ),
        ]

    def __str__(self) -> str:
        return self.digest[:12]


class Artifact(models.Model):
    """A named use of a blob in a run, written by one dispatch; by the platform for the run where `dispatch` is null.

    `name` is a path in the workspace of the dispatch, or what the platform calls it. Writing to a name again makes its
    next `version`; the earlier ones stay. `labels` are of what it was made of.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    run = models.ForeignKey(Run, on_delete=models.PROTECT, related_name="artifacts")
    dispatch = models.ForeignKey(
        Dispatch, null=True, on_delete=models.PROTECT, related_name="artifacts", db_index=False
    )
    name = models.CharField(max_length=200)
    version = models.PositiveIntegerField(default=1, db_default=1)
    media_type = models.CharField(max_length=100, default="text/plain")
    size = models.BigIntegerField()
    labels = models.CharField(max_length=40, blank=True, default="", db_default="")
    blob = models.ForeignKey(Blob, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["dispatch", "name", "version"], name="artifact_version_once"),
        ]
        ordering = ["run", "created_at"]

    def __str__(self) -> str:
        return self.reference

    @property
    def reference(self) -> str:
        return f"artifact:{self.id}"
