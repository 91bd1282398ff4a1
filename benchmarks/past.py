"""A past to measure against: runs of every ending that really ran, multiplied and spread over a year."""

from dataclasses import dataclass

from django.contrib.auth.models import Group, User
from django.db import connection
from django.db.models import Q

from benchmarks.multiply import Spread, analyze, multiply, over_days
from orchestrator_site.core.models import ChainHead
from runs import cancellation
from runs.models import Run
from tests.runs import cast
from tests.runs.cast import call, script, text
from tools.values import Effect, Risk

DAYS = 365


@dataclass(frozen=True)
class People:
    """`busy` started nearly all of the runs, `quiet` a hundred of them. `root` is let into every page."""

    busy: User
    quiet: User
    decider: User
    operator: User
    root: User


@dataclass(frozen=True)
class Kind:
    """A run that came to its end, or waits, and its share of all."""

    run: Run
    percent: int


def people() -> People:
    roles = {"busy": "App", "quiet": "App", "decider": "Approver", "operator": "Operator"}
    made = {name: User.objects.create_user(name) for name in roles}
    for name, role in roles.items():
        made[name].groups.set([Group.objects.get(name=role)])
    return People(**made, root=User.objects.create_superuser("root"))


def kinds(model_url: str, who: People) -> list[Kind]:
    """Expects an empty installation. Six runs carried by this process, one of each kind."""
    cast.model(model_url)
    cast.tool("look_up", "tests.echo")
    cast.tool("note_down", "tests.echo", Effect.PURE, Risk.MEDIUM)
    cast.tool("pay_out", "tests.echo", Effect.UNSAFE, Risk.HIGH)
    cast.agent("worker", "look_up", "note_down", "pay_out")
    cast.agent("rare", "look_up")
    look, pay = call(("look_up", {"order": "A-1"})), call(("pay_out", {"order": "A-1", "amount": "20"}))
    return [
        Kind(_carried(who, look, call(("look_up", {"order": "A-2"})), text("Both are on their way.")), 50),
        Kind(_carried(who, look, call(("note_down", {"order": "A-1"})), text("Noted.")), 15),
        Kind(_decided(who, "approved", look, pay, text("Paid.")), 20),
        Kind(_decided(who, "rejected", look, pay, text("Then not.")), 5),
        Kind(_carried(who, look, {"status": 400, "message": "no"}), 5),
        Kind(_cancelled(who, look, pay), 5),
    ]


def waiting(who: People) -> Run:
    """One that waits for a person to approve a call; after that it makes one more model call and ends."""
    return _carried(who, call(("pay_out", {"order": "A-1", "amount": "20"})), text("Paid."))


def fill(model_url: str, *, runs: int, waiting_runs: int, days: float = DAYS) -> People:
    """So many ended runs over so many days, and so many that came today and wait."""
    who = people()
    _make_months(days)
    for kind in kinds(model_url, who):
        multiply(kind.run.pk, runs * kind.percent // 100, Spread(over_days(days), [who.busy.pk]))
    plain = Run.objects.filter(~Q(status="waiting"), agent__slug="worker").earliest("pk")
    multiply(plain.pk, 100, Spread(over_days(days), [who.quiet.pk]))
    multiply(_carried(who, text("Seldom."), agent="rare").pk, 20, Spread(over_days(days), [who.busy.pk]))
    multiply(waiting(who).pk, waiting_runs, Spread(over_days(0.5), [who.busy.pk]))
    ChainHead.objects.update(moved=False)  # a year's checkpoints are not what is measured
    analyze()
    return who


def _make_months(days: float) -> None:
    """Partitions as they would have been made at their time."""
    with connection.cursor() as cursor:
        cursor.execute(
            """SELECT baton_make_event_partition(month::date)
               FROM generate_series(date_trunc('month', now() - make_interval(days => %s)), now(), '1 month') month""",
            [int(days) + 1],
        )


def _carried(who: People, *turns: dict, agent: str = "worker") -> Run:
    return cast.carry_all(cast.start(who.busy, script(*turns), agent))


def _decided(who: People, verdict: str, *turns: dict) -> Run:
    run = _carried(who, *turns)
    more = {"reason": "Not this one."} if verdict == "rejected" else {}
    cast.decide(cast.request_of(run), who.decider, verdict, **more)
    return cast.carry_all(run)


def _cancelled(who: People, *turns: dict) -> Run:
    run = _carried(who, *turns)
    cancellation.cancel(run.pk, who.busy)
    return run
