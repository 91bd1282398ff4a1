"""The bytes of artifacts: small ones stay in their row, large ones go to the storage that `STORAGES` calls artifacts.

A file is written before the transaction that commits its row: whoever dies between the two leaves a file that no row
names, never a row without its bytes. `sweep` removes such files.
"""

import hashlib
import logging
from collections.abc import Iterator, Sequence
from datetime import timedelta

from django.conf import settings
from django.core.files.base import ContentFile
from django.core.files.storage import Storage, storages
from django.db import connection
from django.utils import timezone

from orchestrator_site.core.clock import database_now
from orchestrator_site.core.ids import new_id
from orchestrator_site.core.statements import Writes
from runs.models import Blob

logger = logging.getLogger(__name__)

# No transaction stays open for so long: a file of that age that no row names will not get one any more.
ORPHAN_AFTER = timedelta(days=1)
# How far back a sweep looks; one that missed so many days is made up for by `sweep(days=…)`.
SWEPT_DAYS = 7
BATCH = 500


class Unreadable(Exception):
    """The bytes cannot be had, or are not those that were kept; the message is one sentence."""


def storage() -> Storage:
    return storages["artifacts"]


def put(content: bytes) -> Blob:
    """A row that is not written yet, its bytes in the storage where they are many. Raises what the storage raises."""
    if len(content) <= settings.BATON_BLOB_ROW_BYTES:
        return in_row(content)
    assert not connection.in_atomic_block, "a storage may be slow, and no lock waits for it"
    digest = hashlib.sha256(content).hexdigest()
    known = Blob.objects.filter(pk=digest).only("stored_as").first()
    stored_as = known.stored_as if known is not None else _store(digest, content)
    return Blob(digest=digest, stored_as=stored_as) if stored_as else in_row(content)


def in_row(content: bytes) -> Blob:
    """As `put`, for who is in a transaction: they stay in the row, however many they are."""
    return Blob(digest=hashlib.sha256(content).hexdigest(), content=content)


def _store(digest: str, content: bytes) -> str:
    """Under a name of its own: nobody ever writes to a file that is there, whatever the storage does about that."""
    name = f"{timezone.now():%Y-%m-%d}/{digest}-{new_id().hex}"
    return storage().save(name, ContentFile(content))


def write(writes: Writes, blobs: Sequence[Blob]) -> None:
    """Insert those rows that are not there yet, in one order for everybody: who keeps the same bytes waits for us."""
    by_digest = {blob.pk: blob for blob in blobs}
    if not by_digest:
        return
    values = [value for _, blob in sorted(by_digest.items()) for value in (blob.pk, blob.content, blob.stored_as)]
    writes.add(_INSERT.format(rows=", ".join(["(%s::text, %s::bytea, %s::text)"] * len(by_digest))), values)


_INSERT = "INSERT INTO runs_blob (digest, content, stored_as) VALUES {rows} ON CONFLICT DO NOTHING"


def read(blob: Blob) -> bytes:
    """Raises Unreadable."""
    if blob.content is not None:
        return bytes(blob.content)
    try:
        with storage().open(blob.stored_as) as file:
            content = file.read()
    except Exception as error:  # each storage has errors of its own
        raise Unreadable(f"The bytes {blob} cannot be read from the storage now ({type(error).__name__}).") from error
    if hashlib.sha256(content).hexdigest() != blob.pk:
        raise Unreadable(f"The storage holds other bytes than those that were kept as {blob}.")
    return content


# -- files that no row names -------------------------------------------------------------------------------------
def sweep(days: int = SWEPT_DAYS) -> int:
    """Remove what crashed writers left in the storage, as old as ORPHAN_AFTER and up to so many days older."""
    removed = 0
    for day in _days(days):
        files = _files(day)
        for start in range(0, len(files), BATCH):
            for name in _orphans(files[start : start + BATCH]):
                storage().delete(name)
                removed += 1
    if removed:
        logger.info("removed %s files that no artifact names", removed)
    return removed


def _days(days: int) -> Iterator[str]:
    """Folders of days that lie whole behind ORPHAN_AFTER, with a day more for the clocks of those who wrote."""
    last = database_now() - ORPHAN_AFTER - timedelta(days=2)
    return (f"{last - timedelta(days=back):%Y-%m-%d}" for back in range(days))


def _files(day: str) -> list[str]:
    try:
        _, files = storage().listdir(day)
    except FileNotFoundError:
        return []
    return [f"{day}/{file}" for file in files]


def _orphans(names: Sequence[str]) -> set[str]:
    digests = [name.partition("/")[2].partition("-")[0] for name in names]
    return set(names) - set(Blob.objects.filter(pk__in=digests).values_list("stored_as", flat=True))
