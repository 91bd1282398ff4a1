from django.db import migrations

# Whatever was left behind before the mark existed is found by it once.
_MARK = """
UPDATE runs_dispatch d SET unheeded = true FROM runs_run r
WHERE r.id = d.run_id AND r.status IN ('accepted', 'waiting', 'working')
  AND d.status IN ('succeeded', 'failed', 'cancelled', 'skipped')
"""


class Migration(migrations.Migration):
    dependencies = [("runs", "0006_lean_indexes")]

    operations = [migrations.RunSQL(_MARK, migrations.RunSQL.noop)]
