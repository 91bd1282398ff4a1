"""Where tools may lead, as the operators' rows say it: held in memory, as of one epoch of the roster.

Without models: the process that tool calls are forked from imports the executors before Django is set up.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tools.egress.rules import Rule
from tools.matchers import Matcher


@dataclass(frozen=True)
class Outbound:
    """`destinations`: the named lists. `rules`: those of egress; what is the platform's own is not among them."""

    destinations: Mapping[str, Matcher] = field(default_factory=dict)
    rules: tuple[Rule, ...] = ()


def current() -> Outbound:
    """What this process serves. No query, once the room above that keeps it has read it."""
    return _source()


def serve_from(source: Callable[[], Outbound]) -> None:
    """The port: whoever holds the live copy says where `current` finds it. Until then there is no rule and no list."""
    global _source
    _source = source


_source: Callable[[], Outbound] = Outbound
