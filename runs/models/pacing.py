"""What holds up work that is allowed: kill switches, rates, places, circuit breakers; and whose turn it is."""

import datetime as dt
import difflib
import re

from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models.functions import Now

from agents.models import Agent, ModelEntry
from orchestrator_site.core import roles
from runs import states
from runs.models.dispatches import Dispatch
from tools import registry
from tools.models import Tool

ALL, APP, AGENT, TOOL, CREDENTIAL, HOST = "all", "app", "agent", "tool", "credential", "host"
SWITCH_SCOPES = (ALL, APP, AGENT, TOOL, CREDENTIAL)
MAY_THROW = "runs.throw_switch"
# Instead of a name: each of its scope by itself.
EACH = "*"
CALLS, MODEL_CALLS = "calls", "model calls"
RATE_SCOPES = {CALLS: (TOOL, CREDENTIAL, HOST, AGENT, APP), MODEL_CALLS: (CREDENTIAL, HOST, AGENT, APP)}
MODEL = "model"
PLACE_SCOPES = (AGENT, TOOL, MODEL, HOST)
BREAKER_KINDS = (MODEL, TOOL, AGENT)
MAY_MOVE_BREAKERS = "runs.move_breaker"
OFFERED = 500
_HOST = re.compile(r"[a-z0-9.:-]+")
_PERIODS = {1: "a second", 60: "a minute", 3600: "an hour", 86_400: "a day"}


def is_known(scope: str, name: str) -> bool:
    """Whether there is such a thing. A credential and a host are known by their use, and that may come later."""
    match scope:
        case "app":
            return User.objects.filter(username=name).exists()
        case "agent":
            return Agent.objects.filter(slug=name).exists()
        case "tool":
            return registry.platform_tool(name) is not None or Tool.objects.filter(name=name).exists()
        case "model":
            return ModelEntry.objects.filter(name=name).exists()
        case "host":
            return _HOST.fullmatch(name) is not None
    return name.isidentifier()


def no_such(scope: str, name: str) -> str:
    """The sentence where there is none, with what may have been meant."""
    close = difflib.get_close_matches(name, _names(scope), n=1)
    return f"There is no {scope} {name!r}" + (f"; did you mean {close[0]!r}?" if close else ".")


def offered() -> list[tuple[str, str]]:
    """What a person may name, each with its scope, for the fields where a name is typed. One query."""
    first, *others = (_named(scope).annotate(scope=models.Value(scope)) for scope in (AGENT, TOOL, MODEL, APP))
    rows = first.values_list("scope", "called").union(*(each.values_list("scope", "called") for each in others))
    return sorted(rows[:OFFERED])


def _names(scope: str) -> list[str]:
    return list(_named(scope).values_list("called", flat=True)) if scope not in (CREDENTIAL, HOST) else []


def _named(scope: str) -> models.QuerySet:
    rows, name = {
        APP: (User.objects.filter(groups__name=roles.APP), "username"),
        AGENT: (Agent.objects.all(), "slug"),
        TOOL: (Tool.objects.all(), "name"),
        MODEL: (ModelEntry.objects.all(), "name"),
    }[scope]
    return rows.order_by().annotate(called=models.F(name))


class SwitchQuerySet(models.QuerySet):
    def thrown(self) -> "SwitchQuerySet":
        return self.filter(is_thrown=True)


class Switch(models.Model):
    """A kill switch. While it is thrown, no intent of what it names commits, and what would need one waits.

    `name` is the username of an app, the slug of an agent, the name of a tool, the NAME of a credential written as
    `env:NAME`; empty for all. `by_name` is who moved it last, and why it was thrown is `reason`. Moved by
    `pacing.switches` alone.
    """

    scope = models.CharField(max_length=10, choices=[(scope, scope) for scope in SWITCH_SCOPES])
    name = models.CharField(max_length=150, blank=True)
    is_thrown = models.BooleanField(default=False)
    reason = models.CharField(max_length=300, blank=True)
    by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+")
    by_name = models.CharField(max_length=150)
    moved_at = models.DateTimeField(db_default=Now())

    objects = SwitchQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["scope", "name"], name="switch_once"),
            models.CheckConstraint(name="switch_scope_known", condition=models.Q(scope__in=SWITCH_SCOPES)),
        ]
        ordering = ["-is_thrown", "scope", "name"]
        verbose_name_plural = "switches"
        permissions = [("throw_switch", "Can throw and release kill switches")]

    def __str__(self) -> str:
        return "the switch of everything" if self.scope == ALL else f"the switch of {self.scope} {self.name}"

    @property
    def key(self) -> str:
        """As `Dispatch.held_by` names it."""
        return f"switch:{self.scope}:{self.name}"


