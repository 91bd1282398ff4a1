"""What the health page says of the checkpoints."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import connection
from django.db.models import F
from django.test import Client

from orchestrator_site.core import restorations, roles
from orchestrator_site.core.events import PLATFORM
from orchestrator_site.core.models import Checkpoint
from tests.audit.cast import checkpoint, new_chain, say
from tests.runs import cast

pytestmark = pytest.mark.django_db


@pytest.fixture
def ops(client: Client) -> Any:
    auditor = cast.person("eve")
    auditor.groups.set([Group.objects.get(name=roles.AUDITOR)])
    client.force_login(auditor)
    return lambda: " ".join(client.get("/ops/").content.decode().split())


def test_how_old_the_newest_is_and_what_moved_since(ops: Any):
    say(PLATFORM, 1)
    before = ops()
    checkpoint()
    say(PLATFORM, 1)
    say(new_chain(), 1)
    after = ops()

    assert "none yet" in before
    assert "2 chains moved since" in after
    assert "signed <time" in after


def test_one_that_is_overdue_is_an_alarm(ops: Any, settings: Any):
    settings.BATON_CHECKPOINT_SECONDS = 60
    say(PLATFORM, 1)
    checkpoint()
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        Checkpoint.objects.update(at=F("at") - timedelta(minutes=6))
    quiet = ops()
    say(PLATFORM, 1)
    overdue = ops()

    tile = '<div class="tile tile-bad"><span class="tile-name">Checkpoint'
    assert tile not in quiet, "nothing has moved: nothing is missing"
    assert tile in overdue


def test_a_restored_backup_that_is_not_marked_yet_is_told(ops: Any):
    restorations.begin(None, by="command:mark_restored")

    assert "work stands still" in ops()
