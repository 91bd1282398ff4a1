from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator_site.core import crashpoints
from tests.faults.batch import Holds
from tests.stack import Stack


@pytest.fixture
def holds(stack: Stack, tmp_path: Path) -> Iterator[Holds]:
    """Signs that are all down before the workers are asked to stop."""
    holds = Holds(tmp_path / "holds")
    yield holds
    for point in crashpoints.POINTS:
        holds.take_down(point)
