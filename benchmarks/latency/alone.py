"""One run alone: what a step takes beyond the model."""

from itertools import pairwise

from django.contrib.auth.models import User

from benchmarks.installation import AGENTS, OWNER
from benchmarks.latency import commits
from benchmarks.latency.figures import Figure, percentile
from benchmarks.platform import Model, Servers, wait_for
from benchmarks.record import fsync_milliseconds
from benchmarks.work import EFFECT, READ, Work
from runs import intake
from runs.models import Run

LATENCY_SECONDS = 0.05
TURNS = 20


def measure(servers: Servers, model: Model, *, runs: int) -> list[Figure]:
    fsync = fsync_milliseconds(servers.folder)
    model.set_latency(LATENCY_SECONDS)
    try:
        found = [
            _added(tool, name, fsync, runs) for tool, name in ((READ, "pure tool"), (EFFECT, "keyed tool, a child"))
        ]
    finally:
        model.set_latency(0)
    return [Figure("fsync of 8 KiB, median", fsync), *found]


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
