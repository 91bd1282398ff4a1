"""Database triggers that refuse UPDATE, DELETE and TRUNCATE: what the models refuse, the database refuses too."""

from django.db import migrations

_FUNCTION = """
CREATE OR REPLACE FUNCTION baton_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP USING ERRCODE = 'restrict_violation';
END $$;
"""


def function() -> migrations.RunSQL:
    return migrations.RunSQL(_FUNCTION, "DROP FUNCTION baton_append_only()")


def guard(table: str) -> migrations.RunSQL:
    """A migration operation; `function()` must have run before it."""
    return migrations.RunSQL(
        f"""CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}
            FOR EACH STATEMENT EXECUTE FUNCTION baton_append_only()""",
        f"DROP TRIGGER {table}_append_only ON {table}",
    )
