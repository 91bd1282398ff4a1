"""The rows of the conductor."""

from runs.models.artifacts import Artifact, Blob
from runs.models.board import BoardEntry, WatchRule
from runs.models.budgets import Account, Allotment, Budget, BudgetPeriod, BudgetWait
from runs.models.calls import Attempt, ToolCall
from runs.models.contexts import ContextView
from runs.models.dispatches import Dispatch, Step
from runs.models.handoffs import Handoff
from runs.models.messages import Message
from runs.models.nodes import Edge, Node, Plan, Route
from runs.models.pacing import AppShare, Breaker, Place, PlaceLimit, RateBucket, RateLimit, Switch
from runs.models.routing import Routing
from runs.models.runs import Conversation, Run
from runs.models.simulations import Simulation
from runs.models.templates import PlanTemplate

__all__ = [
    "Account",
    "Allotment",
    "AppShare",
    "Artifact",
    "Attempt",
    "Blob",
    "BoardEntry",
    "Breaker",
    "Budget",
    "BudgetPeriod",
    "BudgetWait",
    "ContextView",
    "Conversation",
    "Dispatch",
    "Edge",
    "Handoff",
    "Message",
    "Node",
    "Place",
    "PlaceLimit",
    "Plan",
    "PlanTemplate",
    "RateBucket",
    "RateLimit",
    "Route",
    "Routing",
    "Run",
    "Simulation",
    "Step",
    "Switch",
    "ToolCall",
    "WatchRule",
]
