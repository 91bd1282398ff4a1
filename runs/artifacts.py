"""Artifacts: kept once by content, read by reference. Each dispatch has a folder of them that it alone writes to."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db.models import Q, QuerySet
from django.db.models.expressions import RawSQL

from orchestrator_site.core.ids import new_id
from orchestrator_site.core.statements import Writes
from runs import blobs
from runs.models import Artifact, Blob, BoardEntry, Dispatch, Node, Run
from runs.values import ARTIFACT

LONGEST_PATH = 200
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f\\]")


# -- written -----------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Draft:
    """Rows that are not written yet. Where the bytes are many they are in the storage already."""

    artifact: Artifact
    blob: Blob


def draft(
    blob: Blob,
    size: int,
    name: str,
    *,
    run_id: UUID,
    dispatch_id: UUID | None,
    labels: str,
    media_type: str = "text/plain",
) -> Draft:
    """`labels` are of what it was made of."""
    artifact = Artifact(
        id=new_id(),
        run_id=run_id,
        dispatch_id=dispatch_id,
        name=name,
        media_type=media_type,
        size=size,
        labels=labels,
        blob_id=blob.pk,
    )
    return Draft(artifact, blob)


def write(writes: Writes, drafts: Sequence[Draft]) -> None:
    """In the transaction of who made them. Each is the first of its name in its dispatch."""
    blobs.write(writes, [each.blob for each in drafts])
    writes.insert([each.artifact for each in drafts])


def keep(
    dispatch: Dispatch | None,
    name: str,
    content: bytes,
    media_type: str = "text/plain",
    *,
    run_id: UUID | None = None,
    labels: str | None = None,
) -> Artifact:
    """Keep bytes under a name, as written by this dispatch; by the platform itself, for a run, where there is none.

    For who is in a transaction already: they stay in the row, however many they are. The caller holds the dispatch.
    `labels` are those of the dispatch where nothing else is said.
    """
    run_id = run_id or dispatch.run_id  # type: ignore[union-attr]
    return keep_put(dispatch, name, blobs.in_row(content), len(content), media_type, run_id=run_id, labels=labels)


def keep_put(
    dispatch: Dispatch | None,
    name: str,
    blob: Blob,
    size: int,
    media_type: str = "text/plain",
    *,
    run_id: UUID,
    labels: str | None = None,
) -> Artifact:
    """As `keep`, of bytes that `blobs.put` took in before the transaction. The newest version of a name comes last."""
    dispatch_id = dispatch.pk if dispatch else None
    if labels is None:
        labels = dispatch.labels if dispatch else ""
    kept = draft(blob, size, name, run_id=run_id, dispatch_id=dispatch_id, labels=labels, media_type=media_type)
    if dispatch is not None and (latest := latest_of(dispatch, name)):
        kept.artifact.version = latest.version + 1
    write(Writes(), [kept])
    return kept.artifact


def path_fault(path: str) -> str | None:
    """Why this is no path of a workspace."""
    if len(path) > LONGEST_PATH:
        return f"A path has at most {LONGEST_PATH} characters."
    parts = path.split("/")
    if _UNPRINTABLE.search(path) or any(part.strip() != part or part in ("", ".", "..") for part in parts):
        return f"{path!r} is no path: write names with / between them, as in notes/orders.md, without . and .. parts."
    if path.startswith("artifact:"):
        return "A path does not begin with artifact: as references do."
    return None


# -- read --------------------------------------------------------------------------------------------------------
def latest_of(dispatch: Dispatch, path: str) -> Artifact | None:
    """The newest version of a path in the workspace of a dispatch."""
    return dispatch.artifacts.filter(name=path).order_by("-version").select_related("blob").first()


def find(run_id: UUID, reference: str) -> Artifact | None:
    """An artifact of this run by its reference; None for a malformed reference, and for another run's."""
    match = ARTIFACT.fullmatch(reference.strip())
    if match is None:
        return None
    return Artifact.objects.filter(run_id=run_id, pk=match[1]).select_related("blob").first()


def of_run(run: Run) -> QuerySet[Artifact]:
    """What a plan of this run may hand to its nodes: the run's own, and what whoever started it sees."""
    return Artifact.objects.filter(Q(run_id=run.pk) | Q(run__in=Run.objects.visible_to(run.owner)))


