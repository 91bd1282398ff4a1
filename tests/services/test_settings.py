import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.test import override_settings

from orchestrator_site.checks import workers_use_threads
from orchestrator_site.secret_key import kept_key
from orchestrator_site.services.places import LONGEST_SOCKET_PATH, redis_socket
from orchestrator_site.services.processes import REPOSITORY
from tests.waiting import PATIENCE_SECONDS


def test_production_refuses_to_start_without_a_secret_key(tmp_path: Path) -> None:
    env = {name: value for name, value in os.environ.items() if name not in {"SECRET_KEY", "DJANGO_SETTINGS_MODULE"}}
    started = subprocess.run(
        [sys.executable, "-c", "import orchestrator_site.settings"],
        env=env | {"BATON_DEBUG": "0", "BATON_DATA_DIR": str(tmp_path)},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )

    assert started.returncode == 1
    assert "SECRET_KEY is not set" in started.stderr


def test_a_development_key_is_made_once_and_private(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "secret_key"

    assert kept_key(path) == kept_key(path)
    assert len(kept_key(path)) > 50
    assert path.stat().st_mode & 0o077 == 0
    assert [*path.parent.iterdir()] == [path]


@pytest.mark.parametrize("pool", ["prefork", "gevent", "solo"])
def test_other_pools_are_a_system_check_error(pool: str) -> None:
    with override_settings(CELERY_WORKER_POOL=pool):
        assert [error.id for error in workers_use_threads()] == ["orchestrator_site.E001"]


def test_threads_pass_the_system_check() -> None:
    assert workers_use_threads() == []


def test_a_worker_started_with_another_pool_refuses_to_run() -> None:
    started = subprocess.run(
        [sys.executable, "-m", "celery", "-A", "orchestrator_site", "worker", "--pool", "solo"],
        env=os.environ | {"DJANGO_SETTINGS_MODULE": "tests.settings"},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
    )

    assert started.returncode == 1
    assert "start them with `--pool threads`" in started.stderr


def test_a_deep_data_folder_gets_its_sockets_elsewhere(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100)

    assert deep not in redis_socket(deep).parents
    assert len(str(redis_socket(deep))) < LONGEST_SOCKET_PATH
    assert redis_socket(deep) == redis_socket(deep)
    assert redis_socket(deep) != redis_socket(tmp_path / ("e" * 100))
