"""Documents that nodes go over. What lies in a storage is read ahead of the transaction in which its node begins: the
node stays ready, and due, until it is begun by who has read it."""

from uuid import UUID

from django.db.models.functions import Now

from runs import artifacts, states
from runs.blobs import Unreadable
from runs.models import Artifact, Node, Run
from runs.orchestration import nodes
from runs.orchestration.nodes import Moves
from runs.planning.values import NodeSpec, Over
from runs.values import ARTIFACT


def ahead(run_id: UUID) -> dict[str, str | Unreadable]:
    """By reference, what the nodes that are due and have a place go over. No transaction is open."""
    due = Node.objects.filter(run_id=run_id, kind="map", status=states.READY, due_at__lte=Now())
    read: dict[str, str | Unreadable] = {}
    for node in due.select_related("within", "run__owner"):
        if not _has_place(node):
            continue
        kept = _kept(node.run, NodeSpec.model_validate(node.spec).over)
        if kept is not None and kept.blob.content is None and kept.reference not in read:
            read[kept.reference] = _read(kept)
    return read


def _has_place(node: Node) -> bool:
    outer = node.within
    return outer is None or not outer.inner_limit or outer.inner_at_work < outer.inner_limit


def _read(kept: Artifact) -> str | Unreadable:
    try:
        return artifacts.text(kept)
    except Unreadable as error:
        return error


def wait(moves: Moves, node: Node, over: Over | None) -> bool:
    """Expects a node that is ready; True where its document is to be read first."""
    kept = _kept(moves.run, over)
    if kept is None or kept.blob.content is not None or kept.reference in moves.documents:
        return False
    nodes.change(node, due_at=Now(), waiting_on=f"the document that {node.key} goes over")
    return True


def text(moves: Moves, over: Over) -> str:
    """Of an artifact that nobody has to wait for. Raises LookupError with a sentence."""
    kept = _kept(moves.run, over)
    if kept is None:
        raise LookupError(f"There is no {over.document} that this run may read.")
    read = moves.documents.get(kept.reference)
    if isinstance(read, Unreadable):
        raise LookupError(str(read))
    return artifacts.text(kept) if read is None else read


def _kept(run: Run, over: Over | None) -> Artifact | None:
    if over is None or over.document is None or not ARTIFACT.fullmatch(over.document):
        return None
    return next(iter(artifacts.found_in(artifacts.of_run(run), [over.document])), None)
