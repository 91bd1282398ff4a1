"""Runs: pieces of work that entered the system, inside an optional conversation."""

from typing import Any

from django.conf import settings
from django.db import models
from django.db.models.functions import Coalesce, Now

from approvals.models import MAY_DECIDE, ApprovalRequest
from orchestrator_site.core.ids import new_id
from runs import states

# Whoever holds it sees every run; one's own are seen without it.
MAY_PRIORITISE = "runs.prioritise_run"
PRIORITIES = range(-10, 11)
MAY_VIEW = "runs.view_run"

# The key in a run's metadata that names the run it tries again.
RETRY_OF = "retry_of"

MONEY: dict[str, Any] = {"max_digits": 18, "decimal_places": 9}


class Conversation(models.Model):
    """Runs that follow one another; each reads what was asked and answered before it."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="conversations")
    created_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return str(self.id)


class RunQuerySet(models.QuerySet):
    def open(self) -> "RunQuerySet":
        return self.filter(status__in=states.RUN.open)

    def owned_by(self, user) -> "RunQuerySet":
        return self.filter(owner=user)

    def visible_to(self, user) -> "RunQuerySet":
        """All of them for who may view runs; for approvers those that ask a person something; and one's own."""
        if not user.is_authenticated or not user.is_active:
            return self.none()
        if user.has_perm(MAY_VIEW):
            return self.all()
        seen = models.Q(owner=user)
        if user.has_perm(MAY_DECIDE):
            # A look-up a run, taken to hold for half of them: that walks the newest runs until a page is full.
            # EXISTS beside an OR makes PostgreSQL read every request there ever was.
            asked = ApprovalRequest.objects.filter(run_id=models.OuterRef("pk")).values_list(models.Value(True))
            seen |= models.Q(Coalesce(models.Subquery(asked[:1]), False))
        return self.filter(seen)


class Run(models.Model):
    """`waiting_on` is one sentence for people: what the run waits for, while it waits.

    `labels`: what whoever started it says of its input, as of an e-mail that it passes on (`tools.flow`); none where it
    is a person's own words.
    `plan`: what it was asked to do it by, {template, parameters} or a `PlanSpec`; null: whoever gets it decides.
    `priority`: of what waits for a worker the highest comes first, whoever else waits.
    `board_entries` counts what was posted on its blackboard, `board_seen` what the rules that watch it have looked at.
    `restored_at`: it was open when it was found that the database had been restored from a backup, at this moment; it
    may have done more than is known.
    Ids grow with time: "newest first" is by id everywhere.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    conversation = models.ForeignKey(Conversation, null=True, on_delete=models.PROTECT, related_name="runs")
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="runs", db_index=False)
    source = models.CharField(max_length=10, choices=[(s, s) for s in ("api", "web", "admin", "demo")])
    input = models.TextField()
    metadata = models.JSONField(default=dict, blank=True)
    labels = models.CharField(max_length=40, blank=True, default="", db_default="")
    agent = models.ForeignKey("agents.Agent", null=True, on_delete=models.PROTECT, related_name="+")
    plan = models.JSONField(null=True)
    priority = models.SmallIntegerField(default=0, db_default=0)
    status = models.CharField(max_length=12, choices=states.RUN.choices(), default=states.ACCEPTED)
    stop_reason = models.CharField(max_length=20, blank=True)
    output = models.TextField(blank=True)
    waiting_on = models.CharField(max_length=300, blank=True)
    cancel_requested_at = models.DateTimeField(null=True)
    paused_at = models.DateTimeField(null=True)
    board_entries = models.PositiveIntegerField(default=0, db_default=0)
    board_seen = models.PositiveIntegerField(default=0, db_default=0)
    restored_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True)

    objects = RunQuerySet.as_manager()

    class Meta:
        constraints = [states.RUN.constraint()]
        indexes = [
            models.Index(fields=["owner", "id"], name="run_of_owner"),
            models.Index(fields=["status", "id"], name="run_in_status"),
            models.Index(
                fields=["owner", "id"], name="run_open_of_owner", condition=models.Q(status__in=sorted(states.RUN.open))
            ),
        ]
        ordering = ["-id"]
        permissions = [
            ("start_run", "Can start runs"),
            ("prioritise_run", "Can start runs that come before others"),
            ("cancel_run", "Can cancel the runs they see"),
            ("resolve_uncertain", "Can say what came of a call in doubt"),
        ]

    def __str__(self) -> str:
        return f"{self.input[:60]}"

    @property
    def is_final(self) -> bool:
        return self.status in states.RUN.final
