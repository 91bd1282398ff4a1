"""Every migration goes back as well as forth, on a database of its own."""

import os
import subprocess
import sys
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from django.apps import apps
from django.db import connection

from orchestrator_site.services.processes import REPOSITORY
from tests.stack import database_url
from tests.waiting import PATIENCE_SECONDS

# From the top floor down: whoever is pointed at leaves last.
ROOMS = ("demo", "runs", "approvals", "agents", "tools", "core")


@pytest.fixture
def empty_database(transactional_db: None) -> Iterator[str]:
    """The URL of a database without tables."""
    name = f"{connection.settings_dict['NAME']}_migrations"
    with connection.cursor() as cursor:
        cursor.execute(f'CREATE DATABASE "{name}"')
    yield database_url().replace(f"/{quote(connection.settings_dict['NAME'], safe='')}?", f"/{name}?")
    with connection.cursor() as cursor:
        cursor.execute(f'DROP DATABASE "{name}"')


# One process for the whole way: an interpreter's start costs more than the migrations.
WAY = """
import django
django.setup()
from django.core.management import call_command
from django.apps import apps
from django.db import connection
from tests.waiting import PATIENCE_SECONDS
call_command("migrate", verbosity=0)
for room in {rooms!r}:
    call_command("migrate", room, "zero", verbosity=0)
left = [table for table in connection.introspection.table_names() if table.startswith({prefixes!r})]
call_command("migrate", verbosity=0)
print("left:", left)
"""


def test_every_migration_is_reversible(empty_database: str) -> None:
    way = WAY.format(rooms=ROOMS, prefixes=tuple(f"{room}_" for room in ROOMS))
    env = os.environ | {"DATABASE_URL": empty_database, "DJANGO_SETTINGS_MODULE": "orchestrator_site.settings"}

    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", way],
        cwd=REPOSITORY,
        env=env,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )

    assert (done.returncode, done.stdout.strip()) == (0, "left: []"), done.stderr


@pytest.mark.django_db
def test_the_database_has_what_the_models_say() -> None:
    """Django drops every index of a column whose `db_index` goes, also those that hold a unique constraint."""
    said = {
        (model._meta.db_table, each.name)
        for model in apps.get_models()
        for each in [*model._meta.constraints, *model._meta.indexes]
    }
    with connection.cursor() as cursor:
        cursor.execute(
            """SELECT tablename, indexname FROM pg_indexes
               UNION SELECT conrelid::regclass::text, conname FROM pg_constraint WHERE conrelid <> 0"""
        )
        there = set(cursor.fetchall())

    assert said - there == set()
