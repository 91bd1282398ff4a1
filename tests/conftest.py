from collections.abc import Iterator

import pytest
from django.db.backends.postgresql.operations import DatabaseOperations

from tests.flush import empty_tables
from tests.stack import Services, Stack

pytest_plugins = ["tests.browser", "tests.model_fixtures", "tests.runs.fixtures"]

SERVICES = pytest.StashKey[Services]()


def pytest_configure(config: pytest.Config) -> None:
    DatabaseOperations.execute_sql_flush = empty_tables  # type: ignore[assignment]
    if hasattr(config, "workerinput"):
        return  # a parallel test process uses the services of the one that started it
    config.stash[SERVICES] = services = Services()
    try:
        services.start()
    except BaseException:
        services.stop()
        raise


def pytest_unconfigure(config: pytest.Config) -> None:
    if services := config.stash.get(SERVICES, None):
        services.stop()


@pytest.fixture(scope="session")
def _stack(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    stack = Stack(tmp_path_factory.mktemp("stack"))
    try:
        stack.start()
        yield stack
    finally:
        stack.stop()


@pytest.fixture
def stack(_stack: Stack, transactional_db: None) -> Iterator[Stack]:
    """Real processes over this test's database, so `transactional_db` too; `stack.start_worker()` for a worker."""
    try:
        yield _stack
    finally:
        _stack.send_guests_home()
