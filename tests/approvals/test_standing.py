"""What is approved beforehand with a decision: its terms, its uses, its end."""

import datetime as dt
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import IntegrityError, connection, connections, transaction
from django.db.models import F
from django.utils import timezone

from approvals import decisions, errors, standing, sweeps
from approvals.models import Decision, StandingApproval, StandingUse
from approvals.standing import Terms
from orchestrator_site.core import events
from orchestrator_site.core.ids import new_id
from orchestrator_site.core.models import AppendOnly, Event
from tests.waiting import PATIENCE_SECONDS
from tools import patterns
from tools.matchers import Matcher

pytestmark = pytest.mark.django_db

ARGUMENTS = {"amount": 200, "to": "a@shop.eu"}
CALL = {"tool": "refund", "tool_version": 4, "agent": "desk", "arguments": ARGUMENTS}
PATTERN = patterns.suggested(ARGUMENTS)


@pytest.fixture
def call(asked, refund):
    return lambda **changes: asked(frozen=CALL, **changes)


def approve(request, by, terms, **changes):
    posted = {"verdict": "approved", "digest": request.digest, "via": "session"}
    return decisions.decide(request.pk, by=by, standing=terms, **posted | changes)


def given(call, by, **terms):
    asked: dict[str, Any] = {"pattern": PATTERN, "uses_at_most": 3} | terms
    approve(call(), by, Terms(**asked), reason="They are regulars.")
    return StandingApproval.objects.latest("pk")


def use(row, call_id=None, run_id=None):
    with events.recording() as log:
        return standing.use(log, row.pk, run_id=run_id or new_id(), call_id=call_id or new_id(), arguments="{}")


def platform_types():
    return list(Event.objects.filter(chain="platform").order_by("seq").values_list("type", flat=True))


def test_it_is_given_with_the_decision_and_told_on_the_platforms_chain(cast, call):
    row = given(call, cast.bo)

    assert (row.tool, row.tool_version, row.agent, row.run_id, row.risk) == ("refund", 4, "desk", None, "high")
    assert (row.given_by, row.decision.by, row.reason) == (cast.bo, cast.bo, "They are regulars.")
    assert patterns.read(row.pattern) == PATTERN
    assert platform_types() == ["standing_approval_given"]
    assert standing.in_words(row) == f"Bo Berg approved this pattern (standing approval {row.pk}, 0 of 3 used)."


def test_its_scope_can_be_wider_or_this_run_only(cast, call):
    wide = given(call, cast.bo, any_agent=True, any_version=True)
    narrow = given(call, cast.bo, this_run=True, uses_at_most=None)

    assert (wide.agent, wide.tool_version) == ("", None)
    assert narrow.run_id == narrow.decision.request.run_id


WEEK = dt.timedelta(days=7)


@pytest.mark.parametrize(
    ("terms", "field"),
    [
        ({"uses_at_most": None}, ""),
        ({"uses_at_most": 0}, "uses_at_most"),
        ({"uses_at_most": 10**6}, "uses_at_most"),
        ({"expires_at": -WEEK}, "expires_at"),
        ({"expires_at": 100 * WEEK}, "expires_at"),
        ({"pattern": {"amount": PATTERN["amount"]}}, "pattern.to"),
        ({"pattern": PATTERN | {"to": Matcher("domain", ("other.eu",))}}, "pattern.to"),
        ({"pattern": PATTERN | {"cc": Matcher("any", ())}}, "pattern.cc"),
    ],
)
def test_terms_that_cannot_be_kept_decide_nothing(cast, call, terms, field):
    if "expires_at" in terms:
        terms = terms | {"expires_at": timezone.now() + terms["expires_at"]}

    with pytest.raises(errors.InvalidStanding) as caught:
        given(call, cast.bo, **terms)

    assert list(caught.value.faults) == [field]
    assert not Decision.objects.exists()
    assert not StandingApproval.objects.exists()


@pytest.mark.parametrize("asking", [{"four_eyes": True}, {"approvers": 2}])
def test_what_needs_more_than_one_person_is_never_approved_beforehand(cast, call, asking):
    with pytest.raises(errors.InvalidStanding, match="has to be approved for itself"):
        approve(call(**asking), cast.bo, Terms(PATTERN, uses_at_most=1))

    assert not Decision.objects.exists()


@pytest.mark.parametrize("verdict", [{"verdict": "rejected", "reason": "no"}, {"verdict": "answered", "answer": "x"}])
def test_it_goes_with_an_approval_only(cast, call, verdict):
    with pytest.raises(errors.InvalidVerdict):
        approve(call(), cast.bo, Terms(PATTERN, uses_at_most=1), **verdict)


