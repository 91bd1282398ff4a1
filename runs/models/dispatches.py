"""Dispatches, each one agent's try at a node, and their steps."""

import datetime as dt
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from django.db import models
from django.db.models.functions import Coalesce, Now
from django.utils.functional import cached_property

from agents.models import Manifest
from agents.values import AgentKind, ManifestSpec
from orchestrator_site.core.ids import new_id
from runs import state_versions, states
from runs.models.runs import MONEY, Run
from runs.values import Contract

# Why there is this dispatch: the first of its run, what a router decided, what a plan says, or another try of its node.
ORIGINS = ("run", "route", "plan", "handoff", "retry", "fallback", "reroute", "guidance", "closing")


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

    def held_up(self, by: str | None = None) -> "DispatchQuerySet":
        """Waits though it is allowed, for anything or `by` this, as `pacing` names it."""
        held = self.filter(status=states.WAITING)
        return held.exclude(held_by="") if by is None else held.filter(held_by=by)

    def due(self) -> "DispatchQuerySet":
        """Waits for a moment that has come."""
        return self.readable().filter(status=states.WAITING, due_at__lte=Now())


class Dispatch(models.Model):
    """One agent's part of a run, executed as a bounded loop under a lease and a fence.

    `fence` grows with every claim, and every write of the loop names it. `hand_deadline` is the deadline of the call
    in hand: the lease is not renewed past it. `due_at` is the moment a waiting dispatch asked to be woken at,
    `rung_at` the last time a worker was called to it.
    `tries_from`: failed steps of a lower number no longer count as tries of their model; a person said to try again.
    `app` is the id of its run's owner, and `priority` the run's: here too, so that the queue is read from this table.
    `held_by`: of a waiting one, what holds it up though it is allowed, as `pacing` names it; `place_at`: the moment
    that it was promised there.
    `history` are the earlier [request, answer] pairs of the conversation; `briefing` is what the first message says
    beside the task: references to what other agents made. `cost_cap_usd` is the manifest's, raised by top-ups.
    `terms` are its node's own, which stand in for the manifest's: {timeout_seconds, models, contract, has_last_word,
    draws_on}, each may be missing; `contract` has the fields of a `Contract`, `draws_on` are the ids of the allotments
    of nodes that it works within.
    `wake_on`: a supervisor waits for any, or for all, of the nodes within its node.
    `mail` counts the messages that were left to it, read or not; `views` how often the view of its past has changed.
    `worked_seconds` counts finished slices only: waiting for people costs no working time.
    `state_version`: the shape of what it stores; a worker takes none that is newer than itself.
    `labels` are of all that it has read (`tools.flow`): they grow, and nothing takes one away.
    `unheeded`: it has ended, and its run was not moved on since; whoever ended it may have gone away.
    `cancel_requested` and `pause_requested` are the run's, written here too so that whoever locks this row alone reads
    what is true.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    run = models.ForeignKey(Run, on_delete=models.PROTECT, related_name="dispatches", db_index=False)
    manifest = models.ForeignKey("agents.Manifest", on_delete=models.PROTECT, related_name="+")
    node = models.ForeignKey("runs.Node", on_delete=models.PROTECT, related_name="dispatches", db_index=False)
    number = models.PositiveIntegerField()
    origin = models.CharField(max_length=10, choices=[(o, o) for o in ORIGINS])
    task = models.TextField()
    briefing = models.TextField(blank=True)
    history = models.JSONField(default=list)
    terms = models.JSONField(default=dict)
    depth = models.PositiveSmallIntegerField(default=0)
    app = models.BigIntegerField(default=0, db_default=0)
    priority = models.SmallIntegerField(default=0, db_default=0)
    status = models.CharField(max_length=12, choices=states.DISPATCH.choices(), default=states.QUEUED)
    stop_reason = models.CharField(max_length=20, blank=True)
    message = models.CharField(max_length=500, blank=True)
    output = models.TextField(blank=True)
    waiting_on = models.CharField(max_length=300, blank=True)
    wake_on = models.CharField(max_length=3, blank=True, choices=[(w, w) for w in ("any", "all")])
    due_at = models.DateTimeField(null=True)
    held_by = models.CharField(max_length=300, blank=True, default="", db_default="")
    place_at = models.DateTimeField(null=True)
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
    pause_requested = models.BooleanField(default=False, db_default=False)
    views = models.PositiveSmallIntegerField(default=0, db_default=0)
    mail = models.PositiveIntegerField(default=0, db_default=0)
    tries_from = models.PositiveIntegerField(default=0, db_default=0)
    labels = models.CharField(max_length=40, blank=True, default="", db_default="")
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
                condition=models.Q(status__in=sorted(states.DISPATCH.open)) | ~models.Q(stop_reason=""),
            ),
        ]
        indexes = [
            models.Index(
                fields=["rung_at"],
                name="dispatch_rung",
                condition=models.Q(status__in=[states.QUEUED, states.WORKING]),
            ),
            models.Index(
                fields=["run", "number"],
                name="dispatch_open",
                condition=models.Q(status__in=sorted(states.DISPATCH.open)),
            ),
            models.Index(fields=["run"], name="dispatch_unheeded", condition=models.Q(unheeded=True)),
            models.Index(
                fields=["due_at"],
                name="dispatch_due",
                condition=models.Q(status=states.WAITING, due_at__isnull=False),
            ),
            models.Index(
                "priority",
                "app",
                Coalesce("claimed_at", "created_at"),
                name="dispatch_up_next",
                condition=models.Q(status=states.QUEUED),
            ),
            models.Index(fields=["app"], name="dispatch_at_work", condition=models.Q(status=states.WORKING)),
            models.Index(
                fields=["held_by"],
                name="dispatch_held",
                condition=models.Q(status=states.WAITING) & ~models.Q(held_by=""),
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
        """The content of the manifest it started with, which never changes, under the terms of its node."""
        return _under(self.manifest.spec(), self.terms)

    @property
    def has_last_word(self) -> bool:
        """It answers what another came to that it had handed over to, and calls nothing."""
        return bool(self.terms.get("has_last_word"))

    @cached_property
    def contract(self) -> Contract | None:
        """What its final answer has to be: by its node's terms, else by its manifest; None: any text will do."""
        if "contract" in self.terms:
            return Contract(**self.terms["contract"])
        schema = self.pinned.output_schema
        return Contract(schema) if schema is not None else None


