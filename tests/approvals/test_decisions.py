import datetime as dt
import json

import pytest
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext

from approvals import decisions, errors, requests
from approvals.decisions import decide
from approvals.models import ApprovalRequest, Decision
from approvals.signals import decision_made
from orchestrator_site.core import canonical, events
from orchestrator_site.core.ids import new_id
from orchestrator_site.core.models import AppendOnly
from tools.values import Risk


@pytest.fixture
def approve(cast):
    def approve(request, **changes):
        posted = {"by": cast.bo, "verdict": "approved", "digest": request.digest, "via": "session"}
        return decide(request.pk, **posted | changes)

    return approve


def test_what_was_asked_is_frozen_and_told(asked, refund, types_of):
    request = asked(title="Refund\n 200  ", frozen={"b": 1, "a": 2.0})

    request.refresh_from_db()
    assert request.frozen == '{"a":2,"b":1}'
    assert request.digest == canonical.digest(request.frozen)
    assert request.title == "Refund 200"
    (event,) = events.of_run(request.run_id)
    told = json.loads(event.data)
    assert event.type == "approval_requested"
    assert told["request"] == str(request.pk)
    assert told["digest"] == request.digest
    assert told["risk"] == "high"


def test_an_approval_is_kept_told_and_carried_to_its_subject(cast, asked, refund, approve, types_of):
    request = asked()

    outcome = approve(request, reason=" fine by me ")

    request.refresh_from_db()
    assert request.status == "approved"
    assert request.effective_digest == request.digest
    assert outcome.successor is None
    decision = outcome.decision
    assert (decision.by, decision.by_name, decision.via, decision.reason) == (
        cast.bo,
        "Bo Berg",
        "session",
        "fine by me",
    )
    assert request.decided_at == decision.at
    assert refund.told == [("approved", request.pk)]
    assert types_of(request) == ["approval_requested", "approval_decided", "test_subject_moved"]
    assert events.of_run(request.run_id)[1].actor == "user:bo"


def test_an_answer_stands_in_the_tools_place(cast, asked, question):
    request = asked(kind="test_question", addressed_to="requester")

    decide(request.pk, by=cast.ada, verdict="answered", answer="by bank", digest=request.digest, via="token")

    decision = Decision.objects.get(request=request)
    assert (decision.answer, decision.via) == ("by bank", "token")
    with pytest.raises(errors.NotConsumable, match="answered"):
        requests.consume(request.pk, request.digest, 1)


def test_a_rejection_may_stop_the_agent(asked, refund, approve):
    outcome = approve(asked(), verdict="rejected", reason="never", stop=True)

    assert outcome.decision.stop


@pytest.mark.parametrize(
    ("posted", "error"),
    [
        ({"digest": "0" * 64}, errors.DigestMismatch),
        ({"digest": ""}, errors.DigestMismatch),
        ({"verdict": "expired"}, errors.InvalidVerdict),
        ({"verdict": "superseded"}, errors.InvalidVerdict),
        ({"verdict": "yes"}, errors.InvalidVerdict),
        ({"edit": {"amount": 1}}, errors.InvalidVerdict),
        ({"answer": "yes"}, errors.InvalidVerdict),
        ({"stop": True}, errors.InvalidVerdict),
        ({"verdict": "rejected"}, errors.ReasonNeeded),
        ({"verdict": "rejected", "reason": " \n"}, errors.ReasonNeeded),
        ({"verdict": "answered"}, errors.AnswerNeeded),
        ({"verdict": "answered", "answer": "  "}, errors.AnswerNeeded),
        ({"verdict": "modified"}, errors.InvalidEdit),
        ({"verdict": "modified", "edit": {"amount": "many"}}, errors.InvalidEdit),
        ({"verdict": "modified", "edit": {"amount": 1, "note": float("nan")}}, errors.InvalidEdit),
        ({"verdict": "modified", "edit": {"amount": 2**60}}, errors.InvalidEdit),
    ],
)
def test_what_is_refused_leaves_the_request_open(asked, refund, approve, types_of, posted, error):
    request = asked()

    with pytest.raises(error):
        approve(request, **posted)

    request.refresh_from_db()
    assert request.status == "open"
    assert types_of(request) == ["approval_requested"]
    assert refund.told == []


