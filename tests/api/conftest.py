from collections.abc import Iterator

import pytest

from agents import roster
from orchestrator_site.core import roles
from tests.api import cast
from tests.api.cast import Caller, Scene


@pytest.fixture(autouse=True)
def _fresh_roster() -> Iterator[None]:
    """What one test has put to work must not be remembered in the next, whose epoch begins anew."""
    roster.forget()
    yield
    roster.forget()


@pytest.fixture
def scene(db: None) -> Scene:
    return Scene()


@pytest.fixture
def operator(db: None) -> Caller:
    return cast.caller(cast.person("ola", roles.OPERATOR))


@pytest.fixture
def approver(db: None) -> Caller:
    return cast.caller(cast.person("ann", roles.APPROVER))


@pytest.fixture
def shop(scene: Scene) -> Caller:
    """The app that owns the scene's run."""
    return cast.caller(scene.shop)
