"""Simulations: a policy tried on the rulings that were recorded."""

from typing import Any

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from orchestrator_site.core import canonical
from orchestrator_site.core.ids import new_id
from runs import states
from tools.policies import documents
from tools.policies.tallying import Tally
from tools.policies.values import Policy as PolicyValue


class SimulationQuerySet(models.QuerySet["Simulation"]):
    def open(self) -> "SimulationQuerySet":
        return self.filter(status__in=states.SIMULATION.open)


class Simulation(models.Model):
    """One policy judged over the rulings from `since` up to `until`.

    `document` is the policy as it stood when it was asked for, canonical JSON text, so that nobody who edits it
    meanwhile mixes two of them; `policy` the draft it was taken from, where there is one. `filters`: {tool, agent, app,
    verdict}, each may be missing. `total` rulings are to be looked at, `seen` were; `reached` is the newest of them.
    `tally` is a `tools.policies.tallying.Tally`. `moved_at` grows with every batch: who carried it last, has gone away
    where it stands still.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    policy = models.ForeignKey("tools.Policy", null=True, on_delete=models.PROTECT, related_name="+")
    document = models.TextField()
    digest = models.CharField(max_length=64)
    asked_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+")
    since = models.DateTimeField()
    until = models.DateTimeField()
    filters = models.JSONField(default=dict)
    status = models.CharField(max_length=10, choices=states.SIMULATION.choices(), default=states.QUEUED)
    total = models.PositiveIntegerField(null=True)
    seen = models.PositiveIntegerField(default=0)
    reached = models.UUIDField(null=True)
    tally = models.JSONField(default=dict)
    error = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField(db_default=Now())
    moved_at = models.DateTimeField(db_default=Now())
    ended_at = models.DateTimeField(null=True)

    objects = SimulationQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [states.SIMULATION.constraint()]
        indexes = [
            models.Index(
                fields=["moved_at"],
                name="simulation_open",
                condition=models.Q(status__in=[states.QUEUED, states.WORKING]),
            )
        ]

    def __str__(self) -> str:
        return f"simulation of {self.policy or 'a policy'}"

    @property
    def is_open(self) -> bool:
        return self.status in states.SIMULATION.open

    @property
    def percent(self) -> int:
        return min(100, 100 * self.seen // self.total) if self.total else (0 if self.is_open else 100)

    def value(self) -> PolicyValue:
        return documents.read(self.content, self.policy.version if self.policy else "simulated")

    @property
    def content(self) -> dict[str, Any]:
        return canonical.loads(self.document)

    def found(self) -> Tally:
        return Tally.of(self.tally) if self.tally else Tally()

    def delete(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError("A simulation is kept: what was published after it can be explained by it.")
