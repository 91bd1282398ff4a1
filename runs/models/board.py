"""The blackboard of a run: what its agents post for each other; and rules that watch it."""

from typing import Any

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models.functions import Now

from agents.models import Agent
from runs.models.dispatches import Dispatch
from runs.models.runs import Run
from tools import conditions

# What the condition of a watch rule may ask for, with a value of its kind.
_ENTRY: dict[str, Any] = {"category": "", "agent": "", "content": "", "reference": "", "confidence": 0.5, "number": 1}
SAMPLE: dict[str, Any] = {
    "entry": _ENTRY,
    "board": [_ENTRY],
    "counts": {"finding": 1},
    "run": {"input": "", "metadata": {}, "owner": ""},
}


class BoardEntry(models.Model):
    """What one agent posted. Never changed: the database refuses updates and deletes by trigger.

    `content` is text, `reference` an artifact of the run; one of them is there at least.
    """

    run = models.ForeignKey(Run, on_delete=models.PROTECT, related_name="board", db_index=False)
    number = models.PositiveIntegerField()
    dispatch = models.ForeignKey(Dispatch, on_delete=models.PROTECT, related_name="+", db_index=False)
    agent = models.CharField(max_length=50)
    category = models.CharField(max_length=50)
    content = models.TextField(blank=True)
    reference = models.CharField(max_length=60, blank=True)
    confidence = models.FloatField(null=True)
    labels = models.CharField(max_length=40, blank=True, default="", db_default="")
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["run", "number"]
        verbose_name_plural = "board entries"
        constraints = [models.UniqueConstraint(fields=["run", "number"], name="board_entry_once")]

    def __str__(self) -> str:
        return f"{self.number}: {self.category}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise TypeError("What was posted is never changed.")
        super().save(*args, **kwargs)

    @property
    def artifact_id(self) -> str:
        return self.reference.removeprefix("artifact:")

    def facts(self) -> dict[str, Any]:
        """As conditions read it."""
        return {name: getattr(self, name) for name in _ENTRY}


class WatchRuleQuerySet(models.QuerySet):
    def in_force(self) -> "WatchRuleQuerySet":
        return self.filter(active=True).order_by("priority", "name")


class WatchRule(models.Model):
    """When an entry is posted and the condition holds, the agent is dispatched, at most `limit` times a run.

    `condition` is CEL over `entry` (the new one), `board` (all of them), `counts` (by category) and `run`
    ({input, metadata, owner}). The agent is told the entries of `categories`; of all, where there is none.
    """

    name = models.CharField(max_length=120, unique=True, help_text="a sentence for people: “a claim without a source”")
    priority = models.PositiveIntegerField(default=100, help_text="the lowest is looked at first")
    condition = models.TextField(help_text='for example: entry.category == "claim" && counts.source < counts.claim')
    agent = models.ForeignKey(Agent, on_delete=models.PROTECT, related_name="+")
    task = models.TextField(help_text="what it is asked to do; it is told the entries beside it")
    categories = models.JSONField(default=list, blank=True, help_text="which entries it is told; empty: all")
    limit = models.PositiveSmallIntegerField(default=5, help_text="how often a run may have it dispatched")
    active = models.BooleanField(default=True)

    objects = WatchRuleQuerySet.as_manager()

    class Meta:
        ordering = ["priority", "name"]
        constraints = [
            models.CheckConstraint(name="watch_rule_bounded", condition=models.Q(limit__gte=1, limit__lte=100))
        ]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        if fault := conditions.fault(self.condition, SAMPLE):
            raise ValidationError({"condition": fault})
