"""The dispatch: a bounded, durable loop. `Loop.advance` takes one turn."""

from runs.engine.advance import Loop, advance

__all__ = ["Loop", "advance"]
