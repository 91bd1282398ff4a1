from django.db import migrations

# Volatile, so that its query sees what is committed when it is called: an UPDATE that waited for a row lock and then
# returns the epoch would otherwise tell that of the moment before it waited.
CREATE = """
CREATE FUNCTION agents_epoch_now() RETURNS bigint LANGUAGE sql VOLATILE
AS 'SELECT coalesce((SELECT epoch FROM agents_rosterepoch LIMIT 1), 0)'
"""


class Migration(migrations.Migration):
    dependencies = [("agents", "0001_initial")]

    operations = [migrations.RunSQL(CREATE, "DROP FUNCTION agents_epoch_now()")]