def _under(manifest: ManifestSpec, terms: Mapping[str, Any]) -> ManifestSpec:
    changes: dict[str, Any] = {}
    if "models" in terms:
        changes["models"] = tuple(terms["models"])
    if "timeout_seconds" in terms:
        limit = min(manifest.limits.wall_seconds, terms["timeout_seconds"])
        changes["limits"] = manifest.limits.model_copy(update={"wall_seconds": limit})
    if terms.get("has_last_word"):
        limits = changes.get("limits", manifest.limits)
        is_bound = "contract" in terms or manifest.output_schema is not None
        changes["limits"] = limits.model_copy(update={"iterations": 2 if is_bound else 1})  # one may be returned
        changes |= {"grants": (), "handoff_targets": (), "kind": AgentKind.WORKER}
    return manifest.model_copy(update=changes) if changes else manifest


class Step(models.Model):
    """One model call: what it was reserved, and the reply whole, as the SDK's plain JSON.

    A step stores only what it added: the transcript is the task, and then each step's reply and its calls' results.
    `retry_at`: of one that failed, its model is not to be asked again before. `allotments` are the ids of those that
    it was reserved from beside its run's account; null: none.
    """

    dispatch = models.ForeignKey(Dispatch, on_delete=models.PROTECT, related_name="steps", db_index=False)
    number = models.PositiveIntegerField()
    fence = models.BigIntegerField()
    status = models.CharField(max_length=10, choices=states.STEP.choices(), default=states.ASKED)
    model = models.CharField(max_length=100)
    reserved_usd = models.DecimalField(**MONEY, default=Decimal(0))
    allotments = models.JSONField(null=True)
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
