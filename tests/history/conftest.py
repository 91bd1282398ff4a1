from collections.abc import Iterator

import pytest
from pytest_django import DjangoDbBlocker

from benchmarks import past
from benchmarks.past import People
from tests import flush
from tests.model_fixtures import ScriptedModel
from tests.runs import callables  # noqa: F401  (registers the callables)

RUNS, WAITING = 4000, 100


@pytest.fixture(scope="module")
def who(django_db_setup: None, django_db_blocker: DjangoDbBlocker, scripted_model: ScriptedModel) -> Iterator[People]:
    """A year of four thousand runs, and a hundred that wait for a person; made once for the tests of a module,
    which see it with `django_db` and change nothing that stays."""
    with flush.rows_of_a_module(django_db_blocker):
        yield past.fill(scripted_model.url, runs=RUNS, waiting_runs=WAITING)
