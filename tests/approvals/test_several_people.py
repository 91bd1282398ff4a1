"""Requests that n people of a group have to approve."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.contrib.auth.models import Group, User
from django.db import IntegrityError, connections, transaction

from approvals import eligibility, errors, presentation, quorum
from approvals.decisions import decide
from approvals.models import ApprovalRequest, Assent, Decision
from orchestrator_site.core import events
from orchestrator_site.core.models import AppendOnly
from tests.waiting import PATIENCE_SECONDS

pytestmark = pytest.mark.django_db


@pytest.fixture
def finance(cast):
    """Bo and Cy; Di is a member who may not decide, and Root may decide and is none."""
    group = Group.objects.create(name="finance")
    group.user_set.add(cast.bo, cast.cy, cast.di)
    return group


@pytest.fixture
def two(asked, refund, finance):
    return asked(approvers=2, group="finance")


def say(request, by, verdict="approved", **more):
    return decide(request.pk, by=by, verdict=verdict, digest=request.digest, via="session", **more)


def test_the_first_approval_is_kept_and_the_last_one_decides(cast, two, refund, types_of):
    first = say(two, cast.bo, reason="I called them.")

    two.refresh_from_db()
    assert (first.decision, first.successor, two.status, refund.told) == (None, None, "open", [])
    assert (first.assent.by, first.assent.digest, first.assent.reason) == (cast.bo, two.digest, "I called them.")

    last = say(two, cast.cy)

    two.refresh_from_db()
    assert (two.status, last.decision.by, last.decision.verdict) == ("approved", cast.cy, "approved")
    assert refund.told == [("approved", two.pk)]
    assert types_of(two) == [
        "approval_requested",
        "approval_assented",
        "approval_assented",
        "approval_decided",
        "test_subject_moved",
    ]
    assert events.of_run(two.run_id)[3].data.count('"approved_by":["Bo Berg","cy"]') == 1


def test_control_a_request_for_one_is_decided_by_the_first(cast, asked, refund, finance):
    assert say(asked(group="finance"), cast.bo).decision
    assert not Assent.objects.exists()


def test_the_same_person_twice_is_one(cast, two):
    say(two, cast.bo)

    with pytest.raises(errors.NotAllowedToDecide, match=r"You approved this at .*; another person"):
        say(two, cast.bo)

    assert Assent.objects.count() == 1
    assert not ApprovalRequest.objects.decidable_by(cast.bo).exists()
    assert ApprovalRequest.objects.decidable_by(cast.cy).exists()


def test_a_rejection_by_any_of_them_closes_it(cast, two, refund):
    say(two, cast.bo)

    say(two, cast.cy, "rejected", reason="They were paid already.")

    assert refund.told == [("rejected", two.pk)]


def test_who_approved_may_still_reject(cast, two, refund):
    say(two, cast.bo)

    say(two, cast.bo, "rejected", reason="I misread it.")

    assert refund.told == [("rejected", two.pk)]


def test_who_left_the_group_does_not_count_any_more(cast, two, finance):
    say(two, cast.bo)
    finance.user_set.remove(cast.bo)
    extra = cast._user("gil", "decide_approvalrequest")
    finance.user_set.add(extra)

    assert say(two, cast.cy).decision is None
    assert [each.by for each in quorum.standing(two)] == [cast.cy]

    assert say(two, extra).decision.by == extra


@pytest.mark.parametrize("change", ["deactivated", "no longer permitted"])
def test_who_may_not_decide_any_more_does_not_count(cast, two, change):
    say(two, cast.bo)
    if change == "deactivated":
        User.objects.filter(pk=cast.bo.pk).update(is_active=False)
    else:
        cast.bo.user_permissions.clear()

    assert say(two, cast.cy).decision is None


def test_four_eyes_hold_for_each_of_them(cast, asked, refund, finance):
    ada = cast.may_decide_too(cast.ada)
    finance.user_set.add(ada)
    request = asked(approvers=2, group="finance", four_eyes=True)

    say(request, cast.bo)
    with pytest.raises(errors.NotAllowedToDecide, match="second person"):
        say(request, ada)

    assert say(request, cast.cy).decision


@pytest.mark.parametrize(
    ("person", "why"),
    [
        ("root", "Only members of the group finance may decide this."),
        ("di", "You do not have the permission"),
        ("eve", "Only members of the group finance"),
    ],
)
@pytest.mark.parametrize("verdict", ["approved", "rejected"])
def test_only_members_who_may_decide_do(cast, two, person, why, verdict):
    user = getattr(cast, person)

    with pytest.raises(errors.NotAllowedToDecide, match=why):
        say(two, user, verdict, reason="because")

    assert why in str(eligibility.why_not(two, user))
    assert not ApprovalRequest.objects.decidable_by(user).exists()


def test_an_edit_asks_all_anew_and_its_editor_is_the_first(cast, two, refund):
    say(two, cast.bo)

    outcome = say(two, cast.cy, "modified", edit={"amount": 150})

    new = outcome.successor
    two.refresh_from_db()
    assert (outcome.decision, two.status, new.status) == (None, "superseded", "open")
    assert (new.approvers, new.group, new.not_by) == (2, "finance", [])
    assert [each.by for each in new.assents.all()] == [cast.cy]
    assert new.content["arguments"] == {"amount": 150}
    with pytest.raises(errors.NotAllowedToDecide):
        say(new, cast.cy)

    assert say(new, cast.bo).decision.digest == new.digest


def test_an_edit_that_raises_the_risk_is_not_approved_by_its_editor(cast, two, refund):
    new = say(two, cast.cy, "modified", edit={"amount": 5000}).successor

    assert not new.assents.exists()
    with pytest.raises(errors.NotAllowedToDecide):
        say(new, cast.cy)


def test_another_digest_approves_nothing(cast, two):
    with pytest.raises(errors.DigestMismatch):
        decide(two.pk, by=cast.bo, verdict="approved", digest="0" * 64, via="session")

    assert not Assent.objects.exists()


def test_a_group_too_small_is_told(cast, two, finance):
    assert quorum.shortage(two) == ""

    finance.user_set.remove(cast.cy)

    assert quorum.shortage(two) == (
        "2 people of the group finance have to approve this, and only 1 may: somebody has to be added, "
        "or it cannot be approved."
    )


def test_a_group_that_is_gone_is_told_and_nobody_decides(cast, two, finance):
    finance.delete()

    assert "and nobody may" in quorum.shortage(two)
    with pytest.raises(errors.NotAllowedToDecide):
        say(two, cast.bo)


def test_the_card_says_who_approved_when_and_how_many_are_missing(cast, two, finance):
    say(two, cast.bo)

    card = presentation.card(ApprovalRequest.objects.get(pk=two.pk), cast.bo)

    assert card.progress
    assert (card.progress.counted, card.progress.needed) == (1, 2)
    assert card.already
    assert "You approved this at" in card.already
    assert card.allowed == {"rejected", "modified", "answered"}

    finance.user_set.remove(cast.bo)
    card = presentation.card(ApprovalRequest.objects.get(pk=two.pk), cast.cy)
    assert card.progress
    assert (card.progress.counted, [counts for _, counts in card.progress.given]) == (0, [False])


def test_an_approval_that_was_given_never_changes(cast, two):
    given = say(two, cast.bo).assent

    with pytest.raises(AppendOnly):
        given.save()
    with pytest.raises(AppendOnly):
        given.delete()
    with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
        Assent.objects.update(reason="so they say")


@pytest.mark.parametrize("change", [{"approvers": 1}, {"group": ""}])
def test_how_many_of_whom_are_asked_never_changes(two, change):
    with pytest.raises(IntegrityError, match="asked once"), transaction.atomic():
        ApprovalRequest.objects.filter(pk=two.pk).update(**change)


@pytest.mark.django_db(transaction=True)
def test_of_twenty_at_once_two_people_are_counted_once_each(cast, two, refund):
    start = threading.Barrier(20)

    def job(by):
        start.wait(timeout=PATIENCE_SECONDS)
        try:
            return say(two, by)
        except errors.NotDecided as error:
            return error
        finally:
            connections.close_all()

    with ThreadPoolExecutor(20) as pool:
        outcomes = list(pool.map(job, [cast.bo, cast.cy] * 10))

    assert Assent.objects.count() == 2
    assert Decision.objects.count() == 1
    assert len([each for each in outcomes if isinstance(each, errors.NotDecided)]) == 18
    assert refund.told == [("approved", two.pk)]
