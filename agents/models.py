"""Agents with their manifest versions, the model catalogue, and what each worker process serves."""

import datetime as dt
from decimal import Decimal
from typing import Any, Self

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from agents.errors import ManifestIsPublished
from agents.routing.values import SAMPLE
from agents.values import AgentKind, Edge, ManifestSpec, ModelSpec, Transfer, no_such
from orchestrator_site.core import json_schema
from tools import conditions

# With `dispatch_to_` in front, a slug of 50 characters still fits the 64 that model servers allow a tool's name.
SLUG = r"^[a-z0-9]+(-[a-z0-9]+)*\Z"
SLUG_LENGTH = 50
# A reference, never a secret: the database itself refuses anything else in this column.
CREDENTIAL = r"^(env:[A-Za-z_][A-Za-z0-9_]*)?\Z"
# Of characters: a request as people write it, not a letter with what it encloses.
EXEMPLAR_LENGTH = 500


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
    `exemplars` of texts, `grants` of `GrantSpec`, `limits` is one `Limits`, `output_schema` a JSON Schema or null. The
    database refuses changes of published rows by trigger.
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
    summariser = models.CharField(max_length=SLUG_LENGTH, blank=True, default="", db_default="")
    output_schema = models.JSONField(null=True, blank=True)
    routable = models.BooleanField(default=True, db_default=True)
    exemplars = models.JSONField(default=list, blank=True, db_default=[])
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


PRICES = ("input_price", "output_price", "cache_read_price", "cache_write_price")


class ModelEntryQuerySet(models.QuerySet["ModelEntry"]):
    def enabled(self) -> Self:
        return self.filter(enabled=True)


