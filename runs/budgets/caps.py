"""Which budgets hold for a dispatch. Read from the rows once an epoch: a new one bites at the next reservation."""

import datetime as dt
from dataclasses import dataclass

from agents import roster
from agents.roster import Roster
from runs.budgets.calendar import Span, around
from runs.models import Budget, Dispatch
from runs.models.budgets import LEVELS, RUN


@dataclass(frozen=True)
class Cap:
    """An active budget, without its amount: that is read where money is drawn."""

    budget_id: int
    level: str
    owner_id: int | None
    agent_id: int | None
    period: str
    zone: str

    def holds_for(self, owner_id: int, agent_id: int) -> bool:
        return self.owner_id in (None, owner_id) and self.agent_id in (None, agent_id)

    def span(self, now: dt.datetime, run_began: dt.datetime) -> Span:
        return Span(run_began, None) if self.period == RUN else around(now, self.period, self.zone)


def active(served: Roster) -> tuple[Cap, ...]:
    """In the order in which their counters are locked: global, app, user, agent."""
    return served.keep(("budgets",), _read)


def _read() -> tuple[Cap, ...]:
    fields = ("pk", "level", "owner_id", "agent_id", "period", "zone")
    caps = [Cap(*row) for row in Budget.objects.active().values_list(*fields)]
    return tuple(sorted(caps, key=lambda cap: (LEVELS.index(cap.level), cap.budget_id)))


def are_capped() -> bool:
    """Whether any run may have drawn from a budget, as far as this process knows. No query but the first of an epoch;
    what is missed goes back when it was idle for long."""
    return bool(active(roster.current()))


def over(dispatch: Dispatch, served: Roster) -> tuple[Cap, ...]:
    """Those above a dispatch, whose run and manifest are joined."""
    caps = active(served)
    if not caps:
        return ()
    owner, agent = dispatch.run.owner_id, dispatch.manifest.agent_id
    return tuple(cap for cap in caps if cap.holds_for(owner, agent))
