"""What is done after a commit: where it fails, what was committed stands, and so does the answer."""

import logging
from functools import partial

import pytest
from django.db import transaction

from orchestrator_site.core.commits import after_commit

pytestmark = pytest.mark.django_db(transaction=True)


def fail(why: str) -> None:
    raise OSError(why)


def test_what_fails_is_logged_and_the_rest_is_done(caplog):
    done: list[str] = []
    with caplog.at_level(logging.ERROR), transaction.atomic():
        after_commit(partial(fail), "the broker is away")
        after_commit(done.append, "the next")
        assert not done

    assert done == ["the next"]
    assert "the broker is away" in caplog.text


def test_control_a_robust_hook_of_djangos_own_costs_the_answer():
    """It fails to name a partial as it logs that it failed."""
    with pytest.raises(AttributeError, match="__qualname__"), transaction.atomic():
        transaction.on_commit(partial(fail, "the broker is away"), robust=True)
