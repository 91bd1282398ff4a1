from typing import Any

import pytest
from django.db import OperationalError
from django.db.migrations.executor import MigrationExecutor
from django.test import Client

from orchestrator_site import health, probes
from orchestrator_site.health import Reached

pytestmark = pytest.mark.django_db
READY = "/api/v1/health/ready/"


@pytest.fixture(autouse=True)
def _forgetful() -> None:
    probes._all_applied.cache_clear()


def reached(database: float | None, redis: float | None) -> Any:
    return lambda: [Reached("PostgreSQL", database), Reached("Redis", redis)]


def test_ready_with_everything_behind_it():
    answer = Client().get(READY)

    assert answer.status_code == 200
    assert answer.json() == {
        "status": "ready",
        "checks": {"database": "ok", "migrations": "applied", "redis": "ok"},
    }


def test_without_redis_it_is_degraded_and_ready(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(health, "services", reached(1, None))

    answer = Client().get(READY)

    assert (answer.status_code, answer.json()["status"]) == (200, "degraded")
    assert answer.json()["checks"]["redis"] == "unreachable"


def test_without_a_database_it_is_not(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(health, "services", reached(None, 1))

    answer = Client().get(READY)

    assert answer.status_code == 503
    assert answer["Content-Type"] == "application/problem+json"
    assert answer["Retry-After"]


def test_with_a_migration_missing_it_is_not_until_it_is_there(monkeypatch: pytest.MonkeyPatch):
    with monkeypatch.context() as behind:
        behind.setattr(MigrationExecutor, "migration_plan", lambda self, targets: ["one"])
        answer = Client().get(READY)

    assert answer.status_code == 503
    assert answer.json()["checks"]["migrations"] == "1 missing"
    assert Client().get(READY).status_code == 200


def test_live_asks_nobody(monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: Any):
    def fail() -> None:
        raise OperationalError

    monkeypatch.setattr(health, "services", fail)

    with django_assert_num_queries(0):
        answer = Client(headers={"Authorization": "Bearer nonsense"}).get("/api/v1/health/live/")

    assert answer.json() == {"status": "live"}
