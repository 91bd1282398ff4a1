"""Policies as rows: numbered versions, each with its rules and its time windows. Only a draft is ever changed."""

import datetime as dt
from dataclasses import asdict
from typing import Any, Self

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from orchestrator_site.core.models import AppendOnly
from orchestrator_site.core.transitions import machine
from tools.policies.values import Flow, Outcome, Rule, Scope, Window
from tools.policies.values import Policy as PolicyValue
from tools.values import Effect, Label, Risk

DRAFT, PROPOSED, PUBLISHED, REPLACED, DISCARDED = "draft", "proposed", "published", "replaced", "discarded"
POLICY = machine(
    "policy",
    {
        DRAFT: {PROPOSED, PUBLISHED, DISCARDED},
        PROPOSED: {DRAFT, PUBLISHED, DISCARDED},  # a weaker one waits for a second person
        PUBLISHED: {REPLACED},
        REPLACED: set(),
        DISCARDED: set(),
    },
)
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
RISKS = [(risk.value, risk.value) for risk in Risk]
LABELS = [(label.value, label.value) for label in Label]


class PolicyQuerySet(models.QuerySet["Policy"]):
    def published(self) -> "Policy | None":
        """The one in force."""
        return self.filter(status=PUBLISHED).first()

    def shadows(self) -> Self:
        """Drafts that are tried on every live call, without effect."""
        return self.filter(status__in=[DRAFT, PROPOSED], shadow=True)

    def whole(self) -> Self:
        return self.prefetch_related("rules", "windows")


