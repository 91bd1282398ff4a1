"""Real processes that reserve against one budget at the same moments: `python -m tests.budgets.racers '{...}'`.

Every trial is a day of its own: all processes open it, and each reserves and settles until it is refused. What they did
is read from the rows. `careless` ones read what is left and then write, as the control.
"""

import datetime as dt
import json
import multiprocessing
import random
import sys
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import django

from tests.waiting import PATIENCE_SECONDS

BASE = dt.datetime(2030, 1, 1, 12, tzinfo=dt.UTC)
CENT = Decimal("0.01")


@dataclass(frozen=True)
class Race:
    """`dispatches`: one for each process, by id. `settles`: `whole`, what was reserved is spent, or `part` of it."""

    budget: int
    dispatches: list[str]
    trials: list[int]
    settles: str = "whole"
    careless: bool = False


def main() -> None:
    django.setup()
    race = Race(**json.loads(sys.argv[1]))
    context = multiprocessing.get_context("fork")
    together = context.Barrier(len(race.dispatches))
    racers = [context.Process(target=_race, args=[race, n, together]) for n in range(len(race.dispatches))]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    sys.exit(any(racer.exitcode for racer in racers))


def _race(race: Race, number: int, together: Any) -> None:
    from agents import roster
    from runs.budgets import Purse
    from tests.budgets.cast import Payer

    payer = Payer.of(race.dispatches[number])
    payer.served = roster.today()
    for trial in race.trials:
        chance = random.Random(f"{trial}:{number}")
        payer.purse = Purse()
        together.wait(PATIENCE_SECONDS)
        if race.careless:
            _reserve_carelessly(race.budget, chance)
        else:
            _spend_all(payer, BASE + dt.timedelta(days=trial), race.settles, chance)


def _spend_all(payer: Any, at: dt.datetime, settles: str, chance: random.Random) -> None:
    while isinstance(payer.reserve(amount := chance.randint(1, 4) * CENT, at=at), list):
        payer.settle(amount if settles == "whole" else (amount * chance.randint(0, 10) / 10))


def _reserve_carelessly(budget: int, chance: random.Random) -> None:
    from django.db.models import F

    from runs.models import BudgetPeriod

    period = BudgetPeriod.objects.get(budget=budget)
    while period.room_usd >= (amount := chance.randint(1, 4) * CENT):
        BudgetPeriod.objects.filter(pk=period.pk).update(granted_usd=F("granted_usd") + amount)
        period.refresh_from_db()


if __name__ == "__main__":
    main()
