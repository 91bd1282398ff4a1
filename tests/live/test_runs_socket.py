import json
import socket

import pytest
import redis
from django.conf import settings
from django.contrib.auth.models import User
from websockets.exceptions import InvalidStatus

from orchestrator_site.core import doorbell
from runs.models import Run
from tests.live.clients import together
from tests.live.conftest import Site, allowed, record, writer


def kill_subscriptions() -> None:
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        assert client.client_kill_filter(_type="pubsub"), "nobody was subscribed"


def test_every_event_arrives_once_and_in_order_while_many_write(site: Site, run: Run) -> None:
    watchers = [site.watch_run(run) for _ in range(4)]
    writers = [writer(run, range(start, start + 25)) for start in range(0, 100, 25)]

    together(*writers, *(lambda watcher=watcher: watcher.until_seq(100) for watcher in watchers))

    assert [watcher.seqs for watcher in watchers] == [[*range(1, 101)]] * 4
    numbers = [message["data"]["number"] for message in watchers[0].told if message["type"] == "noted"]
    assert sorted(numbers) == [*range(100)]


def test_a_killed_subscription_is_told_mended_and_loses_nothing(site: Site, run: Run) -> None:
    watcher = site.watch_run(run)
    watcher.until_type("live")

    together(writer(run, range(20)), kill_subscriptions)
    record(run, 20)
    watcher.until_seq(21)
    if watcher.degraded[-1]:
        watcher.until_type("live")

    assert watcher.seqs == [*range(1, 22)]
    assert watcher.degraded == [False, True, False]


def test_who_comes_again_is_told_what_was_missed(site: Site, run: Run) -> None:
    record(run, *range(5))
    watcher = site.watch_run(run, after=3)
    watcher.until_type("live")
    record(run, 5)
    watcher.until_seq(6)

    assert watcher.seqs == [4, 5, 6]
    assert set(watcher.told[0]) == {"seq", "type", "at", "data"}


def test_live_text_reaches_those_who_watch_its_run(site: Site, run: Run) -> None:
    watcher = site.watch_run(run)
    watcher.until_type("live")

    doorbell.ring(doorbell.LIVE_TEXT, run=str(run.pk), dispatch="d", step=2, text="Let me look.")

    heard = watcher.until_type("text")
    assert (heard["seq"], heard["data"]) == (None, {"dispatch": "d", "step": 2, "text": "Let me look."})


def test_nonsense_on_the_doorbell_disturbs_nobody(site: Site, run: Run) -> None:
    watcher = site.watch_run(run)
    watcher.until_type("live")

    with redis.Redis.from_url(settings.REDIS_URL) as client:
        for nonsense in ("", "[]", '{"chain": []}', json.dumps({"chain": f"run:{run.pk}", "seq": "x"})):
            client.publish(doorbell.channel(doorbell.EVENTS), nonsense)
    record(run, 1)

    watcher.until_seq(1)


def test_a_slow_client_is_told_the_rest_from_the_rows(site: Site, run: Run) -> None:
    narrow = socket.socket()
    narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    narrow.connect(("127.0.0.1", int(site.url.rsplit(":", 1)[1])))
    slow = site.watch_run(run, sock=narrow, max_queue=1, max_size=None)
    quick = site.watch_run(run)
    slow.until_type("live")
    quick.until_type("live")

    for start in range(0, 600, 100):  # more than the network and its inbox hold
        record(run, *range(start, start + 100), words="x" * 20_000)
        quick.until_seq(start + 100)  # the others do not wait for the slow one
    slow.until_seq(600)
    slow.until_type("live")  # said again after what was missed was read

    assert slow.seqs == quick.seqs == [*range(1, 601)]


@pytest.mark.parametrize(
    ("path", "who", "code"),
    [
        ("/ws/runs/{run}/", "owner", None),
        ("/ws/runs/{run}/", "auditor", None),
        ("/ws/runs/{run}/", "stranger", 4404),
        ("/ws/runs/{run}/", None, 4401),
        ("/ws/runs/01980000-0000-7000-8000-000000000000/", "auditor", 4404),
        ("/ws/runs/{run}/?after=-1", "owner", 4400),
        ("/ws/runs/{run}/?after=soon", "owner", 4400),
        ("/ws/elsewhere/", "owner", 4404),
    ],
)
def test_who_may_watch_a_run(site: Site, run: Run, path: str, who: str | None, code: int | None) -> None:
    people = {"owner": run.owner, "auditor": allowed("auditor", "view_run"), "stranger": allowed("stranger")}

    watcher = site.watch(path.format(run=run.pk), people[who] if who else None)

    if code is None:
        watcher.until_type("live")
    else:
        assert watcher.close_code() == code
        assert watcher.told == []


def test_a_page_of_another_site_gets_no_socket(site: Site, run: Run, owner: User) -> None:
    with pytest.raises(InvalidStatus, match="403"):
        site.watch_run(run, origin="http://elsewhere.example")
