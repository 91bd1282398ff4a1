"""When a checkpoint is made, what it lists, and that nothing committed before it is left out."""

import json
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.db import DatabaseError, connection, connections, transaction
from django.db.models import F

from orchestrator_site.core import audit_export, canonical, checkpoints, events, merkle, second_place, signing, verify
from orchestrator_site.core.events import PLATFORM
from orchestrator_site.core.models import AppendOnly, ChainHead, Checkpoint
from tests.audit.cast import checkpoint, new_chain, say, verified
from tests.runs.cast import at_once
from tests.waiting import PATIENCE_SECONDS

pytestmark = pytest.mark.django_db


def listed(checkpoint: Checkpoint | None) -> dict[str, int]:
    assert checkpoint is not None
    return {chain: seq for chain, seq, _ in json.loads(checkpoint.entries)}


@contextmanager
def elsewhere(chain: str) -> Iterator[threading.Event]:
    """Another session appends a row and commits it when the event is set, or at the latest when we leave."""
    appended, may_commit = threading.Event(), threading.Event()

    def append() -> None:
        try:
            with transaction.atomic():
                say(chain, 1)
                appended.set()
                assert may_commit.wait(PATIENCE_SECONDS)
        finally:
            connections.close_all()

    thread = threading.Thread(target=append)
    thread.start()
    try:
        assert appended.wait(PATIENCE_SECONDS)
        yield may_commit
    finally:
        may_commit.set()
        thread.join(20)


# -- what it lists -----------------------------------------------------------------------------------------------
def test_it_lists_the_chains_that_moved_since_the_last_one():
    first, second, third = new_chain(), new_chain(), new_chain()
    say(first, 3)
    say(second, 1)
    say(PLATFORM, 2)
    one = checkpoints.make()
    say(second, 4)
    say(third, 1)
    two = checkpoints.make()

    assert listed(one) == {first: 3, second: 1, PLATFORM: 2}
    assert listed(two) == {second: 5, third: 1}
    assert checkpoints.make() is None
    assert set(ChainHead.objects.values_list("chain", "checkpoint")) == {
        (first, 1), (PLATFORM, 1), (second, 2), (third, 2)
    }  # fmt: skip


def test_it_signs_the_hash_of_the_one_before():
    say(PLATFORM, 1)
    one = checkpoints.make()
    say(PLATFORM, 1)
    two = checkpoints.make()

    assert one is not None
    assert two is not None
    body = json.loads(two.body)
    key = signing.private_key().public_key()
    assert (body["number"], body["previous"], body["log"]) == (2, one.hash, str(one.log))
    assert body["root"] == merkle.root([tuple(entry) for entry in json.loads(two.entries)])
    assert canonical.digest(two.body) == two.hash
    assert signing.is_signed(two.body, two.signature, key)
    assert not signing.is_signed(one.body, two.signature, key)
    assert body["key"] == signing.name_of(key)


@pytest.mark.django_db(transaction=True)
def test_a_row_that_commits_after_the_scan_is_in_the_next_one():
    chain = new_chain()
    say(chain, 2)
    with elsewhere(chain):
        one = checkpoints.make()
    two = checkpoints.make()

    assert listed(one) == {chain: 2}, "what was committed is covered, though its head is locked"
    assert listed(two) == {chain: 3}


@pytest.mark.django_db(transaction=True)
def test_a_row_that_commits_between_the_scan_and_the_end_is_in_the_next_one(monkeypatch: pytest.MonkeyPatch):
    chain, signed = new_chain(), checkpoints._signed
    say(chain, 2)

    def meanwhile(*given: Any) -> Checkpoint:
        with elsewhere(chain):
            pass
        return signed(*given)

    with monkeypatch.context() as patched:
        patched.setattr(checkpoints, "_signed", meanwhile)
        one = checkpoints.make()
    two = checkpoints.make()

    assert (listed(one), listed(two)) == ({chain: 2}, {chain: 3})


@pytest.mark.django_db(transaction=True)
def test_a_new_chain_in_flight_is_in_the_next_one():
    known, chain = new_chain(), new_chain()
    say(known, 1)
    with elsewhere(chain):
        one = checkpoints.make()
    two = checkpoints.make()

    assert (listed(one), listed(two)) == ({known: 1}, {chain: 1})


def test_what_moved_is_found_without_reading_all_heads():
    """Also right after a checkpoint, when the planner still believes that many have moved."""
    ChainHead.objects.bulk_create([ChainHead(chain=f"run:{n}", seq=1, moved=n % 20 == 0) for n in range(20_000)])
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE core_chainhead")
    before = plans()
    ChainHead.objects.update(moved=False)
    after = plans()

    for plan in [*before, *after]:
        assert "chain_moved" in plan
        assert "Seq Scan on core_chainhead" not in plan


