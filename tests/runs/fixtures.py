"""The outside world and two people: for every test that moves runs. Loaded by the root conftest."""

from collections.abc import Iterator

import pytest
from django.contrib.auth.models import User

from tests.model_fixtures import Process, ScriptedModel, running
from tests.runs import callables, cast


@pytest.fixture(scope="session")
def ledger() -> Iterator[Process]:
    """The outside world: counts effects, and is never killed."""
    with running("tests.outside_ledger") as server:
        callables.ledger_file().write_text(server.url)
        yield server


@pytest.fixture
def model(db: None, scripted_model: ScriptedModel) -> ScriptedModel:
    scripted_model.reset()
    cast.model(scripted_model.url)
    return scripted_model


@pytest.fixture
def ann(db: None) -> User:
    """Starts runs."""
    return cast.person("ann")


@pytest.fixture
def bob(db: None) -> User:
    """Decides requests."""
    return cast.person("bob", decides=True)