def found_in(seen: QuerySet[Artifact], references: Iterable[str]) -> list[Artifact]:
    """Those of these references that are seen, in their order; what is no reference is passed over."""
    ids = [match[1] for each in references if (match := ARTIFACT.fullmatch(each))]
    if not ids:
        return []
    found = {str(each.pk): each for each in seen.filter(pk__in=ids).select_related("blob")}
    return [found[id] for id in dict.fromkeys(ids) if id in found]


def given(dispatch: Dispatch, reference: str) -> Artifact | None:
    """An artifact of another run that the plan has handed to its node, or to one around it, while its owner sees it."""
    handed = of_run(dispatch.run).filter(pk__in=RawSQL(GIVEN, [dispatch.node_id]))
    return next(iter(found_in(handed, [reference.strip()])), None)


def readable_by(dispatch: Dispatch) -> QuerySet[Artifact]:
    """Its own, those of whatever comes before its node, and what lies within its node or was made around it.

    That is: of every try at its node; of the nodes that it waits for or is told of, with all that lies within them, and
    so on upwards; of the agents, not of the siblings, of the nodes that it lies within; of the nodes within its own,
    which it dispatched; and what no dispatch wrote and no node came to, such as a document of the request. Beside it,
    what the plan has handed to its node, or to one around it, also of another run.
    """
    nodes = RawSQL(_BEFORE, [dispatch.node_id])
    elsewhere = Node.objects.filter(run_id=dispatch.run_id, artifact__isnull=False).exclude(pk__in=nodes)
    by_nobody = Q(dispatch__isnull=True) & ~Q(pk__in=elsewhere.values("artifact"))
    of_this = Q(run_id=dispatch.run_id) & (Q(dispatch__node__in=nodes) | by_nobody)
    return Artifact.objects.filter(of_this | Q(pk__in=RawSQL(GIVEN, [dispatch.node_id])))


_BEFORE = """
WITH RECURSIVE up(id, whole) AS (
    SELECT %s::uuid, true
  UNION
    SELECT further.id, further.whole FROM up CROSS JOIN LATERAL (
        SELECT e.parent_id AS id, true AS whole FROM runs_edge e WHERE e.child_id = up.id
      UNION ALL
        SELECT n.within_id, false FROM runs_node n WHERE n.id = up.id AND n.within_id IS NOT NULL
      UNION ALL
        SELECT told.id, true FROM runs_node n JOIN runs_node told
            ON told.id = ANY(ARRAY(SELECT jsonb_array_elements_text(n.reads)::uuid)) WHERE n.id = up.id
    ) AS further
), down(id) AS (
    SELECT id FROM up WHERE whole
  UNION
    SELECT n.id FROM down JOIN runs_node n ON n.within_id = down.id
)
SELECT id FROM up UNION SELECT id FROM down
"""

# The ids that stand in a node's spec; a text that is no reference is none.
NAMED = """
SELECT substr(told.reference, 10)::uuid AS id FROM (
    SELECT jsonb_array_elements_text(n.spec->'inputs') AS reference
  UNION ALL
    SELECT n.spec->'over'->>'document'
) AS told
WHERE told.reference ~ '^artifact:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
"""
GIVEN = f"""
WITH RECURSIVE around(id) AS (
    SELECT %s::uuid
  UNION
    SELECT n.within_id FROM around JOIN runs_node n ON n.id = around.id WHERE n.within_id IS NOT NULL
)
SELECT named.id FROM around JOIN runs_node n ON n.id = around.id CROSS JOIN LATERAL ({NAMED}) AS named
"""  # noqa: S608 - a constant


def may_read(dispatch: Dispatch, artifact: Artifact) -> bool:
    """Also what was posted on the run's blackboard, which all its agents read."""
    if artifact.dispatch_id == dispatch.pk or readable_by(dispatch).filter(pk=artifact.pk).exists():
        return True
    return BoardEntry.objects.filter(run_id=dispatch.run_id, reference=artifact.reference).exists()


def text(artifact: Artifact) -> str:
    """Its content for a model to read; bytes that are not UTF-8 are described, never guessed at. Raises Unreadable."""
    content = blobs.read(artifact.blob)
    try:
        return content.decode()
    except UnicodeDecodeError:
        return f"[{artifact.media_type}, {artifact.size} bytes, not text]"
