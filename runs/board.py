"""The blackboard of a run: posted to and read by tools, never changed. The only writer of its entries."""

from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator_site.core import canonical
from orchestrator_site.core.events import Record
from runs import artifacts
from runs.models import Artifact, BoardEntry, Dispatch, Run
from runs.platform_tools import POST_TO_BOARD, READ_BOARD, PlatformCall
from runs.values import Answer, Fault, PlatformAnswer
from tools import flow, registry

MOST_ENTRIES = 1000
PREVIEW_CHARACTERS = 1000
_CATEGORY = {"type": "string", "pattern": r"^[a-z0-9_-]{1,50}$", "description": "such as finding, claim, question"}


def register() -> None:
    """Put the tools into the registry; called once, when the app is ready."""
    registry.register_platform(
        POST_TO_BOARD,
        "Post to the run's blackboard, which all its agents read. What is posted stays.",
        {
            "type": "object",
            "properties": {
                "category": _CATEGORY,
                "content": {"type": "string", "minLength": 1, "maxLength": 8000},
                "reference": {"type": "string", "description": "artifact:… in place of, or beside, the content"},
                "confidence": {"type": "number", "minimum": 0, "maximum": 1},
            },
            "required": ["category"],
            "additionalProperties": False,
        },
        post_tool,
    )
    registry.register_platform(
        READ_BOARD,
        "Read the run's blackboard.",
        {
            "type": "object",
            "properties": {
                "category": _CATEGORY,
                "after": {"type": "integer", "minimum": 0, "description": "only entries with a higher number"},
            },
            "additionalProperties": False,
        },
        read_tool,
    )


def post_tool(asked: PlatformCall, arguments: Mapping[str, Any]) -> PlatformAnswer:
    """The caller holds the run's row."""
    content, reference = arguments.get("content", ""), arguments.get("reference", "")
    if not content.strip() and not reference:
        return Fault("Post a content, or the reference of an artifact.")
    artifact = artifacts.find(asked.dispatch.run_id, reference) if reference else None
    if reference and artifact is None:
        return Fault(f"This run has no artifact {reference!r}. References look like artifact:<id>.")
    last = BoardEntry.objects.filter(run_id=asked.dispatch.run_id).order_by("-number").first()
    if last is not None and last.number >= MOST_ENTRIES:
        return Fault(f"The board is full: a run has at most {MOST_ENTRIES} entries.")
    number = last.number + 1 if last else 1
    sure = arguments.get("confidence")
    _post(asked.log, asked.dispatch, number, arguments["category"], content, reference, sure, artifact)
    return Answer(f"Posted as entry {number}.")


def _post(
    log: Record,
    dispatch: Dispatch,
    number: int,
    category: str,
    content: str,
    reference: str,
    confidence: float | None,
    artifact: Artifact | None,
) -> None:
    slug = dispatch.manifest.agent.slug
    BoardEntry.objects.create(
        run_id=dispatch.run_id,
        number=number,
        dispatch=dispatch,
        agent=slug,
        category=category,
        content=content,
        reference=reference,
        confidence=confidence,
        labels=dispatch.labels if artifact is None else flow.joined(dispatch.labels, artifact.labels),
    )
    Run.objects.filter(pk=dispatch.run_id).update(board_entries=number)
    told = {"number": number, "category": category, "digest": canonical.digest(content), "reference": reference}
    log.run(dispatch.run_id, "board_posted", actor=f"agent:{slug}", dispatch=str(dispatch.pk), **told)


def read_tool(asked: PlatformCall, arguments: Mapping[str, Any]) -> PlatformAnswer:
    entries = BoardEntry.objects.filter(run_id=asked.dispatch.run_id, number__gt=arguments.get("after", 0))
    if "category" in arguments:
        entries = entries.filter(category=arguments["category"])
    read = list(entries.order_by("number"))
    return Answer(told(read) or "Nothing is posted there.", flow.joined(*(entry.labels for entry in read)))


def told(entries: Sequence[BoardEntry]) -> str:
    """As agents read it, a paragraph each."""
    return "\n\n".join(_line(entry) for entry in entries)


def _line(entry: BoardEntry) -> str:
    sure = "" if entry.confidence is None else f", {entry.confidence:.2f} sure"
    content = entry.content
    if len(content) > PREVIEW_CHARACTERS:
        content = content[:PREVIEW_CHARACTERS] + " …"
    head = f"[{entry.number}] {entry.category} by {entry.agent}{sure}:"
    return " ".join(part for part in [head, content, entry.reference] if part)
