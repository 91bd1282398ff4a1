"""Which models there are. Read from the rows at every call: disabling a model bites at the next one."""

from agents.models import ModelEntry
from agents.values import ModelSpec


def model(name: str) -> ModelSpec | None:
    """None when there is no such model, or an operator has disabled it."""
    entry = ModelEntry.objects.enabled().filter(name=name).first()
    return entry.spec() if entry else None