def test_a_kind_takes_only_its_own_verdicts(asked, question, approve):
    with pytest.raises(errors.InvalidVerdict, match="answered or rejected, not approved"):
        approve(asked(kind="test_question"))


def test_the_second_is_told_who_was_first(cast, asked, refund, approve):
    request = asked()
    approve(request, verdict="rejected", reason="no")

    with pytest.raises(errors.AlreadyDecided, match="Bo Berg rejected this request at 2") as caught:
        approve(request, by=cast.cy)

    assert caught.value.decision.by == cast.bo
    assert Decision.objects.count() == 1


@pytest.mark.parametrize("via", ["clock", "system", "", "model"])
def test_a_person_decides_by_session_or_token_only(asked, refund, approve, via):
    with pytest.raises(ValueError, match="session or token"):
        approve(asked(), via=via)


def test_a_subject_that_cannot_move_undoes_the_decision(asked, refund, approve, types_of):
    request = asked()
    refund.breaks = True

    with pytest.raises(RuntimeError):
        approve(request)

    request.refresh_from_db()
    assert request.status == "open"
    assert not Decision.objects.exists()
    assert types_of(request) == ["approval_requested"]


def test_the_subject_is_locked_before_the_request_and_the_chain_last(asked, refund, approve):
    request = asked()

    with CaptureQueriesContext(
        connection,
    ) as queries:
        approve(request)

    statements = [query["sql"] for query in queries]

    def at(*words):
        return next(i for i, sql in enumerate(statements) if all(word in sql for word in words))

    subject, row = at("the subject is locked"), at("approvals_approvalrequest", "FOR UPDATE")
    chain, moved = at("core_chainhead"), at('UPDATE "approvals_approvalrequest"')
    assert subject < row < moved < chain


@pytest.mark.django_db(transaction=True)
def test_a_listener_that_raises_does_not_undo_a_decision(asked, refund, approve):
    heard = []

    def broken(request_id, **kwargs):
        heard.append((request_id, ApprovalRequest.objects.get(pk=request_id).status, connection.in_atomic_block))
        raise RuntimeError("no bell today")

    decision_made.connect(broken)
    try:
        request = asked()
        approve(request)
    finally:
        decision_made.disconnect(broken)

    assert heard == [(request.pk, "approved", False)]
    assert Decision.objects.get(request=request).verdict == "approved"


