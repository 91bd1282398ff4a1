"""Applications send work: how soon each is answered 201, while workers carry what came before."""

import http.client
import json
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

from django.contrib.auth.models import Group, User

from benchmarks.installation import AGENTS, OWNER
from benchmarks.latency.figures import Figure, spread
from benchmarks.platform import wait_for
from benchmarks.work import READ, Work
from orchestrator_site.core import tokens
from runs.models import Run

ACCEPTED_MS = 50
CLIENTS = 16
WARMING = 20


def measure(url: str, *, rate: int, seconds: int) -> list[Figure]:
    """Sent at even times whatever the answers do: a slow answer makes no later one look quicker."""
    owner = User.objects.get(username=OWNER)
    owner.groups.add(Group.objects.get(name="App"))
    _, secret = tokens.create(owner, ["runs:write"], by=None)
    body = json.dumps({"input": Work(runs=1, turns=2, payload=100, tool=READ).prompt, "agent": AGENTS[READ]})
    with ThreadPoolExecutor(CLIENTS) as clients:
        list(clients.map(lambda _: _post(url, secret, body, time.perf_counter()), range(WARMING)))
        began = time.perf_counter() + 0.5
        due = [began + n / rate for n in range(rate * seconds)]
        waited = list(clients.map(lambda at: _post(url, secret, body, at), due))
    wait_for(lambda: not Run.objects.open().filter(agent__slug=AGENTS[READ]).exists(), seconds=300)
    return spread(f"POST runs/ → 201, {rate} a second", waited, 95, ACCEPTED_MS, "each with a connection of its own")


def _post(url: str, secret: str, body: str, due: float) -> float:
    """Milliseconds from when it was due to the whole answer."""
    time.sleep(max(0.0, due - time.perf_counter()))
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    headers = {"Authorization": f"Bearer {secret}", "Content-Type": "application/json"}
    connection.request("POST", "/api/v1/runs/", body, headers)
    answer = connection.getresponse()
    told = answer.read()
    connection.close()
    if answer.status != 201:
        raise SystemExit(f"POST runs/ answered {answer.status}: {told[:300]!r}")
    return 1000 * (time.perf_counter() - due)
