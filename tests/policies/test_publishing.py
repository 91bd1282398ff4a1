"""Two who publish at the same moment: one after the other, the second measured against what the first put in force."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from django.db import connections

from tests.policies import cast
from tests.policies.cast import rule
from tools.models import Policy
from tools.policies import versions

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.usefixtures("model")
def test_the_second_is_measured_against_the_first(ann, bob):
    cast.desk()
    drafts = [cast.draft(rule(name, "deny", tool="pay_out"), by=ann) for name in ("one", "other")]
    together = Barrier(2)

    def publish(draft: Policy) -> str:
        together.wait()
        try:
            return versions.publish(draft, by=bob).status
        finally:
            connections.close_all()

    with ThreadPoolExecutor(2) as threads:
        came_to = sorted(threads.map(publish, drafts))

    assert came_to == ["proposed", "published"]
    assert Policy.objects.published() is not None
