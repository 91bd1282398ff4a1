import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from django.apps import apps
from django.conf import settings

from orchestrator_site.services import bootstrap
from orchestrator_site.services.processes import REPOSITORY
from tests.waiting import PATIENCE_SECONDS


def test_another_command_runs_the_platform_over_a_database_of_its_own(data: Path) -> None:
    host = settings.DATABASES["default"]["HOST"]
    with psycopg.connect(host=host, user="postgres", dbname="postgres", autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS elsewhere WITH (FORCE)")
        connection.execute("CREATE DATABASE elsewhere")
    env = {name: value for name, value in os.environ.items() if name != "REDIS_URL"} | {
        "DJANGO_SETTINGS_MODULE": "orchestrator_site.settings",
        "BATON_DATA_DIR": str(data),
        "DATABASE_URL": f"postgresql://postgres@/elsewhere?host={host}",
    }

    run = subprocess.run(
        [sys.executable, "-m", "tests.services.as_a_library"],
        cwd=REPOSITORY,
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
    )

    assert run.returncode == 0, run.stderr
    seen = json.loads(run.stdout)
    assert seen["running before web"] == ["redis"]
    assert seen["children"] == ["redis", "guest", "worker-1", "worker-2", "web", "beat"]
    assert (seen["status"], seen["guest saw"], seen["exits are the victim's"]) == (200, "seen", True)
    assert [line for line in seen["said"] if line.endswith("is stopped")][-2:] == [
        "guest is stopped",
        "redis is stopped",
    ]
    assert not (data / "postgres").exists()
    with psycopg.connect(host=host, user="postgres", dbname="elsewhere") as connection:
        assert connection.execute("SELECT count(*) > 0 FROM django_migrations").fetchone() == (True,)


def test_every_app_may_bring_what_an_installation_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[str] = []

    class Module:
        def __init__(self, name: str) -> None:
            self.bootstrap: Callable[[], None] = lambda: called.append(name)

    monkeypatch.setattr(bootstrap, "module_has_submodule", lambda module, name: module.__name__ in {"runs", "agents"})
    monkeypatch.setattr(bootstrap, "import_module", Module)

    bootstrap.bootstrap()

    in_order = [app.name for app in apps.get_app_configs() if app.name in {"runs", "agents"}]
    assert called == [f"{name}.bootstrap" for name in in_order]
