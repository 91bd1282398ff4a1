"""One run alone: what a step takes beyond the model."""

import time
from collections.abc import Iterator
from itertools import pairwise
from uuid import uuid4

from django.contrib.auth.models import User

import benchmarks.callables  # noqa: F401  (registers the tools in this process too)
from benchmarks.installation import AGENTS, OWNER
from benchmarks.latency import commits
from benchmarks.latency.figures import Figure, percentile
from benchmarks.platform import Model, Servers, wait_for
from benchmarks.record import fsync_milliseconds
from benchmarks.work import EFFECT, READ, Work
from runs import intake
from runs.models import Run
from tools import registry
from tools.executors import python
from tools.values import CallContext

LATENCY_SECONDS = 0.05
TURNS = 20
IN_A_CHILD = "forked, answered, killed and seen dead, so that nothing of it is left; every keyed call pays it"


def measure(servers: Servers, model: Model, *, runs: int) -> list[Figure]:
    fsync = fsync_milliseconds(servers.folder)
    model.set_latency(LATENCY_SECONDS)
    try:
        found = [
            _added(tool, name, fsync, runs) for tool, name in ((READ, "pure tool"), (EFFECT, "keyed tool, a child"))
        ]
    finally:
        model.set_latency(0)
    forked = percentile(_calls_in_a_child(TURNS * runs), 50)
    return [
        Figure("fsync of 8 KiB, median", fsync),
        Figure("a call in a process of its own, nothing else, median", forked, remark=IN_A_CHILD),
        *found,
    ]


def _calls_in_a_child(times: int) -> Iterator[float]:
    """Milliseconds of each, by the executor that carries them in workers; the first, which forks nothing yet, aside."""
    spec = registry.spec(EFFECT)
    assert spec is not None
    for number in range(times + 1):
        began = time.perf_counter()
        call = CallContext(str(number), uuid4(), uuid4(), uuid4())
        arguments = {"record": number, "size": 100}
        result = python.run(spec, arguments, timeout_seconds=10, result_limit_bytes=10_000, call=call)
        assert result.ok, result
        if number:
            yield 1000 * (time.perf_counter() - began)


def _added(tool: str, name: str, fsync: float, runs: int) -> Figure:
    steps = [each for _ in range(runs) for each in _steps(tool)]
    added = [1000 * (seconds - LATENCY_SECONDS) for seconds in steps]
    told = f"{len(added)} steps, p95 {percentile(added, 95):.3g} ms; 3 × fsync + 10"
    return Figure(f"one run alone, {name}: added to a step, median", percentile(added, 50), 3 * fsync + 10, remark=told)


def _steps(tool: str) -> list[float]:
    """Seconds from one recorded reply to the next, the call of a tool between them."""
    owner = User.objects.get(username=OWNER)
    prompt = Work(runs=1, turns=TURNS, payload=100, tool=tool).prompt
    run = intake.start(owner, prompt, source="api", agent=AGENTS[tool])
    wait_for(lambda: Run.objects.filter(pk=run.pk, status="succeeded").exists(), seconds=120)
    answered = [at for type, at in commits.of_chain(run.pk) if type == "step_answered"]
    return [later - earlier for earlier, later in pairwise(answered)]
