import pytest

from agents.models import ModelEntry
from tests.agents import cast
from tests.model_fixtures import scripted_model  # noqa: F401


@pytest.fixture
def small_model(db: None) -> ModelEntry:
    return cast.entry()
