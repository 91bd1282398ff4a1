"""The frozen question to a person, and the person's one answer."""

import datetime as dt
from typing import Any

from django.conf import settings
from django.contrib.auth.models import AnonymousUser, User
from django.db import models
from django.db.models import Case, Count, Exists, OuterRef, Q, Subquery, When
from django.db.models.functions import Coalesce, Now

from approvals import permissions, states
from orchestrator_site.core import canonical
from orchestrator_site.core.ids import new_id
from orchestrator_site.core.models import AppendOnly
from tools.values import Risk

APPROVER = "approver"
OPERATOR = "operator"
REQUESTER = "requester"
ADDRESSEES = (APPROVER, OPERATOR, REQUESTER)

SESSION = "session"
TOKEN = "token"
CLOCK = "clock"
SYSTEM = "system"

# Whoever holds it may decide what is addressed to an approver or an operator, and answer what is asked of a requester.
MAY_DECIDE = "approvals.decide_approvalrequest"
BACKEND = "django.contrib.auth.backends.ModelBackend"
MAY_VIEW = "approvals.view_approvalrequest"

TITLE_LIMIT = 300
DUE_SOON = dt.timedelta(hours=1)


class ApprovalRequestQuerySet(models.QuerySet["ApprovalRequest"]):
    def open(self) -> "ApprovalRequestQuerySet":
        return self.filter(status=states.OPEN)

    def closed(self) -> "ApprovalRequestQuerySet":
        return self.exclude(status=states.OPEN)

    def overdue(self) -> "ApprovalRequestQuerySet":
        return self.open().filter(deadline_at__lte=Now())

    def leading(self) -> "ApprovalRequestQuerySet":
        """Of open requests: each that stands alone, and of those asked together the first that is still open."""
        ahead = ApprovalRequest.objects.open().filter(batch=OuterRef("batch"), place__lt=OuterRef("place"))
        return self.filter(Q(batch=None) | ~Exists(ahead))

    def with_calls(self) -> "ApprovalRequestQuerySet":
        """`calls`: how many open requests each stands for, itself among them."""
        together = ApprovalRequest.objects.open().filter(batch=OuterRef("batch")).order_by()
        counted = together.values("batch").annotate(count=Count("pk")).values("count")
        return self.annotate(calls=Case(When(batch=None, then=1), default=Coalesce(Subquery(counted), 1)))

    def in_queue_order(self) -> "ApprovalRequestQuerySet":
        """What is due within the hour comes first; in both halves the highest risk, then the nearest deadline."""
        later = Case(When(deadline_at__lt=Now() + DUE_SOON, then=0), default=1)
        rank = Case(*(When(risk=risk, then=risk.rank) for risk in Risk), default=0)
        return self.order_by(later, rank.desc(), "deadline_at", "id")

    def visible_to(self, user: User | AnonymousUser) -> "ApprovalRequestQuerySet":
        """All of them for who may view or decide requests; for others those of the runs they started."""
        if not user.is_authenticated or not user.is_active:
            return self.none()
        if user.has_perm(MAY_VIEW) or user.has_perm(MAY_DECIDE):
            return self.all()
        return self.filter(requester=user)

    def decidable_by(self, user: User | AnonymousUser) -> "ApprovalRequestQuerySet":
        """The open ones this user may decide now; a kind may still object to a single one (`eligibility.why_not`)."""
        if not user.is_authenticated or not user.is_active:
            return self.none()
        due = self.open().filter(deadline_at__gt=Now()).exclude(not_by__contains=[user.pk])
        due = due.exclude(four_eyes=True, requester=user).exclude(kind__in=permissions.not_for(user))
        due = due.filter(Q(group="") | Q(group__in=user.groups.values("name")))
        due = due.filter(Q(approvers=1) | ~Exists(Assent.objects.filter(request=OuterRef("pk"), by=user)))
        return due if user.has_perm(MAY_DECIDE) else due.filter(addressed_to=REQUESTER, requester=user)