class TestEdit:
    def test_within_the_risk_it_is_approved_as_edited(self, asked, refund, approve):
        request = asked()

        outcome = approve(request, verdict="modified", edit={"amount": 150})

        request.refresh_from_db()
        assert request.status == "modified"
        assert json.loads(request.frozen)["arguments"] == {"amount": 200}
        assert request.effective_content == {"tool": "refund", "arguments": {"amount": 150}}
        assert request.effective_digest == canonical.digest(request.effective_frozen) != request.digest
        assert outcome.decision.arguments == '{"amount":150}'
        assert outcome.decision.digest == request.digest

    def test_only_the_edited_content_may_run(self, asked, refund, approve):
        request = asked()
        approve(request, verdict="modified", edit={"amount": 150})
        request.refresh_from_db()

        with pytest.raises(errors.NotConsumable, match="not what was approved"):
            requests.consume(request.pk, request.digest, 1)
        requests.consume(request.pk, request.effective_digest, 1)

    def test_a_higher_risk_needs_another_person(self, cast, asked, refund, approve, types_of):
        old = asked(reasoning="They asked nicely.", four_eyes=True, dispatch_id=new_id())

        outcome = approve(old, verdict="modified", edit={"amount": 5000}, reason="they lost more")

        old.refresh_from_db()
        new = outcome.successor
        assert outcome.decision is None
        assert (old.status, new.status, new.supersedes) == ("superseded", "open", old)
        assert new.content["arguments"] == {"amount": 5000}
        assert (new.risk, new.title, new.reasons) == ("critical", "Refund 5000", ["Refunds 5000."])
        assert new.not_by == [cast.bo.pk]
        for kept in ("kind", "run_id", "dispatch_id", "call_id", "reasoning", "requester", "four_eyes", "addressed_to"):
            assert getattr(new, kept) == getattr(old, kept)
        assert abs((new.deadline_at - new.created_at).total_seconds() - 3600) < 5
        assert refund.told == [("superseded", new.pk)]
        assert types_of(old) == ["approval_requested", "approval_modified_needs_another", "approval_requested"]
        assert old.decision.by == cast.bo
        with pytest.raises(errors.AlreadyDecided, match=r"superseded by Bo Berg at .*: they lost more"):
            approve(old, by=cast.cy)

    def test_the_editor_may_not_decide_the_successor(self, cast, asked, refund, approve):
        new = approve(asked(), verdict="modified", edit={"amount": 5000}).successor

        for verdict in ({"verdict": "approved"}, {"verdict": "modified", "edit": {"amount": 5000}}):
            with pytest.raises(errors.NotAllowedToDecide):
                approve(new, **verdict)

        assert approve(new, by=cast.cy).decision.verdict == "approved"

    def test_every_editor_of_a_chain_stays_excluded(self, cast, asked, refund, approve):
        first = approve(asked(risk=Risk.LOW), verdict="modified", edit={"amount": 500}).successor

        second = approve(first, by=cast.cy, verdict="modified", edit={"amount": 5000}).successor

        assert second.not_by == sorted([cast.bo.pk, cast.cy.pk])
        assert second.supersedes.supersedes.status == "superseded"

    def test_the_kind_may_ask_for_another_person(self, asked, refund, approve):
        refund.another_person = True

        assert approve(asked(), verdict="modified", edit={"amount": 150}).successor

    def test_four_eyes_that_an_edit_brings_exclude_who_started_the_run(self, cast, asked, refund, approve):
        ada = cast.may_decide_too(cast.ada)
        refund.four_eyes = True

        new = approve(asked(), by=ada, verdict="modified", edit={"amount": 150}).successor

        assert new.four_eyes
        assert approve(new, by=cast.bo).decision

    def test_four_eyes_do_not_stop_another_editor(self, asked, refund, approve):
        refund.four_eyes = True

        assert approve(asked(), verdict="modified", edit={"amount": 150}).decision

    def test_faults_name_their_field(self, asked, refund, approve):
        with pytest.raises(errors.InvalidEdit) as caught:
            approve(asked(), verdict="modified", edit={"amount": None})

        assert caught.value.faults == {"amount": "The amount has to be a whole number."}


def _execute(statement):
    with transaction.atomic(), connection.cursor() as cursor:
        # Deferred foreign keys are checked now: TRUNCATE and ALTER do not wait for them.
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute(statement)


