"""A tool's long result is kept as an artifact, and its agent is told the beginning and where the whole is."""

import json
import logging
from dataclasses import dataclass
from uuid import UUID

from django.conf import settings

from runs import artifacts, blobs
from runs.artifacts import Draft
from runs.models import Dispatch, ToolCall
from runs.workspace_tools import ARTIFACT_READ, RESULTS

logger = logging.getLogger(__name__)

PREVIEW_CHARACTERS = 1000
_TOLD = "{preview}…\n\n[The first {shown:,} of {all:,} characters. The whole is {reference}: read on with {tool}.]"


@dataclass(frozen=True)
class Spilled:
    """What the agent reads in place of the result, and the artifact that keeps it; not written yet."""

    told: str
    draft: Draft


def may_spill(dispatch: Dispatch) -> bool:
    """Only for who can read it back: nobody is offered a tool that was not granted."""
    return any(grant.tool == ARTIFACT_READ for grant in dispatch.pinned.grants)


def spill(run_id: UUID, call: ToolCall, content: str) -> Spilled | None:
    """None where it is short, and where no storage takes it: then it stays as it is. No transaction is open."""
    written = content.encode()
    if len(written) <= settings.BATON_SPILL_BYTES:
        return None
    try:
        blob = blobs.put(written)
    except Exception:  # each storage has errors of its own, and none is worth a result
        logger.exception("a long result of %s is not kept as an artifact", call.tool)
        return None
    is_json = _is_json(content)
    name = f"{RESULTS}{call.step.number}-{call.position + 1}-{call.tool}.{'json' if is_json else 'txt'}"
    draft = artifacts.draft(
        blob,
        len(written),
        name,
        run_id=run_id,
        dispatch_id=call.dispatch_id,
        labels=call.labels,
        media_type="application/json" if is_json else "text/plain",
    )
    return Spilled(told(content, draft.artifact.reference), draft)


def told(content: str, reference: str) -> str:
    """The beginning of a text, and where the whole of it is."""
    preview = content[:PREVIEW_CHARACTERS]
    return _TOLD.format(preview=preview, shown=len(preview), all=len(content), reference=reference, tool=ARTIFACT_READ)


def _is_json(content: str) -> bool:
    try:
        json.loads(content)
    except (ValueError, RecursionError):
        return False
    return True
