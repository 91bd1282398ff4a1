"""The dispatch: a bounded, durable loop. `advance` does one turn."""

from runs.engine.advance import advance

__all__ = ["advance"]
