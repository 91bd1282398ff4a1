"""The rows of this room, by what they are about."""

from tools.models.outbound import DestinationList, EgressRule
from tools.models.policies import Policy, PolicyRule, PolicyWindow
from tools.models.registry import Tool, ToolVersion, ToolVersionQuerySet

__all__ = [
    "DestinationList",
    "EgressRule",
    "Policy",
    "PolicyRule",
    "PolicyWindow",
    "Tool",
    "ToolVersion",
    "ToolVersionQuerySet",
]
