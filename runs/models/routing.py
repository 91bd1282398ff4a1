"""Whose a run is that named nobody, and what each stage of the cascade said."""

from django.db import models

from agents.models import SLUG_LENGTH
from runs.models.runs import Run

DECIDERS = ("rule", "semantic", "classifier", "question", "person")


class Routing(models.Model):
    """One for each run that named neither an agent nor a plan. Written under the run's row.

    `epoch` is the roster's when it was judged. `decided_by`: the stage that decided; empty: none has yet.
    `agent` is the slug of who got it (the first, where a router chose several), or `template` that of a plan template.
    `line` is one readable line; `confidence`, of 1, what the deciding stage said of itself.
    `stages` are objects in the order in which they had their say, each with its name as `stage`: rules and semantic as
    `agents.routing.values.Judgement` says; classifier {router, chose: [{agent, confidence}], unsure: [{agent,
    confidence}]}; question {asked_by, question, candidates, verdict, answer, by}; person {by, chose};
    reroute {node, tried, chose, line}.
    `candidates` are {slug, probability}, likeliest first, to be asked about while nothing is decided.
    `caller` are the facts of who asked, as they were then: {username, roles, is_app}.
    `again` is what the person answered in their own words, to be judged with the request; empty: nothing is.
    """

    run = models.OneToOneField(Run, primary_key=True, on_delete=models.PROTECT, related_name="routing")
    epoch = models.BigIntegerField()
    decided_by = models.CharField(max_length=10, blank=True, choices=[(by, by) for by in DECIDERS])
    agent = models.CharField(max_length=SLUG_LENGTH, blank=True)
    template = models.CharField(max_length=SLUG_LENGTH, blank=True)
    line = models.CharField(max_length=300)
    confidence = models.FloatField(null=True)
    stages = models.JSONField(default=list)
    candidates = models.JSONField(default=list)
    caller = models.JSONField(default=dict)
    again = models.TextField(blank=True)

    class Meta:
        ordering = ["-run_id"]
        indexes = [models.Index(fields=["run"], name="routing_again", condition=~models.Q(again=""))]

    def __str__(self) -> str:
        return self.line

    @property
    def target(self) -> str:
        return f"the plan {self.template}" if self.template else self.agent
