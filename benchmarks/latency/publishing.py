"""An operator publishes: how soon every process serves it."""

import time

import psycopg
from django.contrib.auth.models import User

from agents import manifests
from agents.models import Agent, WorkerRoster
from agents.roster import database_epoch
from benchmarks.installation import AGENTS
from benchmarks.latency.figures import Figure, spread
from benchmarks.platform import Servers
from benchmarks.work import READ

SERVED_MS = 250
LONGEST_SECONDS = 10
PAUSE_SECONDS = 0.2


def measure(servers: Servers, *, times: int) -> list[Figure]:
    """Every process that serves a roster says so by its own row; the last of them counts."""
    waited = []
    processes = WorkerRoster.objects.seen_within(15).count()
    with psycopg.connect(servers.database("baton"), autocommit=True) as reader:
        for number in range(times):
            _publish(number)
            published = time.perf_counter()
            _all_serve(reader, database_epoch(), processes)
            waited.append(1000 * (time.perf_counter() - published))
            time.sleep(PAUSE_SECONDS)
    return spread(f"publish committed → all {processes} processes serve it", waited, 99, SERVED_MS, "by their own rows")


def _publish(number: int) -> None:
    agent = Agent.objects.get(slug=AGENTS[READ])
    assert agent.published is not None
    spec = agent.published.spec().model_copy(update={"owns": f"the archive, edition {number}"})
    manifests.publish(manifests.draft(agent.slug, spec, by=User.objects.first()), by=None)


def _all_serve(reader: psycopg.Connection, epoch: int, processes: int) -> None:
    ends_at = time.monotonic() + LONGEST_SECONDS
    while True:
        (serving,) = reader.execute(
            "SELECT count(*) FROM agents_workerroster WHERE epoch >= %s", [epoch]
        ).fetchone() or (0,)
        if serving >= processes:
            return
        if time.monotonic() > ends_at:
            raise TimeoutError(f"{serving} of {processes} processes serve epoch {epoch} after {LONGEST_SECONDS} s")
        time.sleep(0.001)