class RateLimit(models.Model):
    """At most `count` calls in `per_seconds`, and `burst` of them at once; `counts` says of which kind.

    `name` is as a switch's, a host name, or EACH: a bucket of its own for each of the scope. One of a name stands in
    for that of EACH. A call that is over takes a place in the bucket's future, and waits for it.
    """

    scope = models.CharField(max_length=10, choices=[(scope, scope) for scope in RATE_SCOPES[CALLS]])
    name = models.CharField(max_length=253, default=EACH, help_text="“*”: each by itself")
    counts = models.CharField(max_length=12, choices=[(kind, kind) for kind in RATE_SCOPES], default=CALLS)
    count = models.PositiveIntegerField()
    per_seconds = models.PositiveIntegerField(default=60)
    burst = models.PositiveIntegerField(
        null=True, blank=True, help_text="how many at once, when none came for a while; empty: the whole count"
    )
    active = models.BooleanField(default=True)

    class Meta:
        ordering = ["scope", "name", "counts"]
        constraints = [
            models.UniqueConstraint(fields=["scope", "name", "counts"], name="rate_limit_once"),
            models.CheckConstraint(
                name="rate_limit_bounded",
                condition=models.Q(count__gte=1, per_seconds__gte=1)
                & (models.Q(burst__isnull=True) | models.Q(burst__gte=1)),
            ),
        ]

    def __str__(self) -> str:
        what = "each " + self.scope if self.name == EACH else f"{self.scope} {self.name}"
        return f"{self.counted} of {what} in {self.period}"

    @property
    def counted(self) -> str:
        return f"{self.count} {self.counts if self.count > 1 else self.counts.removesuffix('s')}"

    @property
    def period(self) -> str:
        return _PERIODS.get(self.per_seconds, f"{self.per_seconds} s")

    @property
    def interval(self) -> dt.timedelta:
        """Between two calls in the long run; rounded up, so that no rounding lets a call too many through."""
        return dt.timedelta(microseconds=-(-self.per_seconds * 1_000_000 // self.count))

    @property
    def at_once(self) -> int:
        return self.burst or self.count

    def clean(self) -> None:
        if self.scope and self.scope not in RATE_SCOPES.get(self.counts, ()):
            raise ValidationError({"scope": f"{self.counts.capitalize()} have no {self.scope}."})
        if self.name != EACH and not is_known(self.scope, self.name):
            raise ValidationError({"name": f"There is no {self.scope} {self.name!r}; “*” is each of them."})


class RateBucket(models.Model):
    """What is used up of one limit, for one name. `key` is the name; of an app, the id of its user.

    `spent_to`: the moment to which what was taken has used the rate up; in the past, the bucket is full. `promised_to`
    and `made_up_to` are the last places that were given to who came, and to who was late for his place.
    """

    limit = models.ForeignKey(RateLimit, on_delete=models.CASCADE, related_name="buckets", db_index=False)
    key = models.CharField(max_length=253)
    spent_to = models.DateTimeField()
    promised_to = models.DateTimeField()
    made_up_to = models.DateTimeField()

    class Meta:
        ordering = ["pk"]
        constraints = [models.UniqueConstraint(fields=["limit", "key"], name="rate_bucket_once")]

    def __str__(self) -> str:
        return f"{self.limit}: {self.key}"


class PlaceLimit(models.Model):
    """At most so many at once: dispatches of an agent at work, calls of a tool, a model or a host under way.

    `name` is a slug, a tool, a model of the catalogue, a host name, or EACH. One of a name stands in for that of EACH.
    """

    scope = models.CharField(max_length=10, choices=[(scope, scope) for scope in PLACE_SCOPES])
    name = models.CharField(max_length=253, default=EACH, help_text="“*”: each by itself")
    most = models.PositiveIntegerField()
    active = models.BooleanField(default=True)

    class Meta:
        ordering = ["scope", "name"]
        constraints = [
            models.UniqueConstraint(fields=["scope", "name"], name="place_limit_once"),
            models.CheckConstraint(name="place_limit_bounded", condition=models.Q(most__gte=1)),
        ]

    def __str__(self) -> str:
        what = f"each {self.scope}" if self.name == EACH else f"{self.scope} {self.name}"
        return f"{self.most} at once of {what}"

    def clean(self) -> None:
        if self.name != EACH and not is_known(self.scope, self.name):
            raise ValidationError({"name": f"There is no {self.scope} {self.name!r}; “*” is each of them."})


class Place(models.Model):
    """A call under way that is counted under a limit, for as long as its dispatch works under this fence."""

    limit = models.ForeignKey(PlaceLimit, on_delete=models.CASCADE, related_name="places", db_index=False)
    key = models.CharField(max_length=253)
    dispatch = models.ForeignKey(Dispatch, on_delete=models.CASCADE, related_name="places")
    fence = models.BigIntegerField()
    taken_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["pk"]
        indexes = [models.Index(fields=["limit", "key"], name="place_of_limit")]

    def __str__(self) -> str:
        return f"{self.limit}: {self.key}"


class AppShare(models.Model):
    """An app's share of the workers where several apps want them; one without a row has a weight of 1."""

    app = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="share")
    weight = models.FloatField(default=1, help_text="2: twice as many dispatches at work as an app of 1")

    class Meta:
        ordering = ["app"]
        constraints = [models.CheckConstraint(name="app_share_positive", condition=models.Q(weight__gt=0))]

    def __str__(self) -> str:
        return f"{self.app}: {self.weight:g}"


class BreakerQuerySet(models.QuerySet):
    def not_closed(self) -> "BreakerQuerySet":
        return self.exclude(status=states.CLOSED)


class Breaker(models.Model):
    """The circuit breaker of a model of the catalogue, a tool or an agent. Moved by `pacing.breakers` alone.

    Closed: `failures` were counted since `window_from`. Open: nothing of it is begun; from `tries_at` on it may be
    probed, and where that is empty a person opened it, who closes it. Half open: `probing` are the ids of the
    dispatches, or of the calls, that try it, `probes_left` says how many more may, and from `tries_at` on others may
    in place of those that were not heard of. `reason` is why it was moved last, and
    `by_name` the person who did, if one did.
    """

    kind = models.CharField(max_length=10, choices=[(kind, kind) for kind in BREAKER_KINDS])
    name = models.CharField(max_length=150)
    status = models.CharField(
        max_length=10, choices=states.BREAKER.choices(), default=states.CLOSED, db_default=states.CLOSED
    )
    failures = models.PositiveIntegerField(default=0, db_default=0)
    window_from = models.DateTimeField(db_default=Now())
    tries_at = models.DateTimeField(null=True)
    probes_left = models.PositiveIntegerField(default=0, db_default=0)
    probing = ArrayField(models.UUIDField(), default=list, db_default=[])
    reason = models.CharField(max_length=300, blank=True, default="", db_default="")
    by_name = models.CharField(max_length=150, blank=True, default="", db_default="")
    moved_at = models.DateTimeField(db_default=Now())

    objects = BreakerQuerySet.as_manager()

    class Meta:
        ordering = ["kind", "name"]
        constraints = [
            models.UniqueConstraint(fields=["kind", "name"], name="breaker_once"),
            models.CheckConstraint(name="breaker_kind_known", condition=models.Q(kind__in=BREAKER_KINDS)),
            states.BREAKER.constraint(),
        ]
        permissions = [("move_breaker", "Can open and close circuit breakers")]

    def __str__(self) -> str:
        return f"the breaker of {self.kind} {self.name}"

    @property
    def key(self) -> str:
        """As `Dispatch.held_by` names it."""
        return f"breaker:{self.kind}:{self.name}"
