import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def data() -> Iterator[Path]:
    """A data folder that another user may walk to, unlike `tmp_path`: run by root, PostgreSQL is such a user."""
    folder = Path(tempfile.mkdtemp(prefix="baton-data-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)
