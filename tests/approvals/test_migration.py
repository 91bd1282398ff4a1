import pytest
from django.core.management import call_command
from django.db import connection
from django.db.migrations.loader import MigrationLoader

from approvals.models import ApprovalRequest

pytestmark = pytest.mark.django_db


def test_nothing_is_missing_from_the_migrations():
    call_command("makemigrations", "approvals", check=True, dry_run=True, verbosity=0)


def test_every_step_can_be_taken_back_and_again():
    """The database refuses no DDL inside a transaction, so the steps are rolled back with the test."""
    loader = MigrationLoader(connection)
    steps = sorted(key for key in loader.disk_migrations if key[0] == "approvals")

    for step in reversed(steps):
        with connection.schema_editor() as editor:
            loader.get_migration(*step).unapply(loader.project_state(step, at_end=False), editor)
    assert "approvals_decision" not in connection.introspection.table_names()

    for step in steps:
        with connection.schema_editor() as editor:
            loader.get_migration(*step).apply(loader.project_state(step, at_end=False), editor)
    assert "approvals_decision" in connection.introspection.table_names()


def test_a_sweep_finds_the_overdue_by_the_partial_index():
    # An empty table gives the planner no reason to choose: it is left the one index that is in order already.
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off")
    plan = ApprovalRequest.objects.overdue().order_by("deadline_at").explain()

    assert "approval_open_by_deadline" in plan
