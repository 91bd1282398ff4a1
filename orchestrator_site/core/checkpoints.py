"""Signed checkpoints: where every chain stood that had moved since the last one. The only writer of `Checkpoint`.

Any number of workers ask once in a while whether one is due; an advisory lock and the newest row decide, so there is
one a minute. What is committed before a checkpoint begins is covered by it: a head that commits later still says
`moved` and is listed by the next.
"""

import datetime as dt
from collections.abc import Sequence
from uuid import uuid4

from django.conf import settings
from django.db import connection, transaction

from orchestrator_site.core import canonical, clock, merkle, signing
from orchestrator_site.core.merkle import Entry
from orchestrator_site.core.models import ChainHead, Checkpoint, Restoration

KIND = "baton checkpoint"
# Whoever makes a checkpoint holds it to the end of the transaction; whoever exports holds it shared while reading them.
LOCK = 0x6261746F6E01


def make_if_due() -> Checkpoint | None:
    """None when one was made lately, somebody is at it, or nothing has moved. Raises signing.KeyUnusable."""
    if not _is_due():
        return None
    with transaction.atomic():
        return _make() if _tried_lock() and _is_due() else None


def make() -> Checkpoint | None:
    """Now, after whoever is at it; None when nothing has moved since the last. Raises signing.KeyUnusable."""
    with transaction.atomic():
        lock()
        return _make()


def newest() -> Checkpoint | None:
    return Checkpoint.objects.defer("entries").order_by("-number").first()


def _is_due() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(_DUE, [settings.BATON_CHECKPOINT_SECONDS])
        return bool(cursor.fetchone()[0])


# One look-up in each of two indexes: every worker asks it all the time. The order leads to the first of them: without
# it, right after a checkpoint, old statistics would have all heads read.
_DUE = """
SELECT (SELECT true FROM core_chainhead WHERE moved ORDER BY chain LIMIT 1) AND coalesce(
    (SELECT at FROM core_checkpoint ORDER BY number DESC LIMIT 1)
    <= clock_timestamp() - make_interval(secs => %s), true)
"""


def _make() -> Checkpoint | None:
    """The caller holds the lock. Heads are read without one: what was committed is true, and stands in a row."""
    if Restoration.objects.filter(marked_at__isnull=True).exists():
        return None  # where the log stands is not known before the restore is marked
    _commit_for_sure()
    last, at = newest(), clock.database_now()
    undeclared = list(Restoration.objects.filter(declared_by__isnull=True).order_by("pk"))
    entries: list[Entry] = sorted(ChainHead.objects.filter(moved=True).values_list("chain", "seq", "hash"))
    if not entries and not undeclared:
        return None
    made = _signed(last, at, entries, undeclared)
    Checkpoint.objects.bulk_create([made])
    Restoration.objects.filter(pk__in=[each.pk for each in undeclared]).update(declared_by=made.number)
    _covered(entries, made.number)
    return made


def _signed(
    last: Checkpoint | None, at: dt.datetime, entries: Sequence[Entry], undeclared: Sequence[Restoration]
) -> Checkpoint:
    key = signing.private_key()
    log = last.log if last else uuid4()
    # After a restore the numbers go on behind those the second place has seen: none is ever given twice.
    number = max([last.number if last else 0, *(each.outside_number for each in undeclared)]) + 1
    content = {
        "kind": KIND,
        "version": 1,
        "log": str(log),
        "number": number,
        "at": at.isoformat(),
        "previous": last.hash if last else "",
        "chains": len(entries),
        "root": merkle.root(entries),
        "key": signing.name_of(key.public_key()),
    }
    if undeclared:
        content["restored"] = [_declared(each) for each in undeclared]
    body = canonical.dumps(content)
    return Checkpoint(
        number=number,
        log=log,
        at=at,
        body=body,
        entries=canonical.dumps([list(entry) for entry in entries]),
        hash=canonical.digest(body),
        signature=signing.sign(key, body),
    )


def _declared(restoration: Restoration) -> dict[str, object]:
    assert restoration.marked_at is not None
    return {
        "back_to": restoration.database_number,
        "lost_to": restoration.outside_number,
        "lost_hash": restoration.outside_hash,
        "by": restoration.found_by,
        "at": restoration.marked_at.isoformat(),
    }


def _covered(entries: Sequence[Entry], number: int) -> None:
    """Heads that stand where the checkpoint says have not moved since. One that is locked is listed once more."""
    with connection.cursor() as cursor:
        cursor.execute(
            """WITH still AS (SELECT h.chain FROM core_chainhead h
                              JOIN unnest(%s::text[], %s::bigint[]) AS listed(chain, seq)
                                ON h.chain = listed.chain AND h.seq = listed.seq
                              FOR NO KEY UPDATE OF h SKIP LOCKED)
               UPDATE core_chainhead h SET moved = false, checkpoint = %s FROM still WHERE h.chain = still.chain""",
            [[chain for chain, _, _ in entries], [seq for _, seq, _ in entries], number],
        )


def _commit_for_sure() -> None:
    """What the second place is told of must still be here after a crash, also where commits need not reach the disk."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off'"
        )


def _tried_lock() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [LOCK])
        return cursor.fetchone()[0]


def lock() -> None:
    """Until the caller's transaction ends nobody else makes a checkpoint."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])


def hold_off() -> None:
    """Until the caller's transaction ends no checkpoint is made: those there are all there are."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock_shared(%s)", [LOCK])