def plans() -> list[str]:
    asked = [(checkpoints._DUE, [60]), ("SELECT chain, seq, hash FROM core_chainhead WHERE moved", [])]
    with connection.cursor() as cursor:
        found = []
        for sql, values in asked:
            cursor.execute(f"EXPLAIN {sql}", values)
            found.append("\n".join(row[0] for row in cursor.fetchall()))
    return found


# -- when --------------------------------------------------------------------------------------------------------
def test_one_a_minute(settings: Any):
    settings.BATON_CHECKPOINT_SECONDS = 60
    say(PLATFORM, 1)
    first = checkpoints.make_if_due()
    say(PLATFORM, 1)
    too_early = checkpoints.make_if_due()
    _make_older(seconds=59)
    still_too_early = checkpoints.make_if_due()
    _make_older(seconds=2)
    due = checkpoints.make_if_due()

    assert first is not None
    assert (too_early, still_too_early) == (None, None)
    assert due is not None
    assert due.number == 2


def test_none_when_nothing_moved():
    say(PLATFORM, 1)
    checkpoints.make()
    _make_older(seconds=3600)

    assert checkpoints.make_if_due() is None
    assert Checkpoint.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_any_number_of_workers_make_one():
    for _ in range(5):
        say(PLATFORM, 1)
        _make_older(seconds=3600)
        made = [each for each in at_once(checkpoints.make_if_due, 8) if each is not None]
        assert len(made) == 1, made
        assert isinstance(made[0], Checkpoint), made

    assert list(Checkpoint.objects.values_list("number", flat=True)) == [1, 2, 3, 4, 5]


@pytest.mark.django_db(transaction=True)
def test_those_asked_for_at_once_follow_one_another():
    def move_and_make() -> Checkpoint | None:
        say(new_chain(), 1)
        return checkpoints.make()

    made = at_once(move_and_make, 8)

    assert not [each for each in made if isinstance(each, Exception)]
    bodies = [json.loads(each.body) for each in Checkpoint.objects.order_by("number")]
    assert [body["number"] for body in bodies] == list(range(1, len(bodies) + 1))
    assert sum(body["chains"] for body in bodies) >= 8
    assert not ChainHead.objects.filter(moved=True).exists()


def _make_older(*, seconds: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        Checkpoint.objects.update(at=F("at") - timedelta(seconds=seconds))
        cursor.execute("SET session_replication_role = DEFAULT")


# -- kept as it was written --------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "sql",
    ["UPDATE core_checkpoint SET body = ''", "DELETE FROM core_checkpoint", "TRUNCATE core_checkpoint"],
)
def test_the_database_refuses(sql: str):
    say(PLATFORM, 1)
    made = checkpoints.make()
    assert made is not None

    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(sql)
    for verb in (made.save, made.delete):
        with pytest.raises(AppendOnly):
            verb()


def test_appending_says_that_the_chain_moved():
    chain = new_chain()
    say(chain, 1)
    checkpoints.make()
    before = ChainHead.objects.get(chain=chain).moved
    with events.recording() as log:
        log.platform("test_happened")
    say(chain, 1)

    assert (before, ChainHead.objects.get(chain=chain).moved) == (False, True)


# -- while others write ------------------------------------------------------------------------------------------
@pytest.mark.django_db(transaction=True)
def test_no_fault_is_seen_in_a_log_that_grows_while_it_is_read():
    """Three write, one signs, and two read: the platform's own verifier, and the other one by an export."""
    chains = [PLATFORM, *(new_chain() for _ in range(4))]
    is_over = threading.Event()
    say(PLATFORM, 1)
    checkpoint()

    def write(dice: random.Random) -> None:
        while not is_over.is_set():
            say(dice.choice(chains), 1)

    def sign() -> None:
        while not is_over.is_set():
            checkpoints.make()
            second_place.copy()

    threads = [threading.Thread(target=closing, args=[write, random.Random(seed)]) for seed in range(3)]
    threads.append(threading.Thread(target=closing, args=[sign]))
    for thread in threads:
        thread.start()
    try:
        for _ in range(15):
            assert verified(outside=True).faults == []
            assert verified(audit_export.of_chain(chains[1])).faults == []
            signed = verify.checkpoints()
            assert signed.faults + [fault for _, fault in verify.all_chains(signed.listed) if fault] == []
    finally:
        is_over.set()
        for thread in threads:
            thread.join(30)

    checkpoints.make()
    report = verified()
    assert report.rows == report.rows_covered > 20
    assert report.newest is not None
    assert report.newest.number > 3


def closing(job: Any, *given: Any) -> None:
    try:
        job(*given)
    finally:
        connections.close_all()
