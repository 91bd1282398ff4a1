import pytest
from django.db import IntegrityError, transaction

from approvals import errors, kinds, requests, states
from approvals.decisions import decide
from approvals.models import ApprovalRequest, Decision
from approvals.sweeps import expire_due
from orchestrator_site.core import canonical, events
from orchestrator_site.core.ids import new_id
from tests.approvals.conftest import Question
from tools.values import Risk


@pytest.fixture
def approved(cast, asked, refund):
    request = asked()
    decide(request.pk, by=cast.bo, verdict="approved", digest=request.digest, via="session")
    return request


class TestConsume:
    def test_once(self, approved):
        attempt = new_id()

        requests.consume(approved.pk, approved.digest, attempt)

        approved.refresh_from_db()
        assert approved.consumed_at
        assert approved.consumed_by_attempt == str(attempt)
        with pytest.raises(errors.NotConsumable, match=f"used up by attempt {attempt}"):
            requests.consume(approved.pk, approved.digest, new_id())

    def test_not_with_another_digest(self, approved):
        with pytest.raises(errors.NotConsumable, match="not what was approved"):
            requests.consume(approved.pk, canonical.digest("{}"), 1)

        approved.refresh_from_db()
        assert approved.consumed_at is None

    def test_not_while_open(self, asked, refund):
        request = asked()

        with pytest.raises(errors.NotConsumable, match="open, which permits nothing"):
            requests.consume(request.pk, request.digest, 1)

    def test_not_what_was_never_asked(self, db):
        with pytest.raises(errors.NotConsumable, match="no such approval"):
            requests.consume(new_id(), "", 1)

    def test_an_intent_that_is_not_written_leaves_it_usable(self, approved):
        with transaction.atomic():
            requests.consume(approved.pk, approved.digest, 1)
            transaction.set_rollback(True)

        requests.consume(approved.pk, approved.digest, 2)


class TestSupersede:
    def test_takes_back_what_is_open_and_leaves_the_rest(self, cast, asked, refund, types_of):
        run = new_id()
        first, second = asked(run_id=run), asked(run_id=run)
        decide(first.pk, by=cast.bo, verdict="approved", digest=first.digest, via="session")

        with events.recording() as log:
            taken = requests.supersede(log, ApprovalRequest.objects.filter(run_id=run), why="The run was cancelled.")

        assert taken == [second]
        first.refresh_from_db()
        second.refresh_from_db()
        assert (first.status, second.status) == ("approved", "superseded")
        decision = Decision.objects.get(request=second)
        assert (decision.by, decision.via, decision.reason) == (None, "system", "The run was cancelled.")
        assert types_of(second).count("approval_superseded") == 1

    def test_who_comes_later_is_told_why(self, cast, asked, refund):
        request = asked()
        with events.recording() as log:
            requests.supersede(log, ApprovalRequest.objects.filter(pk=request.pk), why="The run was cancelled.")

        with pytest.raises(errors.AlreadyDecided, match=r"by the system at .*: The run was cancelled\."):
            decide(request.pk, by=cast.bo, verdict="approved", digest=request.digest, via="session")

    def test_is_undone_with_the_cancelling_transaction(self, asked, refund):
        request = asked()

        def cancel():
            with events.recording() as log:
                requests.supersede(log, ApprovalRequest.objects.all(), why="x")
                raise RuntimeError("the cancel fails")

        with pytest.raises(RuntimeError):
            cancel()

        request.refresh_from_db()
        assert request.status == "open"


class TestAsk:
    def test_a_call_has_one_open_request(self, asked, refund):
        request = asked()

        with pytest.raises(IntegrityError, match="one_open_per_call"), transaction.atomic():
            asked(call_id=request.call_id)

    def test_an_unknown_kind_is_our_mistake(self, asked):
        with pytest.raises(kinds.UnknownKind):
            asked(kind="test_refund")

    def test_what_cannot_be_kept_exactly_is_not_asked(self, asked, refund):
        with pytest.raises(canonical.NotCanonical):
            asked(frozen={"amount": float("inf")})

    def test_a_long_title_is_cut(self, asked, refund):
        assert len(asked(title="x" * 1000).title) == 300


class TestQueue:
    def test_order(self, asked, refund):
        """Due within the hour first, then the rest; in both the highest risk first, then the nearest deadline."""
        minutes = 60
        names = ["low soon", "critical later", "high soonest", "high soon", "medium later"]
        asked(title="medium later", risk=Risk.MEDIUM, deadline_seconds=120 * minutes)
        asked(title="critical later", risk=Risk.CRITICAL, deadline_seconds=300 * minutes)
        asked(title="low soon", risk=Risk.LOW, deadline_seconds=1 * minutes)
        asked(title="high soon", risk=Risk.HIGH, deadline_seconds=40 * minutes)
        asked(title="high soonest", risk=Risk.HIGH, deadline_seconds=20 * minutes)

        order = ApprovalRequest.objects.open().in_queue_order().values_list("title", flat=True)

        assert list(order) == ["high soonest", "high soon", "low soon", "critical later", "medium later"]
        assert sorted(order) == sorted(names)

    def test_overdue_and_closed_are_not_decidable(self, cast, asked, refund):
        asked(deadline_seconds=-1)
        closed = asked()
        decide(closed.pk, by=cast.bo, verdict="approved", digest=closed.digest, via="session")

        assert not ApprovalRequest.objects.decidable_by(cast.bo).exists()
        assert ApprovalRequest.objects.overdue().count() == 1
        assert ApprovalRequest.objects.open().count() == 1


class TestSweep:
    def test_expires_what_is_due(self, asked, refund):
        due, later = asked(deadline_seconds=-60), asked()

        assert expire_due() == 1
        assert expire_due() == 0
        assert list(ApprovalRequest.objects.open()) == [later]
        assert refund.told == [("expired", due.pk)]

    def test_the_longest_overdue_first_and_no_more_than_the_limit(self, asked, refund):
        requested = [asked(deadline_seconds=-seconds) for seconds in (10, 30, 20)]

        assert expire_due(limit=2) == 2
        assert list(ApprovalRequest.objects.open()) == [requested[0]]

    def test_one_that_cannot_be_closed_keeps_no_other_open(self, asked, refund, question, monkeypatch, caplog):
        asked(deadline_seconds=-60)
        other = asked(kind="test_question", deadline_seconds=-30)
        refund.breaks = True

        assert expire_due() == 1

        other.refresh_from_db()
        assert other.status == "expired"
        assert "could not be expired" in caplog.text


class TestKinds:
    def test_a_name_is_taken_once(self, refund):
        with pytest.raises(ValueError, match="already"):
            kinds.register(refund)

    def test_a_kind_that_takes_edits_can_rule_on_them(self):
        class Careless(Question):
            name = "test_careless"
            verdicts = frozenset({states.MODIFIED})

        with pytest.raises(ValueError, match="re_rule"):
            kinds.register(Careless())

    def test_no_kind_accepts_what_no_person_gives(self):
        class Greedy(Question):
            name = "test_greedy"
            verdicts = frozenset({states.EXPIRED})

        with pytest.raises(ValueError, match="expired"):
            kinds.register(Greedy())