class TestAppendOnly:
    """The database refuses what the models refuse; each attempt beside a control that is let through."""

    @pytest.fixture
    def decision(self, asked, refund, approve):
        return approve(asked()).decision

    @pytest.mark.parametrize(
        "statement",
        [
            "UPDATE approvals_decision SET reason = 'so they say'",
            "UPDATE approvals_decision SET verdict = 'rejected' WHERE false",
            "DELETE FROM approvals_decision",
            "TRUNCATE approvals_decision CASCADE",
        ],
    )
    def test_a_decision_is_never_changed(self, decision, statement):
        with pytest.raises(IntegrityError, match="append-only"):
            _execute(statement)

        decision.refresh_from_db()
        assert (decision.verdict, decision.reason) == ("approved", "")

    def test_control_without_the_trigger_it_would_be(self, decision):
        _execute("ALTER TABLE approvals_decision DISABLE TRIGGER approvals_decision_append_only")
        _execute("UPDATE approvals_decision SET reason = 'so they say'")

        decision.refresh_from_db()
        assert decision.reason == "so they say"

    def test_the_model_refuses_too(self, decision):
        with pytest.raises(AppendOnly):
            decision.save()
        with pytest.raises(AppendOnly):
            decision.delete()

    @pytest.mark.parametrize(
        "change",
        [
            "frozen = '{}'",
            "digest = ''",
            "risk = 'low'",
            "not_by = '[]'",
            "four_eyes = false",
            "title = 'x'",
            "requester_id = null",
            "run_id = gen_random_uuid()",
            "reasons = '[]'",
        ],
    )
    def test_what_was_asked_is_never_changed(self, cast, asked, refund, change):
        asked(not_by=[cast.cy.pk], four_eyes=True)

        with pytest.raises(IntegrityError, match="asked once"):
            _execute(f"UPDATE approvals_approvalrequest SET {change}")

    @pytest.mark.parametrize(
        "change",
        [
            "status = 'open', decided_at = null",
            "status = 'rejected'",
            "consumed_at = null",
            "consumed_by_attempt = '9'",
        ],
    )
    def test_what_was_closed_and_used_stays_so(self, decision, change):
        requests.consume(decision.request_id, decision.request.digest, 1)

        with pytest.raises(IntegrityError, match="used once"):
            _execute(f"UPDATE approvals_approvalrequest SET {change}")

    def test_control_a_deadline_may_move(self, asked, refund):
        request = asked()

        assert ApprovalRequest.objects.filter(pk=request.pk).update(deadline_at=request.created_at) == 1

    def test_an_unknown_status_is_refused(self, asked, refund):
        request = asked()

        with pytest.raises(IntegrityError, match="approval_request_status_known"), transaction.atomic():
            ApprovalRequest.objects.filter(pk=request.pk).update(status="granted", decided_at=request.created_at)


class TestExpiry:
    def test_after_the_deadline_nobody_decides(self, asked, refund, approve):
        with pytest.raises(errors.DeadlinePassed):
            approve(asked(deadline_seconds=-1))

    def test_it_is_closed_by_the_clock_and_permits_nothing(self, asked, refund, types_of):
        request = asked(deadline_seconds=-1)

        decision = decisions.expire(request.pk)

        request.refresh_from_db()
        assert request.status == "expired"
        assert decision is not None
        assert (decision.by, decision.via, decision.by_name) == (None, "clock", "the clock")
        assert refund.told == [("expired", request.pk)]
        assert types_of(request) == ["approval_requested", "approval_expired", "test_subject_moved"]
        with pytest.raises(errors.NotConsumable, match="expired"):
            requests.consume(request.pk, request.digest, 1)

    def test_before_the_deadline_nothing_happens(self, asked, refund):
        request = asked()

        assert decisions.expire(request.pk) is None
        assert not Decision.objects.exists()

    def test_twice_is_once(self, asked, refund):
        request = asked(deadline_seconds=-1)

        assert decisions.expire(request.pk)
        assert decisions.expire(request.pk) is None

    def test_the_late_are_told(self, asked, refund, approve):
        request = asked(deadline_seconds=-1)
        decisions.expire(request.pk)

        with pytest.raises(errors.AlreadyDecided, match="This request expired at"):
            approve(request)

    def test_only_the_databases_clock_counts(self, asked, refund, approve, monkeypatch):
        """The wall clock after the locks decides, also where the transaction began before the deadline."""
        request = asked()
        monkeypatch.setattr(decisions, "database_now", lambda: request.deadline_at + dt.timedelta(microseconds=1))

        with pytest.raises(errors.DeadlinePassed):
            approve(request)
        assert decisions.expire(request.pk)
