"""Tool calls and their attempts: the effect ledger."""

from collections.abc import Mapping
from typing import Any

from django.db import models
from django.db.models.functions import Now

from orchestrator_site.core import canonical
from orchestrator_site.core.ids import new_id
from runs import states
from runs.models.artifacts import Artifact
from runs.models.dispatches import Dispatch, Step
from runs.models.nodes import Node
from tools.values import Effect, Risk


class ToolCallQuerySet(models.QuerySet):
    def open(self) -> "ToolCallQuerySet":
        return self.filter(status__in=states.TOOL_CALL.open)

    def uncertain(self) -> "ToolCallQuerySet":
        return self.filter(is_uncertain=True)

    def with_effect_in(self, run_id) -> "ToolCallQuerySet":
        """Calls of a run that sent something which cannot simply be repeated."""
        left = Attempt.objects.filter(call=models.OuterRef("pk"), nothing_sent=False)
        calls = self.filter(dispatch__run_id=run_id, status__in=states.MAY_HAVE_SENT).exclude(effect=Effect.PURE)
        return calls.filter(models.Exists(left))

    def with_effect_at(self, node: Node) -> "ToolCallQuerySet":
        """Those among them that were called at a node, or at whatever lies within it."""
        return self.with_effect_in(node.run_id).filter(dispatch__node__in=list(Node.objects.at_and_within(node.pk)))


class ToolCall(models.Model):
    """One call a step asked for.

    `is_uncertain` is made of the status, so that an index of the uncertain ones need not know it: with the status in
    an index, each of a call's moves would write all its indexes anew.

    `arguments` is canonical JSON text, and what will be sent; `proposed_arguments` is what the model asked for, kept
    when a person edited them. `result` is exactly what the model reads; where that is the beginning of more, `artifact`
    keeps the whole. `labels` are of what the result brings in; `due_at` is when a deferred call is ruled upon again.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    dispatch = models.ForeignKey(Dispatch, on_delete=models.PROTECT, related_name="calls")
    step = models.ForeignKey(Step, on_delete=models.PROTECT, related_name="calls", db_index=False)
    position = models.PositiveSmallIntegerField()
    provider_id = models.CharField(max_length=200)
    tool = models.CharField(max_length=128)
    tool_version = models.ForeignKey(
        "tools.ToolVersion", null=True, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    proposed_arguments = models.TextField()
    arguments = models.TextField()
    effect = models.CharField(max_length=10, choices=[(e.value, e.value) for e in Effect])
    risk = models.CharField(max_length=10, choices=[(r.value, r.value) for r in Risk])
    status = models.CharField(max_length=20, choices=states.TOOL_CALL.choices(), default=states.PROPOSED)
    is_uncertain = models.GeneratedField(
        expression=models.Q(status=states.UNCERTAIN),  # type: ignore[arg-type]
        output_field=models.BooleanField(),
        db_persist=True,
    )
    ruling = models.TextField(blank=True)
    request = models.ForeignKey(
        "approvals.ApprovalRequest", null=True, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    error_kind = models.CharField(max_length=20, blank=True)
    result = models.TextField(blank=True)
    artifact = models.ForeignKey(Artifact, null=True, on_delete=models.PROTECT, related_name="+", db_index=False)
    labels = models.CharField(max_length=40, blank=True, default="", db_default="")
    due_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(db_default=Now())
    ended_at = models.DateTimeField(null=True)

    objects = ToolCallQuerySet.as_manager()

    class Meta:
        constraints = [
            states.TOOL_CALL.constraint(),
            models.UniqueConstraint(fields=["step", "position"], name="tool_call_position_once"),
        ]
        indexes = [
            models.Index(
                fields=["created_at"],
                name="tool_call_uncertain",
                condition=models.Q(is_uncertain=True),
            ),
        ]
        ordering = ["step", "position"]

    def __str__(self) -> str:
        return f"{self.tool} {self.status}"

    @property
    def idempotency_key(self) -> str:
        """The same for every attempt of this call, and for no other call."""
        return f"baton-{self.id}"

    def rewritten(self, arguments: Mapping[str, Any]) -> frozenset[str]:
        """Which of these arguments a person wrote: those that are not as the model asked."""
        asked = canonical.loads(self.proposed_arguments)
        return frozenset(name for name, value in arguments.items() if name not in asked or asked[name] != value)

    @property
    def is_settled(self) -> bool:
        return self.status in states.TOOL_CALL.final


class AttemptQuerySet(models.QuerySet):
    def left_in_doubt(self) -> "AttemptQuerySet":
        """Nobody recorded how they ended, and nobody has said since that they did nothing."""
        return self.filter(status=states.UNKNOWN, nothing_sent=False)


class Attempt(models.Model):
    """One send of a call, committed before anything is sent.

    `processes` are the identities of the processes that may carry its effect. `late_evidence` is what a worker brought
    after it had lost its lease: kept for the person who resolves the call, never used by the machine. `nothing_sent`:
    it failed, and it is certain that nothing had left the platform; or a person said that it did not happen.
    """

    call = models.ForeignKey(ToolCall, on_delete=models.PROTECT, related_name="attempts", db_index=False)
    number = models.PositiveSmallIntegerField()
    fence = models.BigIntegerField()
    idempotency_key = models.CharField(max_length=60)
    digest = models.CharField(max_length=64)
    endpoint = models.CharField(max_length=500)
    worker = models.CharField(max_length=100)
    processes = models.JSONField(default=list)
    status = models.CharField(max_length=10, choices=states.ATTEMPT.choices(), default=states.SENT)
    result = models.TextField(blank=True)
    error_kind = models.CharField(max_length=20, blank=True)
    nothing_sent = models.BooleanField(default=False, db_default=False)
    late_evidence = models.TextField(blank=True)
    sent_at = models.DateTimeField(db_default=Now())
    deadline_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)

    objects = AttemptQuerySet.as_manager()

    class Meta:
        constraints = [
            states.ATTEMPT.constraint(),
            models.UniqueConstraint(fields=["call", "number"], name="attempt_once"),
            models.UniqueConstraint(
                fields=["call"], name="attempt_one_in_flight", condition=models.Q(status=states.SENT)
            ),
        ]
        ordering = ["call", "number"]

    def __str__(self) -> str:
        return f"attempt {self.number} {self.status}"
