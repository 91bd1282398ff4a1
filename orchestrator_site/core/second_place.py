"""The second place of the checkpoints: files beside the database, one line a checkpoint, one file a day, append-only.

Every worker host keeps its own from the day it starts (or all share one folder): what a worker finds in the database
and not here, it adds. A checkpoint is committed before it is written here, so this place is never ahead of the
database, unless the database is older than it was.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from uuid import UUID

from django.conf import settings

from orchestrator_site.core import canonical, checkpoints, signing
from orchestrator_site.core.models import Checkpoint, Restoration

# How many checkpoints are copied in one go.
BATCH = 100


@dataclass(frozen=True)
class Known:
    """The newest checkpoint that the second place holds of this database's log."""

    log: UUID
    number: int
    hash: str


def copy() -> Known | None:
    """Add what the database has and this place has not.

    Returns what this place knows and the database, without an explanation, does not: then the database is older than
    it was. None when all is well. Raises OSError when the place cannot be written.
    """
    last = checkpoints.newest()
    if last is None:
        return None
    known = _newest(last.log)
    if known is not None and (known.number, known.hash) != (last.number, last.hash) and not _is_explained(known):
        return known
    while known is None or known.number < last.number:
        known = _add(last, known)
    return None


def _is_explained(known: Known) -> bool:
    return Checkpoint.objects.filter(number=known.number, hash=known.hash).exists() or is_lost(known.number)


def is_lost(number: int) -> bool:
    """Whether a restore that was marked has left this checkpoint behind."""
    marked = Restoration.objects.filter(marked_at__isnull=False)
    return marked.filter(database_number__lt=number, outside_number__gte=number).exists()


def _add(last: Checkpoint, known: Known | None) -> Known:
    """A place that is new begins with the newest: an old checkpoint copied late would prove nothing."""
    after = last.number - 1 if known is None else known.number
    rows = list(Checkpoint.objects.filter(number__gt=after).order_by("number")[:BATCH])
    with _held(last.log) as folder:
        current = _newest(last.log)
        written = current.number if current else after
        for row in rows:
            if row.number > written:
                _write(folder, row)
    return Known(last.log, rows[-1].number, rows[-1].hash)


def _write(folder: Path, checkpoint: Checkpoint) -> None:
    # Never before the newest file, whatever the clock of a new server says: the newest line is looked for there.
    path = max([folder / f"{checkpoint.at:%Y-%m-%d}.jsonl", *_files(checkpoint.log)])
    line = json.dumps(as_record(checkpoint), ensure_ascii=False, separators=(",", ":")) + "\n"
    torn = _is_torn(path)
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        with os.fdopen(descriptor, "wb", closefd=False) as file:
            file.write(b"\n" * torn + line.encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def as_record(checkpoint: Checkpoint) -> dict[str, Any]:
    """One line of this place, and of an export."""
    return {
        "kind": "checkpoint",
        "number": checkpoint.number,
        "body": checkpoint.body,
        "entries": json.loads(checkpoint.entries),
        "signature": checkpoint.signature,
    }


def records(log: UUID) -> Iterator[dict[str, Any]]:
    """Every whole line of one log, oldest first."""
    for path in _files(log):
        with path.open(encoding="utf-8", errors="replace", newline="\n") as file:
            yield from (record for line in file if (record := _read(line)) is not None)


def _newest(log: UUID) -> Known | None:
    for path in reversed(_files(log)):
        found = path.stat()
        if (last := _last_of(path, found.st_size, found.st_mtime_ns, found.st_ino)) is not None:
            return Known(log, *last)
    return None


@lru_cache(maxsize=16)
def _last_of(path: Path, size: int, *unchanged: int) -> tuple[int, str] | None:
    """Number and hash of a file's last line that is whole and signed; read again when the file has changed."""
    for line in _lines_from_the_end(path, size):
        if (record := _read(line)) is not None and _may_be_believed(record):
            return record["number"], canonical.digest(record["body"])
    return None


def _may_be_believed(record: dict[str, Any]) -> bool:
    """Whoever can write here alone must not be able to say that the database is older than it was.

    Without a key of ours nothing can be checked: then it is believed, and the work held rather than done twice.
    """
    try:
        keys = signing.trusted()
        key = keys.get(json.loads(record["body"])["key"])
        return key is not None and signing.is_signed(record["body"], record["signature"], key)
    except signing.KeyUnusable:
        return True
    except (ValueError, KeyError, TypeError):
        return False


def _read(line: str) -> dict[str, Any] | None:
    """None for a line that a crash cut off."""
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) and "body" in record else None


def _lines_from_the_end(path: Path, size: int) -> Iterator[str]:
    """The newest line is wanted, and a day's file is long: read from its end, in growing pieces."""
    piece = 1 << 16
    with path.open("rb") as file:
        while True:
            file.seek(max(0, size - piece))
            lines = file.read(min(size, piece)).decode(errors="replace").split("\n")
            yield from reversed(lines if piece >= size else lines[1:])
            if piece >= size:
                return
            piece *= 8


def _is_torn(path: Path) -> bool:
    """Whether a crash left the beginning of a line at its end."""
    if not path.exists() or path.stat().st_size == 0:
        return False
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"


def _files(log: UUID) -> list[Path]:
    return sorted(_folder(log).glob("*.jsonl"))


def _folder(log: UUID) -> Path:
    return Path(settings.BATON_CHECKPOINT_DIR) / str(log)


@contextmanager
def _held(log: UUID) -> Iterator[Path]:
    """The folder, ours until we leave: several workers of one host write here."""
    folder = _folder(log)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder
    finally:
        os.close(lock)
