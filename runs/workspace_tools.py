"""What an agent does with artifacts: it writes to a workspace of its own, and reads those of agents before it."""

from collections.abc import Iterable, Mapping
from typing import Any

from runs import artifacts, blobs
from runs.blobs import Unreadable
from runs.models import Artifact, Blob, Dispatch
from runs.platform_tools import PlatformCall, prepare_by
from runs.values import Answer, Fault, PlatformAnswer
from tools import flow, registry

ARTIFACT_READ = "artifact_read"
ARTIFACT_WRITE = "artifact_write"
ARTIFACT_LIST = "artifact_list"

# Where the platform keeps long results of tools.
RESULTS = "results/"
PAGE_CHARACTERS = 20_000
LONGEST_PAGE_CHARACTERS = 50_000
LONGEST_WRITTEN_CHARACTERS = 400_000
MOST_WRITTEN = 500
MOST_LISTED = 100

_PATH = {"type": "string", "minLength": 1, "maxLength": artifacts.LONGEST_PATH}


def register() -> None:
    """Put them into the registry; called once, when the app is ready."""
    registry.register_platform(
        ARTIFACT_READ,
        "Read what you wrote, or what an agent before you made: by its reference (artifact:…), or by the path of one "
        "of your own. A long one comes in pages: go on with offset.",
        _object(
            {
                "reference": _PATH,
                "offset": {"type": "integer", "minimum": 0, "description": "characters to skip"},
                "limit": {"type": "integer", "minimum": 1, "maximum": LONGEST_PAGE_CHARACTERS},
            },
            ["reference"],
        ),
        answer_prepared,
    )
    registry.register_platform(
        ARTIFACT_WRITE,
        "Keep a text as an artifact under a path of your own, such as notes/orders.md. Writing to a path again makes a "
        "new version. Others read it by the reference that you are given.",
        _object(
            {"path": _PATH, "content": {"type": "string", "maxLength": LONGEST_WRITTEN_CHARACTERS}}, ["path", "content"]
        ),
        artifact_write,
    )
    registry.register_platform(
        ARTIFACT_LIST,
        "List your own artifacts, and those of agents before you.",
        _object({"prefix": _PATH | {"description": "only paths that begin so"}}, []),
        artifact_list,
    )
    prepare_by(ARTIFACT_READ, read)
    prepare_by(ARTIFACT_WRITE, take_in)


def _object(properties: Mapping[str, Any], required: list[str]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": required,
        "additionalProperties": False,
    }


# -- read --------------------------------------------------------------------------------------------------------
def read(dispatch: Dispatch, arguments: Mapping[str, Any]) -> PlatformAnswer:
    """No lock waits for the bytes: an artifact never changes, and what may be read once may be read from then on."""
    found = _found(dispatch, arguments["reference"].strip())
    if isinstance(found, Fault):
        return found
    try:
        content = artifacts.text(found)
    except Unreadable as error:
        return Fault(str(error))
    return _page(content, arguments.get("offset", 0), arguments.get("limit", PAGE_CHARACTERS), found.labels)


def _found(dispatch: Dispatch, reference: str) -> Artifact | Fault:
    if (own := artifacts.latest_of(dispatch, reference)) is not None:
        return own
    found = artifacts.find(dispatch.run_id, reference) or artifacts.given(dispatch, reference)
    if found is None:
        return Fault(
            f"This run has no artifact {reference!r}. References look like artifact:<id>; {ARTIFACT_LIST} shows yours."
        )
    if not artifacts.may_read(dispatch, found):
        return Fault(f"You may not read {found.reference}: it was made by an agent that does not come before you.")
    return found


def _page(content: str, offset: int, limit: int, labels: str) -> PlatformAnswer:
    if offset > len(content):
        return Fault(f"It has {len(content):,} characters; there is nothing from {offset:,} on.")
    page, end = content[offset : offset + limit], min(offset + limit, len(content))
    if not offset and end == len(content):
        return Answer(content, labels)
    following = f"; go on with offset {end}" if end < len(content) else ", to its end"
    return Answer(f"{page}\n\n[Characters {offset:,} to {end:,} of {len(content):,}{following}.]", labels)


def answer_prepared(asked: PlatformCall, arguments: Mapping[str, Any]) -> PlatformAnswer:
    return asked.prepared


# -- write -------------------------------------------------------------------------------------------------------
def take_in(dispatch: Dispatch, arguments: Mapping[str, Any]) -> Blob:
    return blobs.put(arguments["content"].encode())


def artifact_write(asked: PlatformCall, arguments: Mapping[str, Any]) -> PlatformAnswer:
    dispatch, path, blob = asked.dispatch, arguments["path"], asked.prepared
    if fault := _path_fault(path):
        return Fault(fault)
    latest = artifacts.latest_of(dispatch, path)
    if latest is not None and latest.blob_id == blob.pk:
        return Answer(f"{path} holds just this already: {latest.reference}, version {latest.version}.")
    if dispatch.artifacts.count() >= MOST_WRITTEN:
        return Fault(f"You have written {MOST_WRITTEN} artifacts, which is the limit.")
    size = len(arguments["content"].encode())
    kept = artifacts.keep_put(dispatch, path, blob, size, run_id=dispatch.run_id)
    return Answer(f"{path} is kept as {kept.reference}, version {kept.version}, {size:,} bytes.")


def _path_fault(path: str) -> str | None:
    if path.startswith(RESULTS):
        return f"Long results of your tools are kept in {RESULTS}: choose another path."
    return artifacts.path_fault(path)


# -- list --------------------------------------------------------------------------------------------------------
def artifact_list(asked: PlatformCall, arguments: Mapping[str, Any]) -> PlatformAnswer:
    prefix, dispatch = arguments.get("prefix", ""), asked.dispatch
    seen = artifacts.readable_by(dispatch).filter(name__startswith=prefix)
    newest = seen.order_by("dispatch_id", "name", "-version").distinct("dispatch_id", "name")
    listed = list(newest.select_related("dispatch__manifest__agent")[: MOST_LISTED + 1])
    own = [each for each in listed[:MOST_LISTED] if each.dispatch_id == dispatch.pk]
    others = [each for each in listed[:MOST_LISTED] if each.dispatch_id != dispatch.pk]
    lines = [*_lines("Your own:", map(_line, own)), *_lines("Of others:", map(_line_of_other, others))]
    if len(listed) > MOST_LISTED:
        lines.append("There are more: name a prefix.")
    labels = flow.joined(*(each.labels for each in listed))  # their names were chosen by who wrote them
    return Answer("\n".join(lines) or "There are none.", labels)


def _lines(heading: str, lines: Iterable[str]) -> list[str]:
    return [heading, *listed] if (listed := list(lines)) else []


def _line(artifact: Artifact) -> str:
    version = f", version {artifact.version}" if artifact.version > 1 else ""
    return f"- {artifact.name}: {artifact.reference}, {artifact.size:,} bytes{version}"


def _line_of_other(artifact: Artifact) -> str:
    dispatch = artifact.dispatch
    return _line(artifact) + (f", by {dispatch.manifest.agent.slug} (#{dispatch.number})" if dispatch else "")
