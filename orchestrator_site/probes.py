"""What asks whether this process may be given work: open to all, telling nothing but that."""

from functools import cache
from typing import Any

from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from orchestrator_site import health
from orchestrator_site.core import problems
from orchestrator_site.core.problems import Problem
from orchestrator_site.core.serializers import ProblemSerializer


class LiveSerializer(serializers.Serializer):
    status = serializers.CharField()


class ReadySerializer(serializers.Serializer):
    status = serializers.ChoiceField(choices=["ready", "degraded"])
    checks = serializers.DictField(child=serializers.CharField())


class Open(APIView):
    """Nobody has to be signed in, and nothing is read to find out who it is."""

    authentication_classes: list[Any] = []
    permission_classes: list[Any] = []
    http_method_names = ["get", "head"]


class Live(Open):
    @extend_schema(operation_id="health_live", responses=LiveSerializer, tags=["health"])
    def get(self, request: Request) -> Response:
        """This process answers; it says nothing about the services behind it."""
        return Response({"status": "live"})


class Ready(Open):
    @extend_schema(
        operation_id="health_ready",
        responses={200: ReadySerializer, (503, problems.MEDIA_TYPE): ProblemSerializer},
        tags=["health"],
    )
    def get(self, request: Request) -> Response:
        """The database answers and has every migration.

        Without Redis, or with a database that takes no writes, it is `degraded`, and ready all the same.
        """
        database, redis = health.services()
        if database.milliseconds is None:
            raise _not_ready("The database does not answer.", {"database": "unreachable"})
        if missing := _missing_migrations():
            told = {"database": "ok", "migrations": f"{missing} missing"}
            raise _not_ready("The database lacks migrations: run `manage.py migrate`.", told)
        is_well = redis.milliseconds is not None and not database.why
        checks = {
            "database": "read-only" if database.why else "ok",
            "migrations": "applied",
            "redis": "ok" if redis.milliseconds is not None else "unreachable",
        }
        return Response({"status": "ready" if is_well else "degraded", "checks": checks})


def _not_ready(detail: str, checks: dict[str, str]) -> Problem:
    headers = {"Retry-After": str(problems.RETRY_AFTER_SECONDS)}
    return Problem(503, detail, kind="not-ready", headers=headers, checks=checks)


def _missing_migrations() -> int:
    try:
        return _all_applied()
    except _Missing as missing:
        return missing.count


class _Missing(Exception):
    def __init__(self, count: int) -> None:
        super().__init__(count)
        self.count = count


@cache
def _all_applied() -> int:
    """Remembered once it is so: this process never gets newer code. What raises is asked again."""
    executor = MigrationExecutor(connection)
    if plan := executor.migration_plan(executor.loader.graph.leaf_nodes()):
        raise _Missing(len(plan))
    return 0
