"""Whoever owns the database changes the log, sixty times in each way, and is found; what finds them shares no code.

Each attack picks its victim among the rows that a checkpoint covers. Afterwards the transaction is rolled back, so that
the next one finds the log as it was.
"""

import json
import random
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.db import connection, transaction

from orchestrator_site.core import audit_export, canonical, merkle, second_place, signing, verify
from orchestrator_site.core.events import link_hash
from orchestrator_site.core.models import ChainHead, Checkpoint, Event
from orchestrator_site.offline.verify_export import CHECKPOINTS, Report
from tests.audit.cast import Log, verified

pytestmark = pytest.mark.django_db

TIMES = 60


def as_owner(sql: str, *values: Any) -> None:
    """Past the triggers. The whole attack is undone with its transaction, and this with it."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(sql, values)


# -- what an attacker does ---------------------------------------------------------------------------------------
def covered_row(log: Log, dice: random.Random) -> tuple[str, int]:
    chain = dice.choice(sorted(log.covered))
    return chain, dice.randint(1, log.covered[chain])


def covered_row_of_a_run(log: Log, dice: random.Random) -> tuple[str, int]:
    while (row := covered_row(log, dice))[0] == "platform":
        pass
    return row


EDITS = {
    "data": """data = replace(data, '"count":', '"count":1')""",
    "actor": "actor = 'user:mallory'",
    "type": "type = 'nothing_happened'",
    "at": "at = at - interval '1 microsecond'",
    "run_id": "run_id = gen_random_uuid()",
    "hash": "hash = md5(hash) || md5(hash)",
    "previous_hash": "previous_hash = md5(hash) || md5(hash)",
}


def edit(log: Log, dice: random.Random) -> tuple[str, int]:
    chain, seq = covered_row(log, dice)
    as_owner(f"UPDATE core_event SET {dice.choice([*EDITS.values()])} WHERE chain = %s AND seq = %s", chain, seq)
    return chain, seq


def delete(log: Log, dice: random.Random) -> tuple[str, int]:
    chain, seq = covered_row(log, dice)
    as_owner("DELETE FROM core_event WHERE chain = %s AND seq = %s", chain, seq)
    return chain, seq


def insert(log: Log, dice: random.Random) -> tuple[str, int]:
    """A row slipped in, with hashes that fit; every row after it moved up and restamped, and the head with them."""
    chain, seq = covered_row(log, dice)
    as_owner("UPDATE core_event SET seq = -1 - seq WHERE chain = %s AND seq >= %s", chain, seq)
    as_owner("UPDATE core_event SET seq = -seq WHERE chain = %s AND seq < 0", chain)
    as_owner(
        """INSERT INTO core_event (chain, seq, run_id, type, actor, at, data, previous_hash, hash)
           SELECT chain, %s, run_id, 'test_happened', 'user:mallory', at, '{}', '', '' FROM core_event
           WHERE chain = %s LIMIT 1""",
        seq,
        chain,
    )
    restamped(chain, seq)
    return chain, seq


def reorder(log: Log, dice: random.Random) -> tuple[str, int]:
    chain, seq = covered_row(log, dice)
    other = dice.choice([each for each in range(1, log.rows[chain] + 1) if each != seq])
    as_owner("UPDATE core_event SET seq = -seq WHERE chain = %s AND seq IN (%s, %s)", chain, seq, other)
    as_owner("UPDATE core_event SET seq = CASE WHEN seq = %s THEN %s ELSE %s END WHERE chain = %s AND seq < 0",
             -seq, other, seq, chain)  # fmt: skip
    return chain, min(seq, other)


def truncate(log: Log, dice: random.Random) -> tuple[str, int]:
    """The end of a chain cut off, and the head put back to what is left."""
    chain, seq = covered_row(log, dice)
    before = Event.objects.filter(chain=chain, seq=seq - 1).first()
    as_owner("DELETE FROM core_event WHERE chain = %s AND seq >= %s", chain, seq)
    as_owner("UPDATE core_chainhead SET seq = %s, hash = %s WHERE chain = %s", seq - 1, before.hash if before else "",
             chain)  # fmt: skip
    return chain, seq


def restamp(log: Log, dice: random.Random) -> tuple[str, int]:
    """A row rewritten, and every hash after it and the head made anew: by themselves the rows are perfect."""
    chain, seq = covered_row(log, dice)
    as_owner("UPDATE core_event SET data = %s WHERE chain = %s AND seq = %s", '{"nothing":"here"}', chain, seq)
    restamped(chain, seq)
    return chain, seq


def restamped(chain: str, since: int) -> None:
    before = Event.objects.filter(chain=chain, seq=since - 1).first()
    previous = before.hash if before else ""
    for row in Event.objects.filter(chain=chain, seq__gte=since).order_by("seq"):
        made = link_hash(previous, chain, row.seq, row.type, row.actor, row.at, row.data)
        as_owner("UPDATE core_event SET previous_hash = %s, hash = %s WHERE id = %s", previous, made, row.pk)
        previous = made
    last = Event.objects.filter(chain=chain).latest("seq")
    as_owner("UPDATE core_chainhead SET seq = %s, hash = %s WHERE chain = %s", last.seq, last.hash, chain)


def drop_run(log: Log, dice: random.Random) -> tuple[str, int]:
    """A run as if it had never been, its head too."""
    chain, _ = covered_row_of_a_run(log, dice)
    as_owner("DELETE FROM core_event WHERE chain = %s", chain)
    as_owner("DELETE FROM core_chainhead WHERE chain = %s", chain)
    return chain, 1


def re_sign(log: Log, dice: random.Random) -> tuple[str, int]:
    """A chain restamped and every checkpoint from there on made anew, with a key of the attacker's own.

    Half of the time the checkpoints still name the platform's key.
    """
    chain, _ = restamp(log, dice)
    key, is_disguised, previous = Ed25519PrivateKey.generate(), dice.random() < 0.5, ""
    ends = dict(Event.objects.filter(chain=chain).values_list("seq", "hash"))
    for each in Checkpoint.objects.order_by("number"):
        entries = [(name, at, ends[at] if name == chain else digest) for name, at, digest in json.loads(each.entries)]
        body = json.loads(each.body) | {"root": merkle.root(entries), "previous": previous}
        if not is_disguised:
            body["key"] = signing.name_of(key.public_key())
        text = canonical.dumps(body)
        previous = canonical.digest(text)
        as_owner(
            "UPDATE core_checkpoint SET body = %s, entries = %s, hash = %s, signature = %s WHERE number = %s",
            text,
            canonical.dumps([list(entry) for entry in entries]),
            previous,
            signing.sign(key, text),
            each.number,
        )
    return CHECKPOINTS, 1


def forget_checkpoint(log: Log, dice: random.Random) -> tuple[str, int]:
    """One taken out of the middle, and the chain it speaks of restamped."""
    number = dice.randint(1, 3)
    as_owner("DELETE FROM core_checkpoint WHERE number = %s", number)
    return CHECKPOINTS, number


def change_checkpoint(log: Log, dice: random.Random) -> tuple[str, int]:
    number = dice.randint(1, 4)
    column, value = dice.choice(
        [
            ("entries", "replace(entries, '0', '1')"),
            ("entries", "'[]'"),
            ("body", """replace(body, '"chains":', '"chains":1')"""),
            ("signature", "reverse(signature)"),
        ]
    )
    as_owner(f"UPDATE core_checkpoint SET {column} = {value} WHERE number = %s", number)
    return CHECKPOINTS, number


def cut_everything_back(log: Log, dice: random.Random) -> tuple[str, int]:
    """The newest checkpoints deleted, and every chain cut back to what is left of them: whole by itself, but older."""
    number = dice.randint(1, 3)
    as_owner("DELETE FROM core_checkpoint WHERE number > %s", number)
    ends: dict[str, tuple[int, str]] = {}
    for each in Checkpoint.objects.order_by("number"):
        ends |= {name: (seq, digest) for name, seq, digest in json.loads(each.entries)}
    for chain, (seq, digest) in ends.items():
        as_owner("DELETE FROM core_event WHERE chain = %s AND seq > %s", chain, seq)
        as_owner("UPDATE core_chainhead SET seq = %s, hash = %s, moved = false WHERE chain = %s", seq, digest, chain)
    return CHECKPOINTS, number + 1


Attack = Callable[[Log, random.Random], tuple[str, int]]
ATTACKS: list[Attack] = [edit, delete, insert, reorder, truncate, restamp, drop_run, re_sign]
ON_CHECKPOINTS: list[Attack] = [forget_checkpoint, change_checkpoint]


def after(attack: Attack, log: Log, seed: int, look: Callable[[], Any]) -> tuple[tuple[str, int], Any]:
    """Where the attack struck, and what is seen of it; then it is undone."""
    with transaction.atomic():
        struck = attack(log, random.Random(f"{attack.__name__} {seed}"))
        seen = look()
        transaction.set_rollback(True)
    return struck, seen


# -- found -------------------------------------------------------------------------------------------------------
# Those that leave the rows after the struck one as they are; of the others a checkpoint knows that rows up to the next
# entry are not those that were signed, and the first of these is named.
EXACT = {edit, delete, reorder, truncate, drop_run, re_sign, forget_checkpoint, change_checkpoint}


def names(report: Report, struck: tuple[str, int], *, exactly: bool) -> bool:
    """The first fault of the struck chain is at the struck row, or where the checkpoint before it ends."""
    chain, seq = struck
    first = next((fault.seq for fault in report.faults if fault.chain == chain), None)
    return first is not None and (first == seq if exactly else first <= seq) and report.exit_code() == 1


@pytest.mark.parametrize("attack", [*ATTACKS, *ON_CHECKPOINTS], ids=lambda attack: attack.__name__)
def test_it_is_found_by_who_has_only_an_export_and_the_public_key(attack: Attack, log: Log):
    missed = []
    for seed in range(TIMES):
        struck, report = after(attack, log, seed, verified)
        if not names(report, struck, exactly=attack in EXACT):
            missed.append((seed, struck, report.faults))

    assert missed == []


@pytest.mark.parametrize("attack", [*ATTACKS, *ON_CHECKPOINTS], ids=lambda attack: attack.__name__)
def test_it_is_found_by_the_platform_itself(attack: Attack, log: Log):
    def look() -> list[verify.Fault]:
        signed = verify.checkpoints()
        return signed.faults + [fault for _, fault in verify.all_chains(signed.listed) if fault]

    for seed in range(TIMES // 6):
        (chain, seq), faults = after(attack, log, seed, look)
        first = next((fault for fault in faults if fault.chain == chain), None)
        assert first is not None, (seed, chain, seq)
        assert first.seq <= seq or attack is forget_checkpoint


def test_a_log_cut_back_with_its_checkpoints_is_found_by_the_second_place(log: Log):
    for seed in range(TIMES):
        struck, report = after(cut_everything_back, log, seed, lambda: verified(outside=True))
        assert names(report, struck, exactly=True)

        _, ahead = after(cut_everything_back, log, seed, second_place.copy)
        assert ahead is not None
        assert ahead.number == 4


def test_checkpoints_signed_anew_are_found_row_by_row_with_the_second_place(log: Log):
    """It holds the checkpoints as they were, so the restamped chain itself is named too."""
    for seed in range(TIMES):
        struck, report = after(re_sign, log, seed, lambda: verified(outside=True))
        assert names(report, struck, exactly=True)
        assert any("restamped" in fault.what for fault in report.faults)


# -- controls: what finds it is the checkpoints ------------------------------------------------------------------
def test_control_an_untouched_log_is_whole(log: Log):
    report = verified(outside=True)

    assert (report.faults, report.declared, report.exit_code()) == ([], [], 0)
    assert report.rows == sum(log.rows.values())
    assert report.rows_covered == sum(log.covered.values())
    assert report.chains == len(log.chains)
    signed = verify.checkpoints()
    assert signed.faults == []
    assert [fault for _, fault in verify.all_chains(signed.listed) if fault] == []


@pytest.mark.parametrize("attack", [restamp, insert, truncate, drop_run], ids=lambda attack: attack.__name__)
def test_control_without_checkpoints_it_is_missed(attack: Attack, log: Log):
    """Teeth: the chain's own hashes, made by a function that is no secret, tell nothing of whoever makes them anew."""

    def look() -> Report:
        bare = [record for record in audit_export.whole() if record["kind"] != "checkpoint"]
        return verified([bare[0] | {"newest_checkpoint": 0}, *bare[1:]])

    for seed in range(TIMES):
        _, report = after(attack, log, seed, look)
        assert report.faults == []

    (chain, _), _ = after(attack, log, 0, lambda: None)
    assert after(attack, log, 0, lambda: verify.chain(chain))[1] is None