class ApprovalRequest(models.Model):
    """A question to a person, frozen when it was asked; see `states.py` for its life.

    `frozen` is canonical JSON text and `digest` its SHA-256: the page is rendered from it, and what runs is compared
    with it. An edit never changes it: `edited_frozen` and `edited_digest` are what a person made of it.
    A trigger refuses to change what was asked, to reopen what was closed and to consume twice.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    kind = models.CharField(max_length=40)
    # Plain ids: the rooms that own these rows lie above this one.
    run_id = models.UUIDField(db_index=True)
    dispatch_id = models.UUIDField(null=True, blank=True)
    call_id = models.UUIDField(null=True, blank=True)

    title = models.CharField(max_length=TITLE_LIMIT, help_text="What is asked, in plain words on one line.")
    reasoning = models.TextField(blank=True, help_text="The agent's own words.")
    reasons = models.JSONField(default=list, help_text="Why a person is asked: sentences.")
    frozen = models.TextField()
    digest = models.CharField(max_length=64)
    risk = models.CharField(max_length=10, choices=[(risk.value, risk.value) for risk in Risk])
    policy_version = models.CharField(max_length=80, blank=True)

    # PROTECT: who started the run has to stay known, or a second pair of eyes could be the first.
    requester = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="requested_approvals"
    )
    addressed_to = models.CharField(max_length=10, choices=[(who, who) for who in ADDRESSEES], default=APPROVER)
    four_eyes = models.BooleanField(default=False, help_text="Who started the run may not decide.")
    not_by = models.JSONField(default=list, blank=True, help_text="Ids of users who may not decide.")
    approvers = models.PositiveSmallIntegerField(
        default=1, db_default=1, help_text="How many different people have to approve it."
    )
    group = models.CharField(
        max_length=150,
        blank=True,
        default="",
        db_default="",
        help_text="Only members of this group may decide; empty: whoever may decide.",
    )
    # Calls alike of one turn are one question (`batches`). Whether its requests are decided together may change, and
    # only to alone; what each of them asks does not.
    batch = models.UUIDField(null=True, blank=True)
    place = models.PositiveSmallIntegerField(
        default=0, db_default=0, help_text="Among those asked together: the riskiest is first."
    )
    supersedes = models.OneToOneField("self", null=True, blank=True, on_delete=models.PROTECT, related_name="successor")

    status = models.CharField(max_length=12, choices=states.REQUEST.choices(), default=states.OPEN)
    created_at = models.DateTimeField(db_default=Now())
    deadline_at = models.DateTimeField()
    decided_at = models.DateTimeField(null=True, blank=True)
    edited_frozen = models.TextField(null=True, blank=True)
    edited_digest = models.CharField(max_length=64, null=True, blank=True)
    consumed_at = models.DateTimeField(null=True, blank=True)
    consumed_by_attempt = models.CharField(max_length=40, blank=True)

    calls: int  # where it was read `with_calls()`

    objects = ApprovalRequestQuerySet.as_manager()

    class Meta:
        permissions = [("decide_approvalrequest", "Can decide approval requests")]
        constraints = [
            states.REQUEST.constraint(),
            models.CheckConstraint(name="approval_request_risk_known", condition=Q(risk__in=[r.value for r in Risk])),
            models.CheckConstraint(name="approval_request_addressee_known", condition=Q(addressed_to__in=ADDRESSEES)),
            models.CheckConstraint(name="approval_request_approvers_positive", condition=Q(approvers__gte=1)),
            models.CheckConstraint(
                name="approval_request_closed_with_time",
                condition=Q(status=states.OPEN, decided_at__isnull=True)
                | (~Q(status=states.OPEN) & Q(decided_at__isnull=False)),
            ),
            models.CheckConstraint(
                name="approval_request_edited_if_modified",
                condition=Q(status=states.MODIFIED, edited_frozen__isnull=False, edited_digest__isnull=False)
                | (~Q(status=states.MODIFIED) & Q(edited_frozen__isnull=True, edited_digest__isnull=True)),
            ),
            models.CheckConstraint(
                name="approval_request_consumed_if_permitted",
                condition=Q(consumed_at__isnull=True) | Q(status__in=sorted(states.PERMITTING)),
            ),
            models.UniqueConstraint(
                fields=["call_id"], condition=Q(status=states.OPEN), name="approval_request_one_open_per_call"
            ),
        ]
        indexes = [
            models.Index(fields=["deadline_at"], condition=Q(status=states.OPEN), name="approval_open_by_deadline"),
            models.Index(fields=["dispatch_id"], condition=Q(status=states.OPEN), name="approval_open_by_dispatch"),
            models.Index(
                fields=["batch", "place"],
                condition=Q(status=states.OPEN, batch__isnull=False),
                name="approval_open_batch",
            ),
            # Not of open ones: a sweep for the overdue has to go by deadline.
            models.Index(fields=["status", "id"], condition=~Q(status=states.OPEN), name="approval_closed_in_status"),
            models.Index(fields=["decided_at"], condition=~Q(status=states.OPEN), name="approval_decided"),
        ]

    def __str__(self) -> str:
        return f"{self.title} ({self.status})"

    @property
    def effective_frozen(self) -> str:
        """What may run: the edited text of a modified request, else the text as asked."""
        return self.frozen if self.edited_frozen is None else self.edited_frozen

    @property
    def effective_digest(self) -> str:
        return self.digest if self.edited_digest is None else self.edited_digest

    @property
    def content(self) -> dict[str, Any]:
        """What was asked, for pages and kinds."""
        return canonical.loads(self.frozen)

    @property
    def effective_content(self) -> dict[str, Any]:
        return canonical.loads(self.effective_frozen)


class Decision(models.Model):
    """How a request was closed, written once. Exactly one a request: of all who decide at once, one wins.

    `digest` is the one posted with the verdict: what the person saw. `arguments` is the edit as posted, canonical JSON.
    """

    VERDICTS = sorted(states.REQUEST.final)
    CHANNELS = (SESSION, TOKEN, CLOCK, SYSTEM)

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    request = models.OneToOneField(ApprovalRequest, on_delete=models.PROTECT, related_name="decision")
    verdict = models.CharField(max_length=12, choices=[(verdict, verdict) for verdict in VERDICTS])
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="decisions"
    )
    by_name = models.CharField(max_length=310)
    via = models.CharField(max_length=8, choices=[(channel, channel) for channel in CHANNELS])
    digest = models.CharField(max_length=64)
    reason = models.TextField(blank=True)
    stop = models.BooleanField(default=False, help_text="Rejected, and the agent's part ends here.")
    override = models.BooleanField(
        default=False, db_default=False, help_text="Permitted against what stood in its way; the reason says why."
    )
    arguments = models.TextField(null=True, blank=True)
    answer = models.TextField(null=True, blank=True)
    at = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="decision_verdict_known", condition=Q(verdict__in=sorted(states.REQUEST.final))
            ),
            models.CheckConstraint(
                name="decision_by_a_person_or_a_machine",
                condition=Q(via__in=[SESSION, TOKEN], by__isnull=False)
                | Q(via__in=[CLOCK, SYSTEM], by__isnull=True, verdict__in=[states.EXPIRED, states.SUPERSEDED]),
            ),
            models.CheckConstraint(
                name="decision_rejected_with_reason", condition=~Q(verdict=states.REJECTED) | ~Q(reason="")
            ),
            models.CheckConstraint(
                name="decision_overrides_with_reason",
                condition=Q(override=False) | (Q(verdict__in=sorted(states.PERMITTING)) & ~Q(reason="")),
            ),
            models.CheckConstraint(
                name="decision_stops_by_rejecting", condition=Q(stop=False) | Q(verdict=states.REJECTED)
            ),
            models.CheckConstraint(
                name="decision_answered_with_answer",
                condition=Q(verdict=states.ANSWERED, answer__isnull=False)
                | (~Q(verdict=states.ANSWERED) & Q(answer__isnull=True)),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.verdict} by {self.by_name}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise AppendOnly("A decision never changes.")
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> Any:
        raise AppendOnly("A decision is never deleted.")


class Assent(models.Model):
    """One of the approvals that a request for several people needs, written once; the last of them decides it.

    Whether it still counts is asked when the request is decided: who left the group meanwhile does not.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    # Without an index of its own: the one that keeps a person from approving twice begins with it.
    request = models.ForeignKey(ApprovalRequest, on_delete=models.PROTECT, related_name="assents", db_index=False)
    by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="assents")
    by_name = models.CharField(max_length=310)
    via = models.CharField(max_length=8, choices=[(channel, channel) for channel in (SESSION, TOKEN)])
    digest = models.CharField(max_length=64)
    reason = models.TextField(blank=True)
    at = models.DateTimeField()

    class Meta:
        ordering = ["at", "id"]
        constraints = [
            models.UniqueConstraint(fields=["request", "by"], name="assent_once_a_person"),
            models.CheckConstraint(name="assent_by_a_person", condition=Q(via__in=[SESSION, TOKEN])),
        ]

    def __str__(self) -> str:
        return f"approved by {self.by_name}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise AppendOnly("An approval that was given never changes.")
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> Any:
        raise AppendOnly("An approval that was given is never deleted.")
