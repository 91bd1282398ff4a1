from pathlib import Path
from typing import Any

import pytest

from tests.audit.cast import Log


@pytest.fixture(autouse=True)
def second_place(tmp_path: Path, settings: Any) -> Path:
    settings.BATON_CHECKPOINT_DIR = tmp_path / "checkpoints"
    settings.BATON_CHECKPOINT_SECONDS = 3600  # made when a test says so, however long it takes
    return settings.BATON_CHECKPOINT_DIR


@pytest.fixture
def log(db: None) -> Log:
    return Log()
