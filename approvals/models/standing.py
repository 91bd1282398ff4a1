"""What a person approved beforehand: calls of one tool whose arguments follow a pattern, and each use of it."""

from typing import Any, Self
from uuid import UUID

from django.conf import settings
from django.contrib.auth.models import User
from django.db import models
from django.db.models import Exists, F, OuterRef, Q
from django.db.models.functions import Now

from approvals import states
from approvals.models.requests import BACKEND, MAY_DECIDE, Decision
from orchestrator_site.core.models import AppendOnly
from tools.values import Risk


class StandingApprovalQuerySet(models.QuerySet["StandingApproval"]):
    def active(self) -> "StandingApprovalQuerySet":
        return self.filter(Q(expires_at=None) | Q(expires_at__gt=Now()), status=states.ACTIVE)

    def ended(self) -> "StandingApprovalQuerySet":
        return self.exclude(pk__in=self.model._default_manager.active().values("pk"))

    def usable_for(
        self, *, tool: str, version: int | None, agent: str, run_id: UUID, call_id: UUID | None
    ) -> "StandingApprovalQuerySet":
        """Those whose scope such a call lies in, the oldest first. One that this very call used up still serves it:
        it may have to be sent again."""
        unspent = Q(status=states.ACTIVE) | Q(status=states.USED_UP, used_by__call_id=call_id)
        rows = self.filter(unspent, Q(expires_at=None) | Q(expires_at__gt=Now()), tool=tool)
        rows = rows.vouched_for().filter(Q(tool_version=None) | Q(tool_version=version), Q(agent="") | Q(agent=agent))
        return rows.filter(Q(run_id=None) | Q(run_id=run_id)).order_by("pk").distinct()

    def vouched_for(self) -> Self:
        """Those whose giver may decide still, in the group that was asked."""
        givers = User.objects.with_perm(MAY_DECIDE, backend=BACKEND)
        in_group = givers.filter(pk=OuterRef("given_by"), groups__name=OuterRef("group"))
        return self.filter(Q(group="") | Exists(in_group), given_by__in=givers)

    def orphaned(self) -> Self:
        active = self.filter(status=states.ACTIVE)
        return active.exclude(pk__in=active.vouched_for().values("pk"))

    def overdue(self) -> "StandingApprovalQuerySet":
        return self.filter(status=states.ACTIVE, expires_at__lte=Now())


class StandingApproval(models.Model):
    """Given with a decision; its terms never change. It ends once: revoked, expired or used up.

    `pattern` is canonical JSON {argument: {kind, values}}, of `tools.patterns`. `risk` is the highest it covers.
    """

    id = models.BigAutoField(primary_key=True)
    tool = models.CharField(max_length=128)
    tool_version = models.BigIntegerField(null=True, blank=True, help_text="Empty: any version of the tool.")
    agent = models.CharField(max_length=80, blank=True, help_text="Empty: whichever agent calls it.")
    run_id = models.UUIDField(null=True, blank=True, help_text="Empty: in any run.")
    pattern = models.TextField()
    risk = models.CharField(max_length=10, choices=[(risk.value, risk.value) for risk in Risk])
    group = models.CharField(max_length=150, blank=True, help_text="The group that was asked when it was given.")
    decision = models.OneToOneField(Decision, on_delete=models.PROTECT, related_name="standing")
    given_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="standing_approvals")
    given_by_name = models.CharField(max_length=310)
    given_at = models.DateTimeField()
    reason = models.TextField(blank=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    uses_at_most = models.PositiveIntegerField(null=True, blank=True)

    uses = models.PositiveIntegerField(default=0)
    status = models.CharField(max_length=8, choices=states.STANDING.choices(), default=states.ACTIVE)
    ended_at = models.DateTimeField(null=True, blank=True)
    ended_by_name = models.CharField(max_length=310, blank=True)
    ended_why = models.TextField(blank=True)

    objects = StandingApprovalQuerySet.as_manager()

    class Meta:
        constraints = [
            states.STANDING.constraint(),
            models.CheckConstraint(
                name="standing_approval_bounded",
                condition=Q(run_id__isnull=False) | Q(expires_at__isnull=False) | Q(uses_at_most__isnull=False),
            ),
            models.CheckConstraint(
                name="standing_approval_not_overused",
                condition=Q(uses_at_most__isnull=True) | Q(uses__lte=F("uses_at_most")),
            ),
            models.CheckConstraint(
                name="standing_approval_ended_with_time",
                condition=Q(status=states.ACTIVE, ended_at__isnull=True)
                | (~Q(status=states.ACTIVE) & Q(ended_at__isnull=False)),
            ),
        ]
        indexes = [
            models.Index(fields=["tool"], name="standing_approval_by_tool"),
            models.Index(fields=["expires_at"], condition=Q(status=states.ACTIVE), name="standing_approval_by_expiry"),
        ]

    def __str__(self) -> str:
        return f"standing approval {self.pk} of {self.tool} ({self.status})"

    def delete(self, *args: Any, **kwargs: Any) -> Any:
        raise AppendOnly("A standing approval is revoked, never deleted.")


class StandingUse(models.Model):
    """One call that ran because it was approved beforehand, written with the intent to send it: once a call."""

    standing = models.ForeignKey(StandingApproval, on_delete=models.PROTECT, related_name="used_by")
    run_id = models.UUIDField()
    call_id = models.UUIDField(unique=True)
    arguments = models.TextField(help_text="Canonical JSON, as it was sent.")
    at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-pk"]

    def __str__(self) -> str:
        return f"call {self.call_id} by standing approval {self.standing_id}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise AppendOnly("A use never changes.")
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> Any:
        raise AppendOnly("A use is never deleted.")
