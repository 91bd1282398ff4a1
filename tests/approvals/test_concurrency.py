"""Threads with connections of their own, let go at one moment: exactly one wins, and the others learn who."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connections, transaction

from approvals import decisions, errors, requests
from approvals.models import ApprovalRequest, Decision
from orchestrator_site.core import events
from tests.waiting import PATIENCE_SECONDS

pytestmark = pytest.mark.django_db(transaction=True)


def at_once(jobs: list[Callable[[], Any]]) -> list[Any]:
    """Run all jobs at the same moment; a job's answer is what it returned or raised."""
    start = threading.Barrier(len(jobs))

    def run(job):
        try:
            start.wait(timeout=PATIENCE_SECONDS)
            return job()
        except Exception as error:
            return error
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(jobs)) as pool:
        return list(pool.map(run, jobs))


def test_of_fifty_deciders_one_wins_and_the_others_learn_who(cast, asked, refund, types_of):
    request = asked()
    posted = [
        {"by": cast.bo, "verdict": "approved"},
        {"by": cast.cy, "verdict": "rejected", "reason": "no"},
        {"by": cast.root, "verdict": "modified", "edit": {"amount": 150}},
        {"by": cast.root, "verdict": "modified", "edit": {"amount": 5000}},
        {"by": cast.bo, "verdict": "answered", "answer": "later"},
    ] * 10

    def job(post):
        return lambda: decisions.decide(request.pk, digest=request.digest, via="session", **post)

    outcomes = at_once([job(post) for post in posted])

    won = [outcome for outcome in outcomes if isinstance(outcome, decisions.Outcome)]
    lost = [outcome for outcome in outcomes if isinstance(outcome, errors.AlreadyDecided)]
    decision = Decision.objects.get()
    assert (len(won), len(lost)) == (1, 49), outcomes
    assert {error.decision.pk for error in lost} == {decision.pk}
    assert all(decision.by_name in str(error) for error in lost)
    assert len(refund.told) == 1
    assert len([type for type in types_of(request) if type.startswith("approval_")]) == (3 if won[0].successor else 2)


def test_of_deciders_the_clock_and_a_canceller_one_wins(cast, asked, refund):
    request = asked()

    def approve():
        return decisions.decide(request.pk, by=cast.bo, verdict="approved", digest=request.digest, via="session")

    def cancel():
        with events.recording() as log:
            return requests.supersede(log, ApprovalRequest.objects.filter(pk=request.pk), why="Cancelled.")

    def make_late():
        ApprovalRequest.objects.filter(pk=request.pk).update(deadline_at=request.created_at)
        return decisions.expire(request.pk)

    outcomes = at_once([approve, cancel, make_late] * 6)

    expected = (decisions.Outcome, Decision, list, type(None), errors.AlreadyDecided, errors.DeadlinePassed)
    assert all(isinstance(outcome, expected) for outcome in outcomes), outcomes
    won = [o for o in outcomes if isinstance(o, decisions.Outcome | Decision) or (isinstance(o, list) and o)]
    assert len(won) == 1
    request.refresh_from_db()
    assert Decision.objects.get().verdict == request.status


def test_of_many_consumers_one_wins(cast, asked, refund):
    request = asked()
    decisions.decide(request.pk, by=cast.bo, verdict="approved", digest=request.digest, via="session")

    def consumer(attempt):
        def consume():
            with transaction.atomic():
                requests.consume(request.pk, request.digest, attempt)
                return attempt

        return consume

    outcomes = at_once([consumer(attempt) for attempt in range(1, 11)])

    (winner,) = [outcome for outcome in outcomes if isinstance(outcome, int)]
    lost = [outcome for outcome in outcomes if isinstance(outcome, errors.NotConsumable)]
    request.refresh_from_db()
    assert request.consumed_by_attempt == str(winner)
    assert len(lost) == 9
    assert all(f"attempt {winner}." in str(error) for error in lost)
