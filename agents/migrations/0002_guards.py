"""What no model can say: manifests stay as published, an agent works by its own, and the epoch as a function."""

from django.db import migrations

MANIFESTS_DO_NOT_CHANGE = """
CREATE FUNCTION agents_manifest_is_published() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'manifest % is published and never changes: % refused', OLD.id, TG_OP
        USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER agents_manifest_published BEFORE UPDATE OR DELETE ON agents_manifest
    FOR EACH ROW WHEN (OLD.published_at IS NOT NULL) EXECUTE FUNCTION agents_manifest_is_published();
"""
MANIFESTS_MAY_CHANGE = """
DROP TRIGGER agents_manifest_published ON agents_manifest;
DROP FUNCTION agents_manifest_is_published();
"""

AN_AGENT_WORKS_BY_ITS_OWN = """
CREATE FUNCTION agents_agent_works_by_its_own() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM agents_manifest
                   WHERE id = NEW.published_id AND agent_id = NEW.id AND published_at IS NOT NULL) THEN
        RAISE EXCEPTION 'agent % can only work by a published manifest of its own', NEW.slug
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER agents_agent_published BEFORE INSERT OR UPDATE OF published_id ON agents_agent
    FOR EACH ROW WHEN (NEW.published_id IS NOT NULL) EXECUTE FUNCTION agents_agent_works_by_its_own();
"""
AN_AGENT_WORKS_BY_ANY = """
DROP TRIGGER agents_agent_published ON agents_agent;
DROP FUNCTION agents_agent_works_by_its_own();
"""

# Volatile, so that its query sees what is committed when it is called: an UPDATE that waited for a row lock and then
# returns the epoch would otherwise tell that of the moment before it waited.
EPOCH_NOW = """
CREATE FUNCTION agents_epoch_now() RETURNS bigint LANGUAGE sql VOLATILE
AS 'SELECT coalesce((SELECT epoch FROM agents_rosterepoch LIMIT 1), 0)'
"""


class Migration(migrations.Migration):
    dependencies = [("agents", "0001_initial")]

    operations = [
        migrations.RunSQL("INSERT INTO agents_rosterepoch (id, epoch) VALUES (1, 0)", migrations.RunSQL.noop),
        migrations.RunSQL(MANIFESTS_DO_NOT_CHANGE, MANIFESTS_MAY_CHANGE),
        migrations.RunSQL(AN_AGENT_WORKS_BY_ITS_OWN, AN_AGENT_WORKS_BY_ANY),
        migrations.RunSQL(EPOCH_NOW, "DROP FUNCTION agents_epoch_now()"),
    ]
