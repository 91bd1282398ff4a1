"""Plans: the wall time of one beside its critical path, and what a node costs in a small one and in a large one."""

from statistics import median
from typing import Any

import psutil
from django.contrib.auth.models import User

from benchmarks.installation import AGENTS, OWNER
from benchmarks.latency.figures import Figure
from benchmarks.platform import Model, Workers, wait_for
from benchmarks.work import READ, Work
from runs import intake
from runs.models import Run

WIDE, DEEP, MODEL_SECONDS = 3, 3, 1.0
# A layer of the plans whose nodes are counted; each waits for one of the layer before.
LAYER = 10
SMALL, LARGE = 100, 1000


def measure(model: Model, workers: Workers, *, runs: int) -> list[Figure]:
    return [_beside_critical_path(model, runs), *_by_size(workers)]


def _beside_critical_path(model: Model, runs: int) -> Figure:
    """Every node waits for all of the layer before it, so that the slowest of each counts."""
    model.set_latency(MODEL_SECONDS)
    try:
        seconds = [_seconds(layers(WIDE, DEEP, joined=True)) for _ in range(runs)]
    finally:
        model.set_latency(0)
    path = DEEP * MODEL_SECONDS
    spread = f"{runs} runs, {min(seconds):.2f} to {max(seconds):.2f} s"
    told = f"{spread}; the critical path is {path:.0f} s, the sum {WIDE * path:.0f} s"
    return Figure(f"{WIDE} wide, {DEEP} deep: wall time to critical path", median(seconds) / path, 1.15, "×", told)


def _by_size(workers: Workers) -> list[Figure]:
    """The workers' own time, as a plan is walked through without a moment's wait for the model."""
    cpu, wall = {}, {}
    for nodes in (SMALL, SMALL, LARGE):  # the first one warms them up
        before = _cpu_seconds(workers)
        wall[nodes] = 1000 * _seconds(layers(LAYER, nodes // LAYER, joined=False)) / nodes
        cpu[nodes] = 1000 * (_cpu_seconds(workers) - before) / nodes
    named = f"a node of {LARGE:,} to one of {SMALL}"
    return [
        Figure(f"{named}: {what}", of[LARGE] / of[SMALL], 1.2, "×", f"{of[SMALL]:.1f} and {of[LARGE]:.1f} ms")
        for what, of in (("workers' CPU", cpu), ("wall time", wall))
    ]


def _cpu_seconds(workers: Workers) -> float:
    used = [psutil.Process(pid).cpu_times() for pid in workers.pids]
    return sum(each.user + each.system for each in used)


def _seconds(plan: dict[str, Any]) -> float:
    owner = User.objects.get(username=OWNER)
    run = intake.start(owner, "Go through the archive.", source="api", plan=plan)
    wait_for(lambda: Run.objects.filter(pk=run.pk, finished_at__isnull=False).exists(), seconds=600)
    run.refresh_from_db()
    assert run.status == "succeeded", run.output
    assert run.finished_at is not None
    return (run.finished_at - run.created_at).total_seconds()


def layers(wide: int, deep: int, *, joined: bool) -> dict[str, Any]:
    """`joined`: each node waits for the whole layer before it, else for the one above it alone."""
    task = Work(runs=1, turns=1, payload=100, tool=READ).prompt
    nodes = []
    for layer in range(deep):
        for place in range(wide):
            above = range(wide) if joined else (place,)
            after = [f"n{layer - 1}-{each}" for each in above] if layer else []
            nodes.append({"key": f"n{layer}-{place}", "agent": AGENTS[READ], "task": task, "depends_on": after})
    return {"nodes": nodes}