def test_other_questions_have_no_pattern(cast, asked, refund):
    with pytest.raises(errors.InvalidStanding, match="Only calls of tools"):
        approve(asked(), cast.bo, Terms({}, uses_at_most=1))


def test_uses_are_counted_once_a_call_until_none_is_left(cast, call):
    row, again = given(call, cast.bo, uses_at_most=2), new_id()

    assert [use(row, again), use(row, again), use(row), use(row)] == [True, True, True, False]

    row.refresh_from_db()
    assert (row.uses, row.status) == (2, "used_up")
    assert row.ended_at is not None
    assert use(row, again)  # a call that it covered may be sent again
    assert StandingUse.objects.count() == 2


def test_after_its_time_it_covers_nothing_and_is_marked(cast, call):
    row = given(call, cast.bo, uses_at_most=None, expires_at=timezone.now() + dt.timedelta(milliseconds=300))
    first = new_id()
    assert use(row, first)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(0.35)")

    assert not use(row)
    assert not use(row, first)

    sweeps.expire_due()

    row.refresh_from_db()
    assert (row.status, row.ended_by_name) == ("expired", "the clock")
    assert platform_types()[-1] == "standing_approval_expired"


def test_revoked_it_covers_nothing_not_even_a_call_it_covered(cast, call):
    row, first = given(call, cast.bo), new_id()
    assert use(row, first)

    standing.revoke(row.pk, by=cast.cy, via="session", reason="They moved.")

    row.refresh_from_db()
    assert (row.status, row.ended_by_name, row.ended_why) == ("revoked", "cy", "They moved.")
    assert [use(row), use(row, first)] == [False, False]
    assert platform_types()[-1] == "standing_approval_revoked"
    standing.revoke(row.pk, by=cast.bo, via="session")
    assert platform_types().count("standing_approval_revoked") == 1


@pytest.mark.parametrize("person", ["ada", "di", "eve"])
def test_who_may_not_decide_does_not_revoke(cast, call, person):
    row = given(call, cast.bo)

    with pytest.raises(errors.NotAllowedToDecide):
        standing.revoke(row.pk, by=getattr(cast, person), via="session")

    row.refresh_from_db()
    assert row.status == "active"


@pytest.mark.parametrize(("person", "sees"), [("ada", 0), ("bo", 1), ("di", 1), ("eve", 0), ("finn", 0), ("root", 1)])
def test_who_sees_it(cast, call, person, sees):
    given(call, cast.bo)

    assert standing.visible_to(getattr(cast, person)).count() == sees


@pytest.mark.parametrize(
    "change",
    [
        {"pattern": "{}"},
        {"risk": "critical"},
        {"uses_at_most": 99},
        {"expires_at": None},
        {"agent": ""},
        {"tool": "pay"},
    ],
)
def test_its_terms_never_change(cast, call, change):
    given(call, cast.bo, expires_at=timezone.now() + WEEK)

    with pytest.raises(IntegrityError, match="given once"), transaction.atomic():
        StandingApproval.objects.update(**change)


@pytest.mark.parametrize("change", [{"uses": F("uses") - 1}, {"status": "active", "ended_at": None}])
def test_uses_are_not_given_back_and_what_ended_stays_so(cast, call, change):
    row = given(call, cast.bo)
    use(row)
    standing.revoke(row.pk, by=cast.bo, via="session")

    with pytest.raises(IntegrityError, match="given once"), transaction.atomic():
        StandingApproval.objects.update(**change)


def test_nothing_of_it_is_deleted(cast, call):
    row = given(call, cast.bo)
    use(row)

    with pytest.raises(AppendOnly):
        row.delete()
    with pytest.raises(AppendOnly):
        row.used_by.get().delete()
    with pytest.raises(IntegrityError), transaction.atomic():
        StandingUse.objects.all().delete()


def at_once(job, times):
    start = threading.Barrier(times)

    def run(_):
        start.wait(timeout=PATIENCE_SECONDS)
        try:
            return job()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(times) as pool:
        return list(pool.map(run, range(times)))


@pytest.mark.django_db(transaction=True)
def test_of_thirty_calls_at_once_as_many_run_as_uses_are_left(cast, call):
    row = given(call, cast.bo, uses_at_most=7)

    answers = at_once(lambda: use(row), 30)

    row.refresh_from_db()
    assert (answers.count(True), row.uses, StandingUse.objects.count(), row.status) == (7, 7, 7, "used_up")


@pytest.mark.django_db(transaction=True)
def test_control_who_reads_and_then_writes_lets_too_many_run(cast, call):
    row = given(call, cast.bo, uses_at_most=7)
    reading = threading.Barrier(30)

    def careless():
        left = StandingApproval.objects.get(pk=row.pk)
        reading.wait(timeout=PATIENCE_SECONDS)
        return left.uses < 7

    assert at_once(careless, 30).count(True) == 30
