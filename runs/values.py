"""What a turn answers with, and what an advance comes to."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from runs.states import StopReason

# What a paused run waits for.
RESUMED = "a person to resume it"
# What no text column can keep: NUL, and half characters (lone surrogates).
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
# A reference to an artifact; the group is its id.
ARTIFACT = re.compile(r"artifact:([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})")


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
class SendBack:
    """The answer is not what was agreed: it goes back to the agent with what is wrong with it, a sentence each."""

    faults: tuple[str, ...]


@dataclass(frozen=True)
class AskAgain:
    """The provider paused its own work; the transcript goes back as it is."""


@dataclass(frozen=True)
class GiveUp:
    reason: StopReason
    message: str


NextStep = CallTools | Finish | SendBack | AskAgain | GiveUp


# -- what a final answer has to be -------------------------------------------------------------------------------
@dataclass(frozen=True)
class Contract:
    """A final answer is JSON alone that fits `schema`, and has no fault by the `rules` registered under that name.

    One that does not fit is returned to the agent `returns` times; after that it ends `contract_violated`.
    """

    schema: Mapping[str, Any]
    rules: str = ""
    returns: int = 1


# -- what an advance came to -------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Continue:
    """There is more to do at once. `moves_run`: the run is to be moved on first."""

    moves_run: bool = False


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
    """`content` is what the model reads, `labels` those of what it was made of."""

    content: str
    labels: str = ""


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


@dataclass(frozen=True)
class NotYet:
    """The call stays as it is, and the dispatch waits: for any, or for all, of the nodes within its own."""

    on: str
    wake_on: str


PlatformAnswer = Answer | Fault | AskPerson | NotYet
