"""What no model can say: a blackboard that is only added to, and the functions that one statement calls."""

from django.db import migrations

_APPEND_ONLY = """
CREATE FUNCTION runs_boardentry_is_kept() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'what was posted on a blackboard stays as it is' USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER runs_boardentry_append_only BEFORE UPDATE OR DELETE ON runs_boardentry
FOR EACH ROW EXECUTE FUNCTION runs_boardentry_is_kept();
"""
_LOOSE = """
DROP TRIGGER runs_boardentry_append_only ON runs_boardentry;
DROP FUNCTION runs_boardentry_is_kept();
"""

# Its number is runs.pacing.switches.LOCK. Volatile, so that the epoch is read by a query that begins after the lock is had:
# the statement that calls it took its snapshot before it waited.
_EPOCH_TO_ACT = """
CREATE FUNCTION runs_epoch_to_act() RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(108170704809489);
    RETURN agents_epoch_now();
END
$$
"""

# Of what waits for a worker: the highest priority first, then the app with the least at work for its share, then who was
# least lately at work. Whoever was called to one that a gone worker left takes that one. It reads one row of each app.
_NEXT_UP = """
CREATE FUNCTION runs_next_up(called uuid, readable integer) RETURNS uuid LANGUAGE plpgsql STABLE AS $$
DECLARE
    found uuid;
BEGIN
    IF EXISTS (SELECT FROM runs_dispatch WHERE id = called AND status = 'working'
               AND (lease_until IS NULL OR lease_until < now())) THEN
        RETURN called;
    END IF;
    WITH RECURSIVE apps AS (
        (SELECT priority, app FROM runs_dispatch WHERE status = 'queued' ORDER BY priority DESC, app DESC LIMIT 1)
        UNION ALL
        SELECT following.priority, following.app FROM apps, LATERAL (
            SELECT d.priority, d.app FROM runs_dispatch d
            WHERE d.status = 'queued' AND (d.priority, d.app) < (apps.priority, apps.app)
            ORDER BY d.priority DESC, d.app DESC LIMIT 1
        ) AS following
    ), busy AS (
        SELECT app, count(*) AS at_work FROM runs_dispatch WHERE status = 'working' GROUP BY app
    )
    SELECT oldest.id INTO found FROM apps
    LEFT JOIN busy ON busy.app = apps.app
    LEFT JOIN runs_appshare share ON share.app_id = apps.app
    CROSS JOIN LATERAL (
        SELECT d.id, coalesce(d.claimed_at, d.created_at) AS since FROM runs_dispatch d
        WHERE d.status = 'queued' AND d.priority = apps.priority AND d.app = apps.app
          AND (d.due_at IS NULL OR d.due_at <= now()) AND (d.lease_until IS NULL OR d.lease_until < now())
          AND d.state_version <= readable
        ORDER BY coalesce(d.claimed_at, d.created_at) LIMIT 1
    ) AS oldest
    ORDER BY apps.priority DESC, coalesce(busy.at_work, 0) / coalesce(share.weight, 1), oldest.since
    LIMIT 1;
    RETURN coalesce(found, called);
END
$$
"""


class Migration(migrations.Migration):
    dependencies = [("runs", "0001_initial"), ("agents", "0002_guards")]

    operations = [
        migrations.RunSQL(_APPEND_ONLY, _LOOSE),
        migrations.RunSQL(_EPOCH_TO_ACT, "DROP FUNCTION runs_epoch_to_act()"),
        migrations.RunSQL(_NEXT_UP, "DROP FUNCTION runs_next_up(uuid, integer)"),
    ]
