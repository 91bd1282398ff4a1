"""A query put together once finds what the ORM finds, however often, and in whichever thread."""

from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest
from django.db import connection
from django.db.models.functions import Now

from orchestrator_site.core.prepared import Prepared
from runs.models import Dispatch
from tests.runs.cast import agent, script, start, text

pytestmark = pytest.mark.django_db(transaction=True)


def joined(dispatch_id: UUID, fence: int):
    mine = Dispatch.objects.filter(pk=dispatch_id, fence=fence).order_by()
    return mine.select_related("run", "manifest__agent").annotate(now=Now())  # type: ignore[no-redef]


def test_it_finds_what_the_orm_finds(model, ann, django_assert_num_queries):
    agent("worker")
    first, second = [start(ann, script(text("Hello."))).dispatches.get() for _ in range(2)]
    prepared = Prepared(joined, UUID(int=1), -1)

    for dispatch in (first, second, first):
        with django_assert_num_queries(1):
            (found,) = prepared(dispatch.pk, dispatch.fence)
            told = found.run.input, found.manifest.agent.slug, found.history
        expected = joined(dispatch.pk, dispatch.fence).get()
        assert told == (expected.run.input, expected.manifest.agent.slug, expected.history)
        assert {**vars(found), "_state": 0, "now": 0} == {**vars(expected), "_state": 0, "now": 0}
        assert found.now.tzinfo is not None

    assert prepared.first(first.pk, first.fence + 1) is None


def test_other_threads_use_their_own_connections(model, ann):
    agent("worker")
    dispatch = start(ann, script(text("Hello."))).dispatches.get()
    prepared = Prepared(joined, UUID(int=1), -1)

    def found_elsewhere(_: int) -> UUID:
        try:
            return prepared(dispatch.pk, dispatch.fence)[0].run_id
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as threads:
        assert set(threads.map(found_elsewhere, range(8))) == {dispatch.run_id}


def test_a_stand_in_without_a_place_is_named(model):
    with pytest.raises(ValueError, match="'nowhere'"):
        Prepared(lambda dispatch_id, _: Dispatch.objects.filter(pk=dispatch_id), UUID(int=1), "nowhere")(
            UUID(int=2), ""
        )
