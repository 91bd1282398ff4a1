"""The run: routes become nodes, nodes start when their parents are done, results are joined. `advance` moves it."""

from runs.orchestration.advance import advance, advance_locked

__all__ = ["advance", "advance_locked"]