def test_control_cut_back_with_its_checkpoints_it_is_missed_without_the_second_place(log: Log):
    for seed in range(TIMES):
        _, report = after(cut_everything_back, log, seed, verified)
        assert report.faults == []


def test_the_window_is_as_stated(log: Log):
    """Rows younger than the newest checkpoint can be restamped; their neighbours' hashes are all that holds them."""
    (chain, covered), rows = next(
        (each, log.rows[each[0]]) for each in log.covered.items() if log.rows[each[0]] > each[1]
    )

    def in_window(log: Log, dice: random.Random) -> tuple[str, int]:
        as_owner("UPDATE core_event SET data = '{}' WHERE chain = %s AND seq = %s", chain, rows)
        restamped(chain, rows)
        return chain, rows

    _, report = after(in_window, log, 0, lambda: verified(outside=True))

    assert rows > covered
    assert report.faults == []


def test_a_row_added_with_a_date_of_old_is_found(log: Log):
    """One that fits the chain and its head, and says that it is older than a checkpoint which does not list it."""
    chain = log.chains[1]

    def add(log: Log, dice: random.Random) -> tuple[str, int]:
        seq = log.rows[chain] + 1
        as_owner(
            """INSERT INTO core_event (chain, seq, run_id, type, actor, at, data, previous_hash, hash)
               SELECT chain, %s, run_id, 'test_happened', 'user:mallory', at - interval '1 hour', '{}', '', ''
               FROM core_event WHERE chain = %s LIMIT 1""",
            seq,
            chain,
        )
        restamped(chain, seq)
        return chain, seq

    struck, report = after(add, log, 0, verified)

    assert [(fault.chain, fault.seq) for fault in report.faults] == [struck]
    assert "no checkpoint" in report.faults[0].what


def test_heads_that_nobody_had_locked_are_marked_as_covered(log: Log):
    moved = dict(ChainHead.objects.values_list("chain", "moved"))

    assert {chain for chain, has_moved in moved.items() if has_moved} == {
        chain for chain in log.chains if log.rows[chain] > log.covered[chain]
    }
