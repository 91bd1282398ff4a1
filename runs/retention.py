"""Retention: whole months of the event log leave the database, declared in the platform's chain.

Only the log leaves. The runs of the month stay, with their steps, calls, requests and decisions; what is gone is the
hash-chained record of how they went, and an archive of it can be kept that verifies without the platform.
"""

import datetime as dt
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from django.db import OperationalError, connection, transaction
from django.db.models import QuerySet

from orchestrator_site.core import audit_export, checkpoints, clock, drops, events, partitions, verify
from orchestrator_site.core.drops import End
from orchestrator_site.core.models import ChainHead, Event, Observation
from orchestrator_site.core.partitions import Month
from runs.models import Run, ToolCall

# How long appends to the whole log may be kept waiting by the drop itself, and how often it is tried.
LOCK_SECONDS = 2
TRIES = 5
NAMED = 10


class NotDroppable(Exception):
    """The month stays as it is; the message says why, and the way out."""


@dataclass(frozen=True)
class Dropped:
    month: Month
    chains: int
    rows: int
    archive: Path | None


def droppable(before: dt.date) -> list[Month]:
    """Months that have a partition and ended before the moment this day begins (UTC), oldest first."""
    moment = dt.datetime(before.year, before.month, before.day, tzinfo=dt.UTC)
    return [month for month in partitions.months() if month.ends_at <= min(moment, clock.database_now())]


def drop(month: Month, folder: Path | None) -> Dropped:
    """Verify every chain of the month, write the archive into `folder`, then declare and drop in one transaction.

    Raises NotDroppable when work of the month is not finished or its log is not whole, signing.KeyUnusable, and OSError
    when the archive cannot be written. It may be repeated; until its last transaction nothing has happened.
    """
    _refuse_unfinished(month)
    checkpoints.make()
    ends = _verified(month)
    archive = _archive(month, folder) if folder else None
    _again_while_busy(lambda: _remove(month, ends, archive))
    checkpoints.make()
    return Dropped(month, len(ends), sum(seq for _, seq, _ in ends), archive)


# -- what must be so ---------------------------------------------------------------------------------------------
def _refuse_unfinished(month: Month) -> None:
    """Nothing may be left that could still append to a chain of the month."""
    inside = {"pk__gte": month.first_id, "pk__lt": month.following.first_id}
    runs = Run.objects.open().filter(**inside).order_by("pk").values_list("pk", flat=True)
    if named := _named(runs):
        raise NotDroppable(f"{month}: these runs have not ended: {named}. Cancel them, or wait.")
    doubted = ToolCall.objects.uncertain().filter(dispatch__run__in=Run.objects.filter(**inside))
    if named := _named(doubted.order_by("pk").values_list("pk", flat=True)):
        raise NotDroppable(f"{month}: nobody has said yet what became of these calls: {named}. See /uncertain/.")
    owed = Observation.objects.filter(given_up=False, event__in=_rows(month))
    if named := _named(owed.order_by("pk").values_list("observer", flat=True)):
        raise NotDroppable(f"{month}: observers are still to be told of its events: {named}. See the admin.")


def _named(found: QuerySet) -> str:
    first = [str(each) for each in found[: NAMED + 1]]
    return ", ".join(first[:NAMED]) + (" and more" if len(first) > NAMED else "")


def _verified(month: Month) -> list[End]:
    """Where its chains end, sorted; each walked, and signed to its very end by a genuine checkpoint."""
    heads = {head.chain: head for head in _heads(month)}
    listed = verify.listed_in({head.checkpoint for head in heads.values() if head.checkpoint})
    with transaction.atomic():  # for a cursor that reads as it goes
        rows = _rows(month).order_by("chain", "seq").iterator(chunk_size=2000)
        for chain, own in groupby(rows, key=lambda event: event.chain):
            signed = listed.get(chain)
            fault, _ = verify.walk(chain, own, [signed] if signed else [], heads.get(chain))
            _refuse_faulty(chain, heads.pop(chain, None), signed, fault)
    if heads:
        raise NotDroppable(f"{min(heads)} has a head and no rows. Run manage.py verify_audit.")
    return _ends(month)


def _refuse_faulty(
    chain: str, head: ChainHead | None, signed: verify.Listed | None, fault: verify.Fault | None
) -> None:
    if fault is not None:
        raise NotDroppable(f"{fault}. What does not verify is not dropped: it would look as if it had been whole.")
    if head is None or signed is None or (head.seq, head.hash) != (signed.seq, signed.hash):
        raise NotDroppable(f"{chain} is not signed to its end by a genuine checkpoint. Run manage.py verify_audit.")


def _heads(month: Month) -> QuerySet[ChainHead]:
    return ChainHead.objects.filter(chain__gte=month.first_chain, chain__lt=month.following.first_chain)


def _rows(month: Month) -> QuerySet[Event]:
    return Event.objects.filter(chain__gte=month.first_chain, chain__lt=month.following.first_chain)


def _ends(month: Month) -> list[End]:
    return sorted(_heads(month).values_list("chain", "seq", "hash"))


# -- the archive -------------------------------------------------------------------------------------------------
def _archive(month: Month, folder: Path) -> Path:
    """Complete and on disk, or not there."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{month.partition}.jsonl"
    being_written = path.with_suffix(".part")
    with being_written.open("w", encoding="utf-8") as file:
        for record in _records(month):
            file.write(json.dumps(record, ensure_ascii=False, separators=(",", ":")) + "\n")
        file.flush()
        os.fsync(file.fileno())
    being_written.rename(path)
    return path


def _records(month: Month) -> Iterator[audit_export.Record]:
    with transaction.atomic():
        yield from audit_export.rows(_heads(month), _rows(month))


# -- the drop ----------------------------------------------------------------------------------------------------
def _again_while_busy(remove: Callable[[], None]) -> None:
    for left in reversed(range(TRIES)):
        try:
            return remove()
        except OperationalError as error:  # the log was in use for longer than we keep others waiting
            if not left:
                raise NotDroppable(
                    f"The log was in use all the time ({error}). Try again at a quieter hour."
                ) from error
    raise AssertionError("unreachable")


def _remove(month: Month, ends: Sequence[End], archive: Path | None) -> None:
    """Locks: the month's partition, the platform's head, the whole log for the instant of the drop."""
    with events.recording() as log, connection.cursor() as cursor:
        cursor.execute("SELECT set_config('lock_timeout', %s, true)", [f"{LOCK_SECONDS}s"])
        cursor.execute(f'LOCK TABLE "{month.partition}" IN SHARE ROW EXCLUSIVE MODE')
        if list(ends) != _ends(month):
            raise NotDroppable(f"{month}: something was appended meanwhile. Try again.")
        Observation.objects.filter(event__in=_rows(month)).delete()
        _heads(month).delete()
        log.platform(
            drops.TYPE,
            partition=month.partition,
            before=month.ends_at.isoformat(),
            chains=len(ends),
            digest=drops.digest(ends),
            archive=archive.name if archive else "",
        )
        # Whoever writes to both has the platform's head first: in the same order nobody waits in a ring.
        ChainHead.objects.select_for_update().filter(chain=events.PLATFORM).first()
        cursor.execute(f'DROP TABLE "{month.partition}"')
