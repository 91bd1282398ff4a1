"""What a turn answers with, and what an advance comes to."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from runs.states import StopReason

# What no text column can keep: NUL, and half characters (lone surrogates).
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


@dataclass(frozen=True)
class Lease:
    """The right to move one dispatch. Every write names the fence; a grown fence means that the right is gone.

    `is_worn_out`: it was claimed too often without one recorded step, and may only be ended.
    """

    dispatch_id: UUID
    run_id: UUID
    owner: str
    fence: int
    is_worn_out: bool = False


# -- what a model's reply asks for -------------------------------------------------------------------------------
@dataclass(frozen=True)
class ProposedCall:
    provider_id: str
    tool: str
    arguments: Any


@dataclass(frozen=True)
class CallTools:
    calls: tuple[ProposedCall, ...]


@dataclass(frozen=True)
class Finish:
    text: str


@dataclass(frozen=True)
class AskAgain:
    """The provider paused its own work; the transcript goes back as it is."""


@dataclass(frozen=True)
class GiveUp:
    reason: StopReason
    message: str


NextStep = CallTools | Finish | AskAgain | GiveUp


# -- what an advance came to -------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Continue:
    """There is more to do at once."""


@dataclass(frozen=True)
class Waiting:
    """The lease was given back; `on` is one sentence. A decision, or a due time, queues the dispatch again."""

    on: str


@dataclass(frozen=True)
class Ended:
    reason: StopReason


Outcome = Continue | Waiting | Ended


# -- what a platform tool answers --------------------------------------------------------------------------------
@dataclass(frozen=True)
class Answer:
    """`content` is what the model reads."""

    content: str


@dataclass(frozen=True)
class Fault:
    """The call was wrong: one sentence that the model can act on."""

    sentence: str


@dataclass(frozen=True)
class AskPerson:
    """The call waits for a person: `kind` of request, its title, what is frozen, and who may answer."""

    kind: str
    title: str
    frozen: Mapping[str, Any]
    addressed_to: str


PlatformAnswer = Answer | Fault | AskPerson
