"""Users that the policy in force names: renamed, one of them would slip what it says, and another could take it on."""

import re

from orchestrator_site.core import renames
from tools.policies import versions
from tools.policies.values import Rule


def register() -> None:
    renames.register(_why_named)


def _why_named(name: str) -> str | None:
    rule = next((rule for rule in versions.in_force().rules if _names(rule, name)), None)
    if rule is None:
        return None
    return f"The rule {rule.name!r} of the policy in force names {name!r}: publish one without it first."


def _names(rule: Rule, name: str) -> bool:
    return rule.scope.app == name or re.search(rf"""["']{re.escape(name)}["']""", rule.condition) is not None
