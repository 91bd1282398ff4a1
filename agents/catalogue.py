"""Which models there are. Read from the rows once an epoch: disabling a model bites at the next call."""

from agents.models import ModelEntry
from agents.roster import Roster
from agents.values import ModelSpec


def model(name: str, served: Roster) -> ModelSpec | None:
    """None when there is no such model, or an operator has disabled it."""
    return served.keep(("model", name), lambda: _read(name))


def _read(name: str) -> ModelSpec | None:
    entry = ModelEntry.objects.enabled().filter(name=name).first()
    return entry.spec() if entry else None
