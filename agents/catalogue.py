"""Which models there are, and where they answer. Read from the rows once an epoch: disabling a model bites at the next
call.
"""

from django.conf import settings

from agents.models import ModelEntry
from agents.roster import Roster
from agents.values import ModelSpec

# Where the SDK goes when nobody says where.
PROVIDER = "https://api.anthropic.com"
INSTALLATION_KEY = "ANTHROPIC_API_KEY"


def model(name: str, served: Roster) -> ModelSpec | None:
    """None when there is no such model, or an operator has disabled it."""
    return served.keep(("model", name), lambda: _read(name))


def payable(name: str, served: Roster) -> ModelSpec | None:
    """As `model`; None for one without prices too: nothing could be reserved for it."""
    found = model(name, served)
    return found if found is not None and found.is_priced else None


def endpoint(spec: ModelSpec) -> str:
    """The base URL that it is asked at."""
    return spec.endpoint or settings.ANTHROPIC_BASE_URL or PROVIDER


def key_name(spec: ModelSpec) -> str:
    """The environment variable that holds its key."""
    return spec.credential.removeprefix("env:") or INSTALLATION_KEY


def _read(name: str) -> ModelSpec | None:
    entry = ModelEntry.objects.enabled().filter(name=name).first()
    return entry.spec() if entry else None
