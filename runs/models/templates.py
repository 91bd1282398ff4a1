"""Plan templates: plans with gaps, edited by operators."""

from django.core.validators import RegexValidator
from django.db import models
from django.db.models.functions import Now

from agents.models import SLUG, SLUG_LENGTH, Agent


class PlanTemplateQuerySet(models.QuerySet):
    def at_work(self) -> "PlanTemplateQuerySet":
        return self.filter(active=True)


class PlanTemplate(models.Model):
    """A plan with gaps. `content` is a `PlanSpec` in which `{{name}}` stands for a parameter; `{{request}}` is the
    run's input. `parameters` is the JSON Schema of an object. With a `planner` it is where that agent starts from."""

    slug = models.CharField(
        max_length=SLUG_LENGTH,
        unique=True,
        validators=[RegexValidator(SLUG, "Use lower-case letters, digits and single dashes between them.")],
    )
    title = models.CharField(max_length=120)
    description = models.TextField(blank=True, help_text="when to use it; routing and planners read it")
    parameters = models.JSONField(default=dict, blank=True, help_text="JSON Schema of an object: what has to be given")
    content = models.JSONField(help_text="the plan; {{name}} stands for a parameter, {{request}} for the request")
    planner = models.ForeignKey(
        Agent,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
        help_text="an agent of the kind planner that starts from this plan and may change it",
    )
    ask = models.CharField(
        max_length=8,
        default="default",
        choices=[("default", "as the installation says"), ("always", "always"), ("never", "never")],
        help_text="whether a person approves the plan before it is carried out",
    )
    active = models.BooleanField(default=True)
    created_at = models.DateTimeField(db_default=Now())

    objects = PlanTemplateQuerySet.as_manager()

    class Meta:
        ordering = ["slug"]

    def __str__(self) -> str:
        return self.slug
