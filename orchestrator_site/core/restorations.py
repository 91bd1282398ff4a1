"""Backups that were put back: found by the second place or told by a person, and marked before anything is done."""

from typing import Any

from django.db import connection
from django.db.models.functions import Now

from orchestrator_site.core import checkpoints, events
from orchestrator_site.core.events import Record
from orchestrator_site.core.models import Restoration
from orchestrator_site.core.second_place import Known

# Farther than any table can have grown between a backup and its restore: an id that somebody outside remembers from
# then is given to no other row.
ID_LEAP = 1_000_000


def unmarked() -> Restoration | None:
    """The one that work waits for."""
    return Restoration.objects.filter(marked_at__isnull=True).first()


def begin(known: Known | None, *, by: str) -> Restoration:
    """Hold the work from now on. `known` is what the second place holds and the database does not; None: `by` says so.

    The one that is open already, when there is one.
    """
    with events.recording() as log:
        checkpoints.lock()
        if (there := unmarked()) is not None:
            _know_more(there, known)
            return there
        last = checkpoints.newest()
        number = last.number if last else 0
        found = Restoration.objects.create(
            log=last.log if last else None,
            database_number=number,
            outside_number=max(known.number, number) if known else number,
            outside_hash=known.hash if known else "",
            found_by=by,
        )
        found.refresh_from_db(fields=["found_at"])
        _leap_over_ids()
        log.platform("restore_found", actor=by, checkpoint=number, lost_to=found.outside_number)
    return found


def _know_more(restoration: Restoration, known: Known | None) -> None:
    """Another host's second place may have seen more of what was lost."""
    if known is not None and known.number > restoration.outside_number:
        more = {"outside_number": known.number, "outside_hash": known.hash}
        Restoration.objects.filter(pk=restoration.pk, marked_at__isnull=True).update(**more)


def hold(restoration: Restoration) -> bool:
    """Lock it; False when it is marked already."""
    return Restoration.objects.select_for_update().filter(pk=restoration.pk, marked_at__isnull=True).exists()


def end(log: Record, restoration: Restoration, **told: Any) -> None:
    """Work may go on. The caller holds it."""
    Restoration.objects.filter(pk=restoration.pk).update(marked_at=Now())
    log.platform(
        "database_restored",
        actor=restoration.found_by,
        checkpoint=restoration.database_number,
        lost_to=restoration.outside_number,
        **told,
    )


def _leap_over_ids() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            """SELECT setval(format('%%I.%%I', schemaname, sequencename)::regclass, last_value + %s) FROM pg_sequences
               WHERE schemaname = current_schema() AND data_type = 'bigint'::regtype AND last_value IS NOT NULL
               AND has_sequence_privilege(format('%%I.%%I', schemaname, sequencename), 'UPDATE')""",
            [ID_LEAP],
        )
