"""Dispatches, the nodes of a run's plan, and their steps."""

import datetime as dt
from decimal import Decimal

from django.db import models
from django.db.models.functions import Now
from django.utils.functional import cached_property

from agents.models import Manifest
from agents.values import ManifestSpec
from orchestrator_site.core.ids import new_id
from runs import state_versions, states
from runs.models.runs import MONEY, Run


class DispatchQuerySet(models.QuerySet):
    def open(self) -> "DispatchQuerySet":
        return self.filter(status__in=states.DISPATCH.open)

    def readable(self) -> "DispatchQuerySet":
        """Of no newer version than this process knows; the others are for workers of a newer release."""
        return self.filter(state_version__lte=state_versions.current())

    def forgotten(self) -> "DispatchQuerySet":
        """Ready for a worker like this one, and held by none: never claimed, handed on, or its lease ran out."""
        unheld = models.Q(lease_until__isnull=True) | models.Q(lease_until__lt=Now())
        due = models.Q(due_at__isnull=True) | models.Q(due_at__lte=Now())
        return self.readable().filter(unheld, due, status__in=[states.QUEUED, states.WORKING])

    def of_agent(self, slug: str) -> "DispatchQuerySet":
        """Its manifests are looked up first: how many rows each has is in the statistics, and tells the planner
        whether to walk the newest runs or the agent's."""
        return self.filter(manifest__in=list(Manifest.objects.filter(agent__slug=slug).values_list("pk", flat=True)))

    def unheeded(self) -> "DispatchQuerySet":
        """Ended, and its run was not moved on since."""
        return self.filter(unheeded=True)

    def due(self) -> "DispatchQuerySet":
        """Waits for a moment that has come."""
        return self.readable().filter(status=states.WAITING, due_at__lte=Now())


