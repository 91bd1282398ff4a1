"""The rows of the conductor."""

from runs.models.artifacts import Artifact, Blob
from runs.models.budgets import Account
from runs.models.calls import Attempt, ToolCall
from runs.models.dispatches import Dispatch, Edge, Route, Step
from runs.models.handoffs import Handoff
from runs.models.runs import Conversation, Run

__all__ = [
    "Account",
    "Artifact",
    "Attempt",
    "Blob",
    "Conversation",
    "Dispatch",
    "Edge",
    "Handoff",
    "Route",
    "Run",
    "Step",
    "ToolCall",
]
