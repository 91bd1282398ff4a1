"""The run: decisions become nodes, nodes start when their parents have ended, results are joined."""

from runs.orchestration.advance import advance, advance_locked, begin, moving, route_again, start_due

__all__ = ["advance", "advance_locked", "begin", "moving", "route_again", "start_due"]
