"""Ten thousand runs wait for a person: what they cost, and how soon a decision moves one."""

import random
import time
from dataclasses import dataclass
from statistics import median

import psutil
import psycopg
from django.contrib.auth.models import Group, User
from django.db import transaction

from agents import manifests
from agents.values import GrantSpec, Limits, ManifestSpec
from approvals import decisions
from approvals.models import SESSION, ApprovalRequest
from benchmarks.installation import ENDLESS, OWNER
from benchmarks.latency import commits
from benchmarks.latency.figures import Figure, spread
from benchmarks.multiply import analyze, multiply
from benchmarks.platform import Servers, Workers, wait_for
from benchmarks.work import DESCRIPTION, INPUT_SCHEMA, SYSTEM_PROMPT, Work
from orchestrator_site.core.models import ChainHead
from runs import intake
from runs.models import Run
from tools import registry
from tools.values import Effect, ExecutorKind, Risk

RELEASE, AGENT = "release_record", "releaser"
IDLE_SECONDS = 15
PAUSE_SECONDS = 0.1
RESUMED_MS = 300
# What Python and PostgreSQL's clients move by themselves between two readings.
MEMORY_NOISE_MB = 2


@dataclass(frozen=True)
class Idle:
    """What the workers do while there is nothing to do, a second."""

    memory_mb: float
    connections: float
    statements: float
    database_ms: float


def measure(servers: Servers, workers: Workers, *, waiting: int, decided: int) -> list[Figure]:
    run = _one_that_waits()
    _idle(servers, workers)  # what a worker does once, it has done then
    before = _idle(servers, workers)
    with transaction.atomic():
        multiply(run.pk, waiting)
        # In life they are signed as they come. One checkpoint over all of them would leave a kilobyte a chain with
        # the worker that made it: what a minute's moves cost, not what waiting does.
        ChainHead.objects.update(moved=False)
    analyze()
    time.sleep(5)
    after = _idle(servers, workers)
    return [*_costs(before, after, waiting), *_decide(run, decided)]


def _one_that_waits() -> Run:
    registry.define(
        RELEASE,
        risk=Risk.HIGH,
        brings=(),
        description=DESCRIPTION,
        input_schema=INPUT_SCHEMA,
        executor=ExecutorKind.PYTHON,
        config={"callable": "bench.read"},
        effect=Effect.PURE,
    )
    spec = ManifestSpec(
        title="Releaser",
        owns="the archive's releases",
        system_prompt=SYSTEM_PROMPT,
        models=("bench",),
        grants=(GrantSpec(tool=RELEASE),),
        limits=Limits(**ENDLESS),
    )
    manifests.publish(manifests.draft(AGENT, spec, by=None), by=None)
    prompt = Work(runs=1, turns=2, payload=100, tool=RELEASE).prompt
    run = intake.start(User.objects.get(username=OWNER), prompt, source="api", agent=AGENT)
    wait_for(lambda: ApprovalRequest.objects.open().filter(run_id=run.pk).exists(), seconds=60)
    wait_for(lambda: Run.objects.filter(pk=run.pk, status="waiting").exists(), seconds=60)
    return run


def _idle(servers: Servers, workers: Workers) -> Idle:
    with psycopg.connect(servers.database("baton"), autocommit=True) as server:
        server.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
        server.execute("SELECT pg_stat_statements_reset()")
        connections = []
        for _ in range(IDLE_SECONDS):
            time.sleep(1)
            connections.append(
                _one(server, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'")
            )
        own = "query NOT LIKE '%pg_stat_%'"
        calls = _one(server, f"SELECT sum(calls) FROM pg_stat_statements WHERE {own}")  # noqa: S608
        spent = _one(server, f"SELECT sum(total_exec_time) FROM pg_stat_statements WHERE {own}")  # noqa: S608
    memory = sum(psutil.Process(pid).memory_full_info().uss for pid in workers.pids) / 2**20
    return Idle(memory, median(connections), calls / IDLE_SECONDS, spent / IDLE_SECONDS)


def _one(server: psycopg.Connection, question: str) -> float:
    (answer,) = server.execute(question).fetchone() or (0,)
    return float(answer or 0)


def _costs(before: Idle, after: Idle, waiting: int) -> list[Figure]:
    def told(name: str, unit: str) -> str:
        return f"{getattr(before, name):.3g} {unit} without them, {getattr(after, name):.3g} with"

    what = f"{waiting:,} runs waiting"
    return [
        Figure(
            f"{what}: memory of the workers",
            max(0.0, after.memory_mb - before.memory_mb),
            MEMORY_NOISE_MB,
            "MB more",
            told("memory_mb", "MB"),
        ),
        Figure(
            f"{what}: connections",
            max(0.0, after.connections - before.connections),
            0,
            "more",
            told("connections", "in all"),
        ),
        Figure(
            f"{what}: statements a second",
            max(0.0, after.statements - before.statements),
            1,
            "more",
            told("statements", "a second, the sweeps'"),
        ),
        Figure(
            f"{what}: time in the database a second",
            max(0.0, after.database_ms - before.database_ms),
            5,
            "ms more",
            told("database_ms", "ms a second"),
        ),
    ]


def _decide(run: Run, decided: int) -> list[Figure]:
    """One decision at a time, of runs picked at random."""
    approver = User.objects.create_user("approver")
    approver.groups.add(Group.objects.get(name="Approver"))
    waiting = list(ApprovalRequest.objects.open().exclude(run_id=run.pk).values_list("pk", "run_id", "digest"))
    chosen = random.Random(11).sample(waiting, decided)
    for request_id, _, digest in chosen:
        decisions.decide(request_id, by=approver, verdict="approved", digest=digest, via=SESSION)
        time.sleep(PAUSE_SECONDS)
    runs = [run_id for _, run_id, _ in chosen]
    wait_for(lambda: Run.objects.filter(pk__in=runs, status="succeeded").count() == decided, seconds=120)
    resumed = commits.following(commits.of_chains(runs), "approval_decided", "step_")
    if len(resumed) != decided:
        raise SystemExit(f"{decided} runs were decided, and {len(resumed)} went on with a step.")
    return spread("decision committed → the run's next step committed", resumed, 99, RESUMED_MS)
