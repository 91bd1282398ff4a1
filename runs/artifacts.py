"""Artifacts: kept once by content, read by reference."""

import hashlib
import re
from uuid import UUID

from runs.models import Artifact, Blob, Dispatch

REFERENCE = re.compile(r"^artifact:([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})$")


def keep(dispatch: Dispatch, name: str, content: bytes, media_type: str = "text/plain") -> Artifact:
    """Keep bytes under a name, as written by this dispatch."""
    digest = hashlib.sha256(content).hexdigest()
    Blob.objects.bulk_create([Blob(digest=digest, content=content)], ignore_conflicts=True)
    return Artifact.objects.create(
        run_id=dispatch.run_id,
        dispatch=dispatch,
        name=name,
        media_type=media_type,
        size=len(content),
        blob_id=digest,
    )


def find(run_id: UUID, reference: str) -> Artifact | None:
    """An artifact of this run by its reference; None for a malformed reference, and for another run's."""
    match = REFERENCE.match(reference.strip())
    if match is None:
        return None
    return Artifact.objects.filter(run_id=run_id, pk=match[1]).select_related("blob").first()


def text(artifact: Artifact) -> str:
    """Its content for a model to read; bytes that are not UTF-8 are described, never guessed at."""
    content = bytes(artifact.blob.content)
    try:
        return content.decode()
    except UnicodeDecodeError:
        return f"[{artifact.media_type}, {artifact.size} bytes, not text]"