class Policy(models.Model):
    """One version. `based_on` is the version it was drafted from; `shadow`: tried on live calls, without effect,
    since `shadow_since`, which stays when that ends.

    `digest` is of the content that was proposed or published. `proposed_by` asked for a second person, and `why_weaker`
    says what for; `published_by` published it: with a weaker one, another person than who proposed it.
    """

    number = models.PositiveIntegerField(unique=True)
    status = models.CharField(max_length=10, choices=POLICY.choices(), default=DRAFT)
    note = models.CharField(max_length=300, blank=True, help_text="What this version changes, in a sentence.")
    based_on = models.ForeignKey("self", null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    shadow = models.BooleanField(
        default=False, help_text="Try this draft on every live call and keep what it would have said, without effect."
    )
    shadow_since = models.DateTimeField(null=True, blank=True)
    notify_from = models.CharField(max_length=10, choices=RISKS, default=Risk.MEDIUM)
    ask_from = models.CharField(max_length=10, choices=RISKS, default=Risk.HIGH)
    four_eyes_from = models.CharField(max_length=10, choices=RISKS, default=Risk.CRITICAL)
    flow = models.CharField(
        max_length=10,
        choices=[(Flow.ASK.value, "a person is asked"), (Flow.DENY.value, "it is refused")],
        default=Flow.ASK,
        verbose_name="acts on unvouched content",
        help_text="When an agent has read untrusted content, and nobody vouches for an argument of what it would do.",
    )
    digest = models.CharField(max_length=64, blank=True)
    why_weaker = models.JSONField(default=list, blank=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    created_at = models.DateTimeField(db_default=Now())
    proposed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    published_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    published_at = models.DateTimeField(null=True, blank=True)

    objects = PolicyQuerySet.as_manager()

    class Meta:
        ordering = ["-number"]
        verbose_name_plural = "policies"
        constraints = [
            POLICY.constraint(),
            models.UniqueConstraint(fields=["status"], name="policy_one_published", condition=Q(status=PUBLISHED)),
        ]
        permissions = [("publish_policy", "Can publish policies")]

    def __str__(self) -> str:
        return f"policy {self.number}"

    @property
    def is_editable(self) -> bool:
        return self.status == DRAFT

    @property
    def version(self) -> str:
        return f"policy-{self.number}"

    def value(self) -> PolicyValue:
        """As the gate reads it. Reads rules and windows, unless they were prefetched."""
        return PolicyValue(
            version=self.version,
            rules=tuple(rule.value() for rule in self.rules.all()),
            windows={window.name: window.value() for window in self.windows.all()},
            notify_from=Risk(self.notify_from),
            ask_from=Risk(self.ask_from),
            four_eyes_from=Risk(self.four_eyes_from),
            flow=Flow(self.flow),
        )

    def delete(self, *args: Any, **kwargs: Any) -> Any:
        raise AppendOnly("A policy is discarded, never deleted: rulings name it.")


class PolicyRule(models.Model):
    """One rule of a version; `position` is the order in which people read them. What each column means says
    `tools.policies.values`."""

    policy = models.ForeignKey(Policy, on_delete=models.PROTECT, related_name="rules")
    position = models.PositiveIntegerField(default=0)
    name = models.CharField(max_length=80, help_text="short, and once in a policy: it is stored with each ruling")
    tool = models.CharField(max_length=64, blank=True)
    family = models.CharField(max_length=40, blank=True)
    agent = models.CharField(max_length=50, blank=True)
    app = models.CharField(max_length=150, blank=True, help_text="the user whose token starts the runs")
    role = models.CharField(max_length=150, blank=True, help_text="a group of who started the run")
    effect = models.CharField(max_length=10, blank=True, choices=[(e.value, e.value) for e in Effect])
    risk = models.CharField(max_length=10, blank=True, choices=RISKS, help_text="this risk and every higher one")
    label = models.CharField(max_length=10, blank=True, choices=LABELS, help_text="of what the agent has read")
    condition = models.TextField(
        blank=True, help_text="CEL over the documented facts, such as args.amount > 50; empty: always"
    )
    window = models.CharField(max_length=40, blank=True, help_text="the rule holds only outside this window")
    outcome = models.CharField(max_length=10, choices=[(o.value, o.value.replace("_", " ")) for o in Outcome])
    approvers = models.PositiveSmallIntegerField(
        default=1, validators=[MinValueValidator(1), MaxValueValidator(9)], help_text="how many people, where it asks"
    )
    group = models.CharField(max_length=150, blank=True, help_text="of which group; empty: whoever may decide")
    says = models.CharField(max_length=300, help_text="the sentence that people read when this rule decides")
    expires_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["position", "pk"]
        constraints = [
            models.UniqueConstraint(fields=["policy", "name"], name="policy_rule_name_once"),
            models.CheckConstraint(name="policy_rule_approvers", condition=Q(approvers__gte=1, approvers__lte=9)),
        ]

    def __str__(self) -> str:
        return self.name

    def save(self, *args: Any, **kwargs: Any) -> None:
        _only_drafts(self.policy)
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> Any:
        _only_drafts(self.policy)
        return super().delete(*args, **kwargs)

    @classmethod
    def of(cls, rule: Rule, policy: Policy, position: int) -> Self:
        """Not saved."""
        told = {name: getattr(rule, name) for name in ("name", "outcome", "condition", "says", "approvers", "group")}
        rest = {"window": rule.window, "expires_at": rule.expires_at}
        return cls(policy=policy, position=position, **told, **rest, **asdict(rule.scope))

    def scope(self) -> Scope:
        return Scope(**{name: getattr(self, name) for name in Scope.__dataclass_fields__})

    def value(self) -> Rule:
        return Rule(
            name=self.name,
            outcome=Outcome(self.outcome),
            scope=self.scope(),
            condition=self.condition.strip(),
            says=self.says,
            approvers=self.approvers,
            group=self.group,
            window=self.window,
            expires_at=self.expires_at,
        )


class PolicyWindow(models.Model):
    """A named time window of one version. `days` are numbers, 0 for Monday; `except_dates` local dates as text."""

    policy = models.ForeignKey(Policy, on_delete=models.PROTECT, related_name="windows")
    name = models.CharField(max_length=40, help_text="such as office_hours; conditions say windows.office_hours")
    zone = models.CharField(max_length=60, default="UTC", help_text="such as Europe/Berlin")
    days = models.JSONField(default=list)
    opens = models.TimeField(default=dt.time(9))
    closes = models.TimeField(default=dt.time(17), help_text="the next day's, where it is not later than it opens")
    except_dates = models.JSONField(default=list, blank=True, help_text="dates on which it stays closed")

    class Meta:
        ordering = ["name"]
        constraints = [models.UniqueConstraint(fields=["policy", "name"], name="policy_window_once")]

    def __str__(self) -> str:
        return self.name

    def save(self, *args: Any, **kwargs: Any) -> None:
        _only_drafts(self.policy)
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> Any:
        _only_drafts(self.policy)
        return super().delete(*args, **kwargs)

    @classmethod
    def of(cls, window: Window, policy: Policy) -> Self:
        """Not saved."""
        dates = sorted(date.isoformat() for date in window.except_dates)
        told = {name: getattr(window, name) for name in ("name", "zone", "opens", "closes")}
        return cls(policy=policy, days=sorted(window.days), except_dates=dates, **told)

    def value(self) -> Window:
        return Window(
            name=self.name,
            zone=self.zone,
            days=frozenset(self.days),
            opens=self.opens,
            closes=self.closes,
            except_dates=frozenset(dt.date.fromisoformat(date) for date in self.except_dates),
        )


def _only_drafts(policy: Policy) -> None:
    if not policy.is_editable:
        raise ValidationError(f"{policy} is {policy.status}; only a draft is changed. Make a draft of it.")
