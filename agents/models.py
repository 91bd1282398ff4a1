"""Agents with their manifest versions, the model catalogue, and what each worker process serves."""

import datetime as dt
from typing import Any, Self

from django.conf import settings
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from agents.errors import ManifestIsPublished
from agents.values import AgentKind, ManifestSpec, ModelSpec

# With `dispatch_to_` in front, a slug of 50 characters still fits the 64 that model servers allow a tool's name.
SLUG = r"^[a-z0-9]+(-[a-z0-9]+)*\Z"
SLUG_LENGTH = 50
# A reference, never a secret: the database itself refuses anything else in this column.
CREDENTIAL = r"^(env:[A-Za-z_][A-Za-z0-9_]*)?\Z"


class AgentQuerySet(models.QuerySet["Agent"]):
    def at_work(self) -> Self:
        """Active, with a published manifest: those on the roster."""
        return self.filter(active=True, published__isnull=False)


class Agent(models.Model):
    """Identity of a worker. What it is and does stands in its manifests; `published` is the version it works by."""

    slug = models.CharField(
        max_length=SLUG_LENGTH,
        unique=True,
        validators=[RegexValidator(SLUG, "Use lower-case letters, digits and single dashes between them.")],
    )
    active = models.BooleanField(default=True)
    published = models.ForeignKey("Manifest", null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(db_default=Now())

    objects = AgentQuerySet.as_manager()

    class Meta:
        ordering = ["slug"]
        constraints = [models.CheckConstraint(name="agent_slug_well_formed", condition=Q(slug__regex=SLUG))]

    def __str__(self) -> str:
        return self.slug


class ManifestQuerySet(models.QuerySet["Manifest"]):
    def drafts(self) -> Self:
        return self.filter(published_at__isnull=True)

    def published(self) -> Self:
        return self.filter(published_at__isnull=False)

    def with_agent(self) -> Self:
        return self.select_related("agent")


class Manifest(models.Model):
    """One version of an agent. A draft (`published_at` null) may be edited; published, it never changes again.

    The JSON columns hold what `ManifestSpec` makes of them: `models` and `handoff_targets` are lists of names,
    `grants` a list of `GrantSpec`, `limits` one `Limits`. The database refuses changes of published rows by trigger.
    """

    agent = models.ForeignKey(Agent, on_delete=models.PROTECT, related_name="manifests")
    number = models.PositiveIntegerField()
    title = models.CharField(max_length=120)
    owns = models.CharField(max_length=300)
    kind = models.CharField(max_length=10, choices=[(kind.value, kind.value) for kind in AgentKind])
    system_prompt = models.TextField()
    grants = models.JSONField(default=list, blank=True)
    limits = models.JSONField(default=dict, blank=True)
    handoff_targets = models.JSONField(default=list, blank=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    created_at = models.DateTimeField(db_default=Now())
    published_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    published_at = models.DateTimeField(null=True, blank=True)

    # The last column on purpose: its name hides the module `models` from the lines below it.
    models = models.JSONField()

    objects = ManifestQuerySet.as_manager()

    class Meta:
        ordering = ["agent", "-number"]
        constraints = [
            models.UniqueConstraint(fields=["agent", "number"], name="manifest_number_once"),
            models.CheckConstraint(
                name="manifest_kind_known", condition=Q(kind__in=[kind.value for kind in AgentKind])
            ),
        ]

    def __str__(self) -> str:
        return f"{self.agent.slug} v{self.number}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        self._refuse_when_published()
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        self._refuse_when_published()
        return super().delete(*args, **kwargs)

    @property
    def is_draft(self) -> bool:
        return self.published_at is None

    def spec(self) -> ManifestSpec:
        """Raises pydantic's ValidationError when the row cannot be read as a manifest."""
        return ManifestSpec.model_validate({name: getattr(self, name) for name in ManifestSpec.model_fields})

    def take(self, spec: ManifestSpec) -> None:
        """Set every column from a spec, unsaved."""
        for name, value in spec.model_dump(mode="json").items():
            setattr(self, name, value)

    def _refuse_when_published(self) -> None:
        # Asked of the table: the instance in hand may have been read before the publishing.
        if self.pk and Manifest.objects.published().filter(pk=self.pk).exists():
            raise ManifestIsPublished("A published manifest never changes: draft the next version instead.")


class ModelEntryQuerySet(models.QuerySet["ModelEntry"]):
    def enabled(self) -> Self:
        return self.filter(enabled=True)


class ModelEntry(models.Model):
    """A model of the catalogue. Ids and prices are data: an operator adds a model without a release.

    Prices are US dollars per million tokens. `credential` names where the key is found, never the key.
    """

    name = models.CharField(max_length=80, unique=True, help_text="what manifests call it")
    provider_model = models.CharField(max_length=120, help_text="what the model server calls it")
    endpoint = models.URLField(blank=True, help_text="base URL; empty: the installation's default")
    credential = models.CharField(
        max_length=120,
        blank=True,
        validators=[RegexValidator(CREDENTIAL, "Write a reference, “env:NAME”, never the key itself.")],
        help_text="“env:NAME”: the environment variable that holds the key; empty: the installation's default",
    )
    context_window = models.PositiveIntegerField(help_text="tokens of input and output together")
    output_limit = models.PositiveIntegerField(help_text="output tokens of one call")
    input_price = models.DecimalField(max_digits=12, decimal_places=6)
    output_price = models.DecimalField(max_digits=12, decimal_places=6)
    cache_read_price = models.DecimalField(max_digits=12, decimal_places=6)
    cache_write_price = models.DecimalField(max_digits=12, decimal_places=6)
    enabled = models.BooleanField(default=True)

    objects = ModelEntryQuerySet.as_manager()

    class Meta:
        ordering = ["name"]
        verbose_name_plural = "model entries"
        constraints = [
            models.CheckConstraint(name="model_credential_is_a_reference", condition=Q(credential__regex=CREDENTIAL)),
            models.CheckConstraint(
                name="model_prices_not_negative",
                condition=Q(input_price__gte=0)
                & Q(output_price__gte=0)
                & Q(cache_read_price__gte=0)
                & Q(cache_write_price__gte=0),
            ),
            models.CheckConstraint(
                name="model_limits_fit",
                condition=Q(output_limit__gte=1) & Q(context_window__gte=F("output_limit")),
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def spec(self) -> ModelSpec:
        return ModelSpec(**{name: getattr(self, name) for name in ModelSpec.__dataclass_fields__})


class OrderingRule(models.Model):
    """In any plan, the nodes of `before` come ahead of the nodes of `after`: design before implementation."""

    before = models.ForeignKey(Agent, on_delete=models.CASCADE, related_name="comes_before")
    after = models.ForeignKey(Agent, on_delete=models.CASCADE, related_name="comes_after")
    reason = models.CharField(max_length=200)

    class Meta:
        ordering = ["before__slug", "after__slug"]
        constraints = [
            models.UniqueConstraint(fields=["before", "after"], name="ordering_rule_once"),
            models.CheckConstraint(name="ordering_rule_of_two", condition=~Q(before=F("after"))),
        ]

    def __str__(self) -> str:
        return f"{self.before.slug} before {self.after.slug}"


class RosterEpoch(models.Model):
    """One row: a number that grows with every committed change of what workers serve. See `roster.bump`."""

    id = models.SmallIntegerField(primary_key=True, default=1)
    epoch = models.BigIntegerField(default=0)

    class Meta:
        constraints = [models.CheckConstraint(name="roster_epoch_is_one_row", condition=Q(id=1))]

    def __str__(self) -> str:
        return f"epoch {self.epoch}"


class WorkerRosterQuerySet(models.QuerySet["WorkerRoster"]):
    def seen_within(self, seconds: float) -> Self:
        return self.filter(seen_at__gte=Now() - dt.timedelta(seconds=seconds))


class WorkerRoster(models.Model):
    """What one process serves, by its own word; written by its listener, every few seconds and at every change."""

    worker = models.CharField(max_length=200, primary_key=True)
    host = models.CharField(max_length=200)
    pid = models.IntegerField()
    epoch = models.BigIntegerField()
    error = models.TextField(blank=True)
    started_at = models.DateTimeField(db_default=Now())
    seen_at = models.DateTimeField(db_default=Now())

    objects = WorkerRosterQuerySet.as_manager()

    class Meta:
        ordering = ["worker"]

    def __str__(self) -> str:
        return f"{self.worker} serves {self.epoch}"
