import pytest
from django.core.management import call_command
from django.db import connection
from django.db.migrations.loader import MigrationLoader

pytestmark = pytest.mark.django_db


def ours() -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT proname FROM pg_proc WHERE proname LIKE 'agents\\_%%' ORDER BY 1")
        functions = [name for (name,) in cursor.fetchall()]
    tables = [name for name in connection.introspection.table_names() if name.startswith("agents_")]
    return functions + sorted(tables)


def test_nothing_is_missing_from_the_migrations():
    call_command("makemigrations", "agents", check=True, dry_run=True, verbosity=0)


def test_every_step_can_be_taken_back_and_again():
    """Data definition rolls back in PostgreSQL too, and so do these steps, with the test."""
    before = ours()
    loader = MigrationLoader(connection)
    steps = sorted(key for key in loader.disk_migrations if key[0] == "agents")

    for step in reversed(steps):
        with connection.schema_editor() as editor:
            loader.get_migration(*step).unapply(loader.project_state(step, at_end=False), editor)
    assert ours() == []

    for step in steps:
        with connection.schema_editor() as editor:
            loader.get_migration(*step).apply(loader.project_state(step, at_end=False), editor)
    assert ours() == before
