"""Fifty browsers watch a run: how soon each hears of an event."""

import json
import subprocess
import sys
import time

from django.contrib.auth.models import User
from django.test import Client

from benchmarks.installation import OWNER
from benchmarks.latency import commits
from benchmarks.latency.figures import Figure, spread
from orchestrator_site.core import events
from orchestrator_site.services.processes import REPOSITORY
from runs.models import Run

HEARD_MS = 150
PAUSE_SECONDS = 0.05


def measure(url: str, *, viewers: int, number: int) -> list[Figure]:
    run = Run.objects.create(owner=User.objects.get(username=OWNER), source="api", input="Watch me.")
    _say(run, 0)
    with _watching(url, run, viewers, number + 1) as watching:
        assert watching.stdout is not None
        if "watching" not in json.loads(watching.stdout.readline()):
            raise SystemExit("the viewers did not come")
        for count in range(number):
            _say(run, count)
            time.sleep(PAUSE_SECONDS)
        heard = {int(seq): moments for seq, moments in json.loads(watching.stdout.readline()).items()}
    committed = dict(enumerate((at for _, at in commits.of_chain(run.pk)), start=1))
    waited = [1000 * (at - committed[seq]) for seq in range(2, number + 2) for at in heard[seq]]
    if len(waited) != viewers * number:
        raise SystemExit(f"{viewers} viewers were to hear of {number} events each, and {len(waited)} came in all.")
    rate = 1 / PAUSE_SECONDS
    return spread(f"event committed → {viewers} browsers", waited, 99, HEARD_MS, f"at most {rate:g} events a second")


def _say(run: Run, number: int) -> None:
    with events.recording() as log:
        log.run(run.pk, "noted", number=number)


def _watching(url: str, run: Run, viewers: int, last: int) -> subprocess.Popen[str]:
    client = Client()
    client.force_login(run.owner)
    address = f"{url.replace('http', 'ws', 1)}/ws/runs/{run.pk}/?after=0"
    argv = [sys.executable, "-m", "benchmarks.latency.viewers", address, client.cookies["sessionid"].value]
    argv += ["--count", str(viewers), "--last", str(last)]
    return subprocess.Popen(argv, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
