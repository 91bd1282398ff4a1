import sys
from collections.abc import Iterator

import pytest
from django.core.management.commands import flush as flush_command
from django.db.backends.postgresql.operations import DatabaseOperations

from tests import flush
from tests.stack import Services, Stack

pytest.register_assert_rewrite("tests.scenarios", "tests.plans.patterns")
pytest_plugins = ["tests.browser", "tests.model_fixtures", "tests.runs.fixtures"]

SERVICES = pytest.StashKey[Services]()


def pytest_configure(config: pytest.Config) -> None:
    DatabaseOperations.execute_sql_flush = flush.empty_tables  # type: ignore[assignment]
    flush_command.emit_post_migrate_signal = flush.migrated  # type: ignore[attr-defined]
    if hasattr(config, "workerinput"):
        return  # a parallel test process uses the services of the one that started it
    config.stash[SERVICES] = services = Services()
    try:
        services.start()
    except BaseException:
        services.stop()
        raise


def pytest_sessionfinish() -> None:
    if llm := sys.modules.get("agents.llm"):
        llm.close()


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
