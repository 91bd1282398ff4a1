from django.db import migrations, models

_ASKED = (
    "id kind run_id dispatch_id call_id frozen digest risk title reasoning reasons policy_version requester_id "
    'addressed_to four_eyes not_by supersedes_id approvers "group"'
).split()


def _frozen(columns: list[str], also: str = "") -> str:
    """The trigger that refuses to change what was asked, over these columns."""
    old, new = (", ".join(f"{row}.{column}" for column in columns) for row in ("OLD", "NEW"))
    return f"""
    DROP TRIGGER approvals_request_frozen ON approvals_approvalrequest;
    CREATE TRIGGER approvals_request_frozen BEFORE UPDATE ON approvals_approvalrequest FOR EACH ROW WHEN (
        ({old}) IS DISTINCT FROM ({new})
        OR OLD.status <> 'open' AND (OLD.status, OLD.edited_frozen, OLD.edited_digest)
                                    IS DISTINCT FROM (NEW.status, NEW.edited_frozen, NEW.edited_digest)
        OR OLD.consumed_at IS NOT NULL AND (OLD.consumed_at, OLD.consumed_by_attempt)
                                           IS DISTINCT FROM (NEW.consumed_at, NEW.consumed_by_attempt)
        {also}
    ) EXECUTE FUNCTION approvals_request_is_frozen();
    """


# A request may leave those it is asked together with, and never join any.
_ALONE_ONLY = "OR NEW.batch IS NOT NULL AND NEW.batch IS DISTINCT FROM OLD.batch"


class Migration(migrations.Migration):
    dependencies = [("approvals", "0004_several_people")]

    operations = [
        migrations.AddField(
            model_name="approvalrequest", name="batch", field=models.UUIDField(blank=True, null=True)
        ),
        migrations.AddField(
            model_name="approvalrequest",
            name="place",
            field=models.PositiveSmallIntegerField(
                db_default=0, default=0, help_text="Among those asked together: the riskiest is first."
            ),
        ),
        migrations.AddIndex(
            model_name="approvalrequest",
            index=models.Index(
                condition=models.Q(("batch__isnull", False), ("status", "open")),
                fields=["batch", "place"],
                name="approval_open_batch",
            ),
        ),
        migrations.RunSQL(_frozen([*_ASKED, "place"], _ALONE_ONLY), _frozen(_ASKED)),
    ]