class ModelEntry(models.Model):
    """A model of the catalogue. Ids and prices are data: an operator adds a model without a release.

    Prices are US dollars per million tokens; a model without them is never asked, since no cap could hold for it: what
    costs nothing has prices of 0. `credential` names where the key is found, never the key.
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
    input_price = models.DecimalField(max_digits=12, decimal_places=6, null=True, blank=True)
    output_price = models.DecimalField(max_digits=12, decimal_places=6, null=True, blank=True)
    cache_read_price = models.DecimalField(max_digits=12, decimal_places=6, null=True, blank=True)
    cache_write_price = models.DecimalField(max_digits=12, decimal_places=6, null=True, blank=True)
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
                name="model_priced_whole",
                condition=Q(**{f"{price}__isnull": False for price in PRICES})
                | Q(**{f"{price}__isnull": True for price in PRICES}),
                violation_error_message="Give all four prices, 0 where something costs nothing, or none of them.",
            ),
            models.CheckConstraint(
                name="model_limits_fit",
                condition=Q(output_limit__gte=1) & Q(context_window__gte=F("output_limit")),
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def spec(self) -> ModelSpec:
        known = {name: getattr(self, name) for name in ModelSpec.__dataclass_fields__ if name != "is_priced"}
        if self.input_price is None:
            known |= dict.fromkeys(PRICES, Decimal(0))
        return ModelSpec(**known, is_priced=self.input_price is not None)


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


class Transition(models.Model):
    """What may pass from one agent to another: by a handoff, and by `dispatch_to_*` and plans. An `Edge` says what the
    columns mean; without a source the row speaks of whoever names the target, and lends its contract to the rows that
    have none. Saving a row that cannot be kept raises ValidationError at its column."""

    source = models.ForeignKey(
        Agent, null=True, blank=True, on_delete=models.CASCADE, related_name="+", help_text="empty: any agent"
    )
    target = models.ForeignKey(Agent, on_delete=models.CASCADE, related_name="+")
    may_hand_over = models.BooleanField(default=True, help_text="where the source's manifest lists the target, too")
    may_dispatch = models.BooleanField(default=True, help_text="for routers, supervisors and planners")
    contract = models.JSONField(
        null=True, blank=True, help_text="JSON Schema of the state that a proposal has to carry; empty: any, or none"
    )
    transfer = models.CharField(
        max_length=10, default=Transfer.STRUCTURED.value, choices=[(each.value, each.value) for each in Transfer]
    )
    summariser = models.ForeignKey(
        Agent,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
        help_text="who writes the summary; empty: as the source's manifest says, else the installation",
    )
    deadline_seconds = models.PositiveIntegerField(
        null=True, blank=True, help_text="a proposal expires after so long; empty: as the installation says"
    )
    source_watches = models.BooleanField(
        default=False, help_text="the source is told what the target came to, and has the last word"
    )
    ring_limit = models.PositiveSmallIntegerField(
        default=2, help_text="how often the target may stand in one chain of handoffs"
    )

    class Meta:
        ordering = ["source__slug", "target__slug"]
        constraints = [
            models.UniqueConstraint(fields=["source", "target"], nulls_distinct=False, name="transition_once"),
            models.CheckConstraint(name="transition_of_two", condition=Q(source=None) | ~Q(source=F("target"))),
            models.CheckConstraint(name="transition_ring", condition=Q(ring_limit__gte=1) & Q(ring_limit__lte=10)),
            models.CheckConstraint(
                name="transition_deadline", condition=Q(deadline_seconds=None) | Q(deadline_seconds__gte=1)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.source.slug if self.source else 'anyone'} → {self.target.slug}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        self.full_clean()
        super().save(*args, **kwargs)

    def clean(self) -> None:
        faults = {}
        if self.contract is not None and (fault := _contract_fault(self.contract)):
            faults["contract"] = fault
        if fault := self._summariser_fault():
            faults["summariser"] = fault
        if faults:
            raise ValidationError(faults)

    def _summariser_fault(self) -> str:
        if self.summariser is None:
            return ""
        published = self.summariser.published
        if published is None or published.kind != AgentKind.WORKER:
            return f"{self.summariser.slug} is no published worker: a summary is the text of one."
        return ""

    def edge(self) -> Edge:
        """Expects `summariser` to be joined."""
        own = {name: getattr(self, name) for name in Edge.__dataclass_fields__}
        summariser = self.summariser.slug if self.summariser else ""
        return Edge(**own | {"transfer": Transfer(self.transfer), "summariser": summariser})


def _contract_fault(contract: Any) -> str:
    """Why no state can be held to it, or nothing."""
    if found := json_schema.problems(contract):
        return " ".join(found)
    if contract.get("type") != "object":
        return 'A state is an object: begin with {"type": "object"}.'
    return ""


class RoutingRuleQuerySet(models.QuerySet["RoutingRule"]):
    def in_force(self) -> Self:
        """Active, in the order in which they are tried."""
        return self.filter(active=True).order_by("priority", "name")


class RoutingRule(models.Model):
    """A request that meets the condition goes to the target, and nothing else is asked. The first that holds decides.

    `condition` is CEL over `text`, `metadata` and `caller` (docs/routing.md). Saving one that does not compile, or asks
    for something else, raises ValidationError at its column.
    """

    name = models.CharField(max_length=120, unique=True, help_text="a sentence for people: “refunds of more than 100”")
    priority = models.PositiveIntegerField(default=100, help_text="the lowest is tried first")
    condition = models.TextField(help_text='for example: text.matches("(?i)refund") && !caller.is_app')
    agent = models.ForeignKey(Agent, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    template = models.CharField(
        max_length=SLUG_LENGTH,
        blank=True,
        validators=[RegexValidator(SLUG, "Use lower-case letters, digits and single dashes between them.")],
        help_text="or the name of a plan template, in place of an agent",
    )
    active = models.BooleanField(default=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    created_at = models.DateTimeField(db_default=Now())

    objects = RoutingRuleQuerySet.as_manager()

    class Meta:
        ordering = ["priority", "name"]
        constraints = [
            models.CheckConstraint(
                name="routing_rule_one_target",
                condition=Q(agent__isnull=False, template="") | Q(agent__isnull=True) & ~Q(template=""),
            )
        ]

    def __str__(self) -> str:
        return self.name

    def save(self, *args: Any, **kwargs: Any) -> None:
        self.full_clean()
        super().save(*args, **kwargs)

    def clean(self) -> None:
        faults = {}
        if fault := conditions.fault(self.condition, SAMPLE):
            faults["condition"] = fault
        if self.agent_id is not None and self.template:
            faults["template"] = "Name an agent or a plan template, not both."
        if self.agent_id is None and not self.template:
            faults["agent"] = "Name the agent that gets such a request, or a plan template."
        if faults:
            raise ValidationError(faults)

    @property
    def target(self) -> str:
        return f"the plan {self.template}" if self.agent is None else self.agent.slug


class Exemplar(models.Model):
    """A request that people taught the platform to bring to this agent; beside those of the agent's own manifest.

    A text belongs to one agent: taught anew, it moves. `from_run` is the run it was said in, where it was in one.
    """

    agent = models.ForeignKey(Agent, on_delete=models.PROTECT, related_name="taught")
    text = models.CharField(max_length=EXEMPLAR_LENGTH, unique=True)
    taught_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    from_run = models.UUIDField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["agent__slug", "-id"]

    def __str__(self) -> str:
        return f"{self.agent.slug}: {self.text[:60]}"


class RoutingFit(models.Model):
    """What was learnt from one table of routes; `agents.routing.fits` makes, keeps and serves them.

    `digest` is that of the table and the embedder, `epoch` the roster's when it was read. `weights` are the bytes of
    `fitting.Fit`, `thresholds` {slug: probability or null}, `figures` as `Fit` describes them.
    """

    digest = models.CharField(max_length=64, unique=True)
    epoch = models.BigIntegerField()
    embedder = models.CharField(max_length=300)
    weights = models.BinaryField()
    thresholds = models.JSONField()
    figures = models.JSONField()
    seconds = models.FloatField()
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"fit {self.pk}"


class FailureRule(models.Model):
    """What is done when an agent's try at a node fails: in this order, each where it is asked for.

    It is tried again (`tries` counts the first one), after a pause that doubles; then by `fallbacks`, slugs, one try
    each; then by whom routing finds; then a person is asked; and then the run goes on without it. Work that has sent
    what cannot be repeated is never given to another try by the machine.
    """

    agent = models.OneToOneField(Agent, on_delete=models.CASCADE, related_name="failure_rule")
    tries = models.PositiveSmallIntegerField(default=1)
    backoff_seconds = models.FloatField(default=2)
    fallbacks = models.JSONField(default=list, blank=True, help_text="slugs of agents, in order")
    reroute = models.BooleanField(default=False, help_text="then whom routing finds for the task")
    ask_person = models.BooleanField(default=False, help_text="then a person says what becomes of it")
    skip = models.BooleanField(default=False, help_text="then the run goes on without it")

    class Meta:
        ordering = ["agent__slug"]
        constraints = [
            models.CheckConstraint(name="failure_rule_tries", condition=Q(tries__gte=1) & Q(tries__lte=10)),
            models.CheckConstraint(
                name="failure_rule_pause", condition=Q(backoff_seconds__gte=0) & Q(backoff_seconds__lte=3600)
            ),
        ]

    def __str__(self) -> str:
        return f"when {self.agent.slug} fails"

    def clean(self) -> None:
        """Names each fallback that is no other agent at work."""
        at_work = set(Agent.objects.at_work().values_list("slug", flat=True)) - {self.agent.slug}
        for slug in self.fallbacks:
            if slug not in at_work:
                raise ValidationError({"fallbacks": no_such("other agent at work", str(slug), at_work)})


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
    isolates = models.BooleanField(db_default=False, help_text="Whether its tools can run without a network.")
    started_at = models.DateTimeField(db_default=Now())
    seen_at = models.DateTimeField(db_default=Now())

    objects = WorkerRosterQuerySet.as_manager()

    class Meta:
        ordering = ["worker"]

    def __str__(self) -> str:
        return f"{self.worker} serves {self.epoch}"
