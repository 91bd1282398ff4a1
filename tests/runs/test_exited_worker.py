"""A worker's process is seen to exit: what it held is free at once, and whoever tells of it never waits."""

import os
import socket
import subprocess
import sys
import threading

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError, transaction

from orchestrator_site.services.processes import REPOSITORY
from runs import leases, states
from runs.models import Dispatch
from tests.runs.cast import agent, event_types, script, start, text
from tests.runs.meanwhile import elsewhere
from tests.stack import database_url
from tests.waiting import PATIENCE_SECONDS

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("model")]

GONE = 4_000_001


def held_by_the_dead(owner: User) -> Dispatch:
    run = start(owner, script(text("Hello.")))
    leases.claim(run.dispatches.get().pk)
    Dispatch.objects.filter(run=run).update(lease_owner=f"{socket.gethostname()}:{GONE}:abc")
    return run.dispatches.get()


def is_free(dispatch: Dispatch) -> bool:
    return Dispatch.objects.forgotten().filter(pk=dispatch.pk).exists()


def test_what_a_frozen_neighbour_has_in_hand_is_left_for_the_next_telling_and_the_rest_is_free(ann: User) -> None:
    """A process that was stopped in the middle of a transaction keeps its locks for as long as it stands still."""
    agent()
    locked, other = held_by_the_dead(ann), held_by_the_dead(ann)
    has_locked, may_go = threading.Event(), threading.Event()

    def freeze() -> None:
        with transaction.atomic():
            Dispatch.objects.select_for_update(of=("self",)).get(pk=locked.pk)
            has_locked.set()
            may_go.wait(PATIENCE_SECONDS)

    frozen = elsewhere(freeze)
    assert has_locked.wait(PATIENCE_SECONDS)
    with pytest.raises(OperationalError, match="lock timeout"):
        leases.process_exited("worker", GONE)
    assert (is_free(locked), is_free(other)) == (False, True)

    may_go.set()
    frozen.result(timeout=PATIENCE_SECONDS)
    leases.process_exited("worker", GONE)

    assert is_free(locked)
    assert [event_types(each.run).count("worker_exited") for each in (locked, other)] == [1, 1]


def test_a_server_process_that_stands_still_in_a_transaction_loses_its_session_with_its_leases() -> None:
    asked = (
        "import django; django.setup(); from django.db import connection as c; k = c.cursor();"
        "k.execute('SHOW idle_in_transaction_session_timeout'); print(k.fetchone()[0])"
    )
    env = os.environ | {
        "DJANGO_SETTINGS_MODULE": "orchestrator_site.settings",
        "DATABASE_URL": database_url(),
        "BATON_DB_POOL": "1",
        "BATON_LEASE_SECONDS": "7",
    }
    told = subprocess.run(
        [sys.executable, "-c", asked], env=env, cwd=REPOSITORY, capture_output=True, text=True, check=True
    )

    assert told.stdout.strip() == "7s"


def test_a_dispatch_given_back_meanwhile_is_left_alone(ann: User) -> None:
    agent()
    dispatch = held_by_the_dead(ann)
    Dispatch.objects.filter(pk=dispatch.pk).update(status=states.QUEUED, lease_owner="", lease_until=None)

    leases.process_exited("worker", GONE)

    assert "worker_exited" not in event_types(dispatch.run)
