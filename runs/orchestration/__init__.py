"""The run: routes become nodes, nodes start when their parents are done, results are joined. `advance` moves it."""

from runs.orchestration.advance import advance, advance_locked, begin

__all__ = ["advance", "advance_locked", "begin"]
