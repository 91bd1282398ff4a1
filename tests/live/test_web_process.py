"""What a web process holds while nothing happens, and what happens to those who watch when something gives way."""

import signal
from collections.abc import Callable

from django.contrib.sessions.models import Session
from django.db import connection

from runs.models import Run
from tests.live.conftest import QuickSite, allowed, record, signed_in, writer
from tests.waiting import PATIENCE_SECONDS, eventually

Start = Callable[..., QuickSite]


def connections_of(name: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE application_name = %s", [name])
        return cursor.fetchone()[0]


def test_idle_clients_hold_no_database_connection_and_the_shut_out_go(quick_site: Start, run: Run) -> None:
    site = quick_site(PGAPPNAME="idle web", BATON_DB_POOL="0")
    watchers = [site.watch_run(run) for _ in range(50)]
    stream = site.stream(run, Cookie=f"sessionid={signed_in(run.owner)}")
    events = stream.events()
    for watcher in watchers:
        watcher.until_type("live")
    assert next(events).type == "live"

    # Polls and checks come and go; between them nothing is left.
    eventually(lambda: connections_of("idle web") == 0)

    auditor = allowed("auditor", "view_run")
    revoked = site.watch(f"/ws/runs/{run.pk}/", auditor)
    revoked.until_type("live")
    auditor.user_permissions.clear()
    assert revoked.close_code() == 4404

    Session.objects.all().delete()
    assert {watcher.close_code() for watcher in watchers} == {4401}
    assert [*events] == []
    assert stream.comments, "a stream gives signs of life"


def test_without_redis_pages_move_and_say_that_they_are_degraded(quick_site: Start, run: Run) -> None:
    site = quick_site(REDIS_URL="redis://127.0.0.1:1/0")
    watchers = [site.watch_run(run) for _ in range(3)]
    for watcher in watchers:
        watcher.until_type("live")

    writer(run, range(10))()
    for watcher in watchers:
        watcher.until_seq(10)

    assert [watcher.seqs for watcher in watchers] == [[*range(1, 11)]] * 3
    assert [watcher.degraded for watcher in watchers] == [[True]] * 3


def test_a_web_process_that_stops_sends_everyone_away_at_once(quick_site: Start, run: Run) -> None:
    site = quick_site()
    record(run, 1)
    watcher = site.watch_run(run)
    stream = site.stream(run, Cookie=f"sessionid={signed_in(run.owner)}")
    events = stream.events()
    watcher.until_type("live")
    assert [next(events).type, next(events).type] == ["noted", "live"]

    site.process.send(signal.SIGTERM)

    assert watcher.close_code() == 1012
    assert [*events] == []
    assert site.process.wait_stopped(PATIENCE_SECONDS), "it would wait for them for longer than that"
