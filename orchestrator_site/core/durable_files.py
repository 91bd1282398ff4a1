"""Files that are on the disk for good once `save` has returned: whoever commits a row that names one relies on it."""

import os
from pathlib import Path
from typing import Any

from django.core.files.storage import FileSystemStorage
from django.utils.deconstruct import deconstructible


@deconstructible(path="orchestrator_site.core.durable_files.DurableFiles")
class DurableFiles(FileSystemStorage):
    """A folder of one host, or one that all hosts mount."""

    def _save(self, name: str, content: Any) -> str:
        kept = super()._save(name, content)  # type: ignore[misc]
        path = Path(self.path(kept))
        for written in (path, path.parent, path.parent.parent):
            _to_disk(written)
        return kept


def _to_disk(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
