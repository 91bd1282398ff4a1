"""A made-up next release, loaded by `BATON_CALLABLES`: what a dispatch is asked stands in an envelope."""

import json
from typing import Any

from runs import state_versions
from runs.engine import context
from runs.models import Dispatch
from runs.orchestration import dispatching


@state_versions.upgrade
def put_the_task_into_an_envelope(dispatch: Dispatch) -> None:
    dispatch.task = seal(dispatch.task)
    dispatch.save(update_fields=["task"])


def seal(task: str) -> str:
    return json.dumps({"version": 2, "text": task})


def first_message(dispatch: Dispatch) -> str:
    """As it is written in this release: whatever else stands there is not understood."""
    envelope = json.loads(dispatch.task)
    if envelope.get("version") != 2:
        raise ValueError(f"not an envelope: {dispatch.task:.100}")
    return str(envelope["text"])


_row = dispatching.row


def row(log: Any, node: Any, agent: Any, task: str, **more: Any) -> Dispatch:
    return _row(log, node, agent, seal(task), **more)


context.first_message = first_message
dispatching.row = row  # type: ignore[assignment]
