"""The registry as rows: a tool, its live switches, and its immutable versions."""

from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from orchestrator_site.core.models import AppendOnly
from tools.values import Confirmation, Effect, ExecutorKind, Label, Risk, RiskRule, Sink, SinkKind, ToolSpec


def _untrusted() -> list[str]:
    """Until a person says otherwise."""
    return [Label.UNTRUSTED.value]


class Tool(models.Model):
    """A tool's identity and its live switches: they bite at the very next call, also of running dispatches."""

    name = models.CharField(max_length=64, unique=True)
    enabled = models.BooleanField(default=True)
    risk = models.CharField(max_length=10, choices=[(r.value, r.value) for r in Risk], default=Risk.HIGH)
    confirmation = models.CharField(
        max_length=10,
        choices=[(c.value, c.value.replace("_", " ")) for c in Confirmation],
        default=Confirmation.BY_RISK,
        help_text="“never” is an explicit opt-out: the tool runs without asking whatever its risk.",
    )
    family = models.CharField(
        max_length=40, blank=True, help_text="such as payments or mail: rules can cover all tools of a family."
    )
    brings = models.JSONField(
        default=_untrusted,
        blank=True,
        help_text="What its results carry: untrusted (written by whoever), sensitive (must not leave); none: trusted.",
    )
    sinks = models.JSONField(
        null=True,
        blank=True,
        help_text='By argument: {"iban": {"kind": "destination", "lists": ["suppliers"]}, "sum": {"kind": "amount"}}. '
        "Empty: nobody has said, so every argument of an act counts as each kind.",
    )
    current = models.ForeignKey("ToolVersion", null=True, on_delete=models.PROTECT, related_name="+")

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class ToolVersionQuerySet(models.QuerySet):
    def with_tool(self) -> "ToolVersionQuerySet":
        return self.select_related("tool")


class ToolVersion(models.Model):
    """What a tool is: written once. A change is a new version."""

    tool = models.ForeignKey(Tool, on_delete=models.PROTECT, related_name="versions")
    number = models.PositiveIntegerField()
    description = models.TextField()
    input_schema = models.JSONField()
    executor = models.CharField(max_length=10, choices=[(k.value, k.value) for k in ExecutorKind])
    config = models.JSONField(default=dict, blank=True)
    effect = models.CharField(max_length=10, choices=[(e.value, e.value) for e in Effect], default=Effect.UNSAFE)
    risk_rules = models.JSONField(default=list, blank=True)
    timeout_seconds = models.FloatField(default=30)
    result_limit_bytes = models.PositiveIntegerField(default=64_000)
    created_at = models.DateTimeField(db_default=Now())
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT)

    objects = ToolVersionQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["tool", "number"], name="tool_version_once")]
        ordering = ["tool", "-number"]

    def __str__(self) -> str:
        return f"{self.tool.name} v{self.number}"

    def save(self, *args, **kwargs):
        if not self._state.adding:
            raise AppendOnly("A tool version never changes; define a new one.")
        super().save(*args, **kwargs)

    def delete(self, *args, **kwargs):
        raise AppendOnly("A tool version is never deleted.")

    def spec(self) -> ToolSpec:
        """This version under the tool row's live switches. Expects `tool` to be joined."""
        return ToolSpec(
            name=self.tool.name,
            version_id=self.pk,
            description=self.description,
            input_schema=self.input_schema,
            executor=ExecutorKind(self.executor),
            config=self.config,
            effect=Effect(self.effect),
            risk=Risk(self.tool.risk),
            risk_rules=tuple(RiskRule(r["when"], Risk(r["risk"]), r["reason"]) for r in self.risk_rules),
            confirmation=Confirmation(self.tool.confirmation),
            enabled=self.tool.enabled,
            family=self.tool.family,
            brings=frozenset(Label(label) for label in self.tool.brings),
            sinks=_sinks(self.tool.sinks),
            timeout_seconds=self.timeout_seconds,
            result_limit_bytes=self.result_limit_bytes,
        )


def _sinks(stored: Mapping[str, Any] | None) -> Mapping[str, Sink] | None:
    if stored is None:
        return None
    return {name: Sink(SinkKind(sink["kind"]), tuple(sink.get("lists", ()))) for name, sink in stored.items()}
