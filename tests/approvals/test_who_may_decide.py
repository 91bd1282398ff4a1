"""The decision table: who may give which verdict on what. Every cell is run, by the verb and by the queryset."""

from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from django.db.models import ProtectedError

from approvals import eligibility
from approvals.decisions import decide
from approvals.errors import NotAllowedToDecide
from approvals.models import ApprovalRequest, Decision

# Ada started the run and, where it says ada+, may decide like Bo; root is a superuser.
TABLE = """
addressed_to  four_eyes  not_by  verdict   | ada  ada+ bo   di   eve  finn root
approver      no         -       approved  | no   yes  yes  no   no   no   yes
approver      no         -       modified  | no   yes  yes  no   no   no   yes
approver      no         -       rejected  | no   yes  yes  no   no   no   yes
approver      no         -       answered  | no   yes  yes  no   no   no   yes
approver      yes        -       approved  | no   no   yes  no   no   no   yes
approver      yes        -       modified  | no   no   yes  no   no   no   yes
approver      yes        -       rejected  | no   no   yes  no   no   no   yes
approver      yes        root    approved  | no   no   yes  no   no   no   no
approver      no         bo      approved  | no   yes  no   no   no   no   yes
approver      no         bo      rejected  | no   yes  no   no   no   no   yes
operator      no         -       approved  | no   yes  yes  no   no   no   yes
operator      yes        -       approved  | no   no   yes  no   no   no   yes
requester     no         -       answered  | yes  yes  yes  no   no   no   yes
requester     no         -       rejected  | yes  yes  yes  no   no   no   yes
requester     no         -       approved  | no   yes  yes  no   no   no   yes
requester     no         -       modified  | no   yes  yes  no   no   no   yes
requester     no         ada     answered  | no   no   yes  no   no   no   yes
"""


def _cells():
    head, *rows = TABLE.strip().splitlines()
    people = head.split("|")[1].split()
    for row in rows:
        conditions, answers = row.split("|")
        for person, answer in zip(people, answers.split(), strict=True):
            yield pytest.param(*conditions.split(), person, answer == "yes", id="-".join([*conditions.split(), person]))


POSTED: dict[str, dict[str, Any]] = {
    "approved": {},
    "modified": {"edit": {"amount": 150}},
    "rejected": {"reason": "too much"},
    "answered": {"answer": "in cash"},
}


def _person(cast, name):
    return cast.may_decide_too(cast.ada) if name == "ada+" else getattr(cast, name)


@pytest.mark.parametrize(("addressed_to", "four_eyes", "not_by", "verdict", "person", "may"), list(_cells()))
def test_table(cast, asked, refund, addressed_to, four_eyes, not_by, verdict, person, may):
    by = _person(cast, person)
    excluded = [] if not_by == "-" else [getattr(cast, not_by).pk]
    request = asked(addressed_to=addressed_to, four_eyes=four_eyes == "yes", not_by=excluded)
    answer = {"by": by, "verdict": verdict, "digest": request.digest, "via": "session", **POSTED[verdict]}

    if may:
        decide(request.pk, **answer)
        assert Decision.objects.get(request=request).verdict == verdict
    else:
        with pytest.raises(NotAllowedToDecide):
            decide(request.pk, **answer)
        assert not Decision.objects.exists()


@pytest.mark.parametrize("person", ["ada", "ada+", "bo", "di", "eve", "finn", "root"])
@pytest.mark.parametrize("excluded", [None, "ada", "bo"])
@pytest.mark.parametrize(("addressed_to", "four_eyes"), [("approver", False), ("approver", True), ("requester", False)])
def test_the_queue_offers_what_may_be_decided(cast, asked, refund, addressed_to, four_eyes, excluded, person):
    user = _person(cast, person)
    not_by = [getattr(cast, excluded).pk] if excluded else []
    request = asked(addressed_to=addressed_to, four_eyes=four_eyes, not_by=not_by)

    offered = ApprovalRequest.objects.decidable_by(user).exists()

    assert offered == (eligibility.why_not(request, user) is None)


def test_nobody_is_not_the_requester_of_a_run_without_one(cast, asked, refund):
    request = asked(addressed_to="requester", requester_id=None)

    nobodies: list[Any] = [None, AnonymousUser()]
    for nobody in nobodies:
        with pytest.raises(NotAllowedToDecide):
            decide(request.pk, by=nobody, verdict="answered", answer="x", digest=request.digest, via="session")
    assert not ApprovalRequest.objects.decidable_by(AnonymousUser()).exists()
    assert not ApprovalRequest.objects.visible_to(AnonymousUser()).exists()


def test_a_kind_may_object(cast, asked, refund):
    request = asked()
    refund.objection = "Only the treasurer decides refunds."

    with pytest.raises(NotAllowedToDecide, match="treasurer"):
        decide(request.pk, by=cast.bo, verdict="approved", digest=request.digest, via="session")


def test_a_question_to_the_requester_cannot_need_a_second_person(asked, refund):
    with pytest.raises(ValueError, match="second person"):
        asked(addressed_to="requester", four_eyes=True)


@pytest.mark.parametrize(("person", "sees"), [("ada", 1), ("bo", 2), ("di", 2), ("eve", 0), ("finn", 0), ("root", 2)])
def test_what_each_may_see(cast, asked, refund, person, sees):
    asked()
    asked(requester_id=None)

    assert ApprovalRequest.objects.visible_to(getattr(cast, person)).count() == sees


def test_who_started_the_run_cannot_be_deleted(cast, asked, refund):
    request = asked(four_eyes=True)

    with pytest.raises(ProtectedError) as caught:
        cast.ada.delete()

    assert request in caught.value.protected_objects