class Dispatch(models.Model):
    """One agent's part of a run, executed as a bounded loop under a lease and a fence.

    `fence` grows with every claim, and every write of the loop names it. `hand_deadline` is the deadline of the call
    in hand: the lease is not renewed past it. `due_at` is the moment a waiting dispatch asked to be woken at,
    `rung_at` the last time a worker was called to it.
    `tries_from`: failed steps of a lower number no longer count as tries of their model; a person said to try again.
    `history` are the earlier [request, answer] pairs of the conversation; `briefing` is what the first message says
    beside the task: references to what other agents made. `cost_cap_usd` is the manifest's, raised by top-ups.
    `worked_seconds` counts finished slices only: waiting for people costs no working time.
    `state_version`: the shape of what it stores; a worker takes none that is newer than itself.
    `unheeded`: it has ended, and its run was not moved on since; whoever ended it may have gone away.
    `cancel_requested` is the run's, written here too so that whoever locks this row alone reads what is true.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    run = models.ForeignKey(Run, on_delete=models.PROTECT, related_name="dispatches", db_index=False)
    manifest = models.ForeignKey("agents.Manifest", on_delete=models.PROTECT, related_name="+")
    parents = models.ManyToManyField(
        "self", through="Edge", through_fields=("child", "parent"), symmetrical=False, related_name="children"
    )
    number = models.PositiveIntegerField()
    origin = models.CharField(max_length=10, choices=[(o, o) for o in ("run", "route", "handoff")])
    task = models.TextField()
    briefing = models.TextField(blank=True)
    history = models.JSONField(default=list)
    depth = models.PositiveSmallIntegerField(default=0)
    status = models.CharField(max_length=12, choices=states.DISPATCH.choices(), default=states.QUEUED)
    stop_reason = models.CharField(max_length=20, blank=True)
    message = models.CharField(max_length=500, blank=True)
    output = models.TextField(blank=True)
    waiting_on = models.CharField(max_length=300, blank=True)
    due_at = models.DateTimeField(null=True)
    lease_owner = models.CharField(max_length=100, blank=True)
    lease_until = models.DateTimeField(null=True)
    claimed_at = models.DateTimeField(null=True)
    hand_deadline = models.DateTimeField(null=True)
    fence = models.BigIntegerField(default=0)
    claims_without_progress = models.PositiveSmallIntegerField(default=0)
    iterations = models.PositiveIntegerField(default=0)
    tokens = models.BigIntegerField(default=0)
    cost_usd = models.DecimalField(**MONEY, default=Decimal(0))
    cost_cap_usd = models.DecimalField(**MONEY)
    worked_seconds = models.FloatField(default=0)
    cancel_requested = models.BooleanField(default=False)
    tries_from = models.PositiveIntegerField(default=0, db_default=0)
    unheeded = models.BooleanField(default=False, db_default=False)
    rung_at = models.DateTimeField(db_default=Now())
    state_version = models.PositiveSmallIntegerField(default=state_versions.FIRST)
    created_at = models.DateTimeField(db_default=Now())
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    objects = DispatchQuerySet.as_manager()

    # The database's time and the roster's epoch, where `leases.hold` locked the row.
    now: dt.datetime
    epoch: int

    class Meta:
        constraints = [
            states.DISPATCH.constraint(),
            models.UniqueConstraint(fields=["run", "number"], name="dispatch_number_once"),
            models.CheckConstraint(
                name="dispatch_stop_reason_known",
                condition=models.Q(stop_reason__in=["", *[reason.value for reason in states.StopReason]]),
            ),
            models.CheckConstraint(
                name="dispatch_ended_with_reason",
                condition=models.Q(status__in=[*sorted(states.DISPATCH.open), states.SKIPPED])
                | ~models.Q(stop_reason=""),
            ),
        ]
        indexes = [
            models.Index(
                fields=["rung_at"],
                name="dispatch_rung",
                condition=models.Q(status__in=[states.QUEUED, states.WORKING]),
            ),
            models.Index(
                fields=["status"], name="dispatch_open", condition=models.Q(status__in=sorted(states.DISPATCH.open))
            ),
            models.Index(fields=["run"], name="dispatch_unheeded", condition=models.Q(unheeded=True)),
            models.Index(
                fields=["due_at"],
                name="dispatch_due",
                condition=models.Q(status=states.WAITING, due_at__isnull=False),
            ),
        ]
        ordering = ["run", "number"]
        verbose_name_plural = "dispatches"

    def __str__(self) -> str:
        return f"#{self.number} {self.status}"

    @property
    def is_final(self) -> bool:
        return self.status in states.DISPATCH.final

    @cached_property
    def pinned(self) -> ManifestSpec:
        """The content of the manifest it started with, which never changes."""
        return self.manifest.spec()


class Edge(models.Model):
    """`child` starts when `parent` has finished, and is given a reference to its result."""

    parent = models.ForeignKey(Dispatch, on_delete=models.CASCADE, related_name="edges_out")
    child = models.ForeignKey(Dispatch, on_delete=models.CASCADE, related_name="edges_in")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["parent", "child"], name="edge_once")]

    def __str__(self) -> str:
        return f"{self.parent_id} -> {self.child_id}"


class Route(models.Model):
    """A decision of a router dispatch, or of the person who routed in its place: this agent gets this task.

    Routes become nodes, in their order, when the router's dispatch has ended.
    """

    source = models.ForeignKey(Dispatch, on_delete=models.PROTECT, related_name="routes")
    number = models.PositiveSmallIntegerField()
    agent = models.ForeignKey("agents.Agent", on_delete=models.PROTECT, related_name="+")
    task = models.TextField()
    decided_by = models.CharField(max_length=200)
    node = models.OneToOneField(Dispatch, null=True, on_delete=models.PROTECT, related_name="route")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["source", "number"], name="route_once")]
        ordering = ["source", "number"]

    def __str__(self) -> str:
        return f"{self.number}: {self.agent}"


class Step(models.Model):
    """One model call: what it was reserved, and the reply whole, as the SDK's plain JSON.

    A step stores only what it added: the transcript is the task, and then each step's reply and its calls' results.
    `retry_at`: of one that failed, its model is not to be asked again before.
    """

    dispatch = models.ForeignKey(Dispatch, on_delete=models.PROTECT, related_name="steps", db_index=False)
    number = models.PositiveIntegerField()
    fence = models.BigIntegerField()
    status = models.CharField(max_length=10, choices=states.STEP.choices(), default=states.ASKED)
    model = models.CharField(max_length=100)
    reserved_usd = models.DecimalField(**MONEY, default=Decimal(0))
    reply = models.TextField(blank=True)
    stop_reason = models.CharField(max_length=40, blank=True)
    failure = models.CharField(max_length=12, blank=True)
    error = models.CharField(max_length=500, blank=True)
    retry_at = models.DateTimeField(null=True)
    input_tokens = models.PositiveIntegerField(default=0)
    output_tokens = models.PositiveIntegerField(default=0)
    cache_read_tokens = models.PositiveIntegerField(default=0)
    cache_write_tokens = models.PositiveIntegerField(default=0)
    cost_usd = models.DecimalField(**MONEY, default=Decimal(0))
    cost_estimated = models.BooleanField(default=False)
    asked_at = models.DateTimeField(db_default=Now())
    ended_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            states.STEP.constraint(),
            models.UniqueConstraint(fields=["dispatch", "number"], name="step_once"),
        ]
        ordering = ["dispatch", "number"]

    def __str__(self) -> str:
        return f"step {self.number}"

    @property
    def total_tokens(self) -> int:
        return self.input_tokens + self.output_tokens + self.cache_read_tokens + self.cache_write_tokens
