"""This process as part of an installation in production mode, and the agents that do the benchmark's work.

Models are imported inside the functions: Django can be set up only once the servers' addresses are known.
"""

import os
import secrets
from decimal import Decimal
from pathlib import Path
from typing import Any

from benchmarks.platform import Model, Servers
from benchmarks.work import DESCRIPTION, EFFECT, INPUT_SCHEMA, READ, SYSTEM_PROMPT

OWNER = "bench"
AGENTS = {READ: "reader", EFFECT: "stamper"}  # by the tool they are granted
CALLABLES = {READ: "bench.read", EFFECT: "bench.effect"}
# Far beyond what the longest run uses, so that no limit ends it; each is checked all the same.
ENDLESS: dict[str, Any] = {"iterations": 1000, "tokens_total": 10**9, "cost_usd": Decimal(1000), "wall_seconds": 3600}


def environment(servers: Servers, model: Model) -> dict[str, str]:
    """The variables of a production installation on these servers; workers inherit them."""
    return {
        "DJANGO_SETTINGS_MODULE": "orchestrator_site.settings",
        "BATON_DATA_DIR": str(servers.folder),
        "DATABASE_URL": servers.database("baton"),
        "REDIS_URL": servers.redis_url,
        "BATON_DEBUG": "0",
        "BATON_HTTPS": "0",
        "BATON_PUBLIC_URL": "http://127.0.0.1:8000",
        "SECRET_KEY": secrets.token_urlsafe(50),
        "ANTHROPIC_API_KEY": "a key for the benchmark",
        "ANTHROPIC_BASE_URL": model.url,
        "BATON_CHECKPOINT_KEY_FILE": str(servers.folder / "checkpoint_key.pem"),
        "BATON_CALLABLES": "benchmarks.callables",
        "BATON_DB_POOL": "1",
    }


def enter(servers: Servers, model: Model) -> None:
    """Set Django up, migrate, and publish the agents. Once a process."""
    os.environ.update(environment(servers, model))
    os.environ["BATON_DB_POOL"] = "0"  # ours alone: this process forks
    import django

    django.setup()
    os.environ["BATON_DB_POOL"] = "1"
    from django.conf import settings
    from django.core.management import call_command

    from orchestrator_site.core import signing
    from orchestrator_site.services.bootstrap import bootstrap

    signing.made(Path(str(settings.BATON_CHECKPOINT_KEY_FILE)))
    call_command("migrate", interactive=False, verbosity=0)
    bootstrap()
    _publish_agents()


def _publish_agents() -> None:
    from django.contrib.auth.models import User

    from agents import manifests
    from agents.models import ModelEntry
    from agents.values import GrantSpec, Limits, ManifestSpec

    User.objects.create_user(OWNER)
    price = {"input_price": 1, "output_price": 5, "cache_read_price": Decimal("0.1"), "cache_write_price": 1}
    ModelEntry.objects.create(name="bench", provider_model="bench", context_window=10**8, output_limit=8192, **price)
    for tool, slug in AGENTS.items():
        _define(tool)
        spec = ManifestSpec(
            title=slug.capitalize(),
            owns="the archive",
            system_prompt=SYSTEM_PROMPT,
            models=("bench",),
            grants=(GrantSpec(tool=tool),),
            limits=Limits(**ENDLESS),
        )
        manifests.publish(manifests.draft(slug, spec, by=None), by=None)


def _define(tool: str) -> None:
    from tools import registry
    from tools.values import Effect, ExecutorKind, Risk

    registry.define(
        tool,
        risk=Risk.LOW,
        brings=(),
        description=DESCRIPTION,
        input_schema=INPUT_SCHEMA,
        executor=ExecutorKind.PYTHON,
        config={"callable": CALLABLES[tool]},
        effect=Effect.PURE if tool == READ else Effect.KEYED,
    )


def submit(work: Any, *, budget_usd: Decimal | None) -> None:
    """Accept all runs of a piece of work, through the door every run comes by."""
    from django.contrib.auth.models import User

    from runs import intake

    owner = User.objects.get(username=OWNER)
    for _ in range(work.runs):
        intake.start(owner, work.prompt, source="api", agent=AGENTS[work.tool], budget_usd=budget_usd)


def open_runs() -> int:
    from runs.models import Run

    return Run.objects.open().count()


def failed_runs() -> dict[str, int]:
    """Runs that did not succeed, counted by status and stop reason."""
    from django.db.models import Count

    from runs.models import Run

    rows = Run.objects.exclude(status="succeeded").values_list("status", "stop_reason").annotate(n=Count("pk"))
    return {f"{status} {reason}".strip(): n for status, reason, n in rows}
