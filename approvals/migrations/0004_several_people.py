import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import orchestrator_site.core.ids
from orchestrator_site.core import append_only

_ASKED = (
    "id kind run_id dispatch_id call_id frozen digest risk title reasoning reasons policy_version requester_id "
    "addressed_to four_eyes not_by supersedes_id"
).split()


def _frozen(columns: list[str]) -> str:
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
    ) EXECUTE FUNCTION approvals_request_is_frozen();
    """


class Migration(migrations.Migration):
    dependencies = [
        ("approvals", "0003_override"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name="approvalrequest",
            name="approvers",
            field=models.PositiveSmallIntegerField(
                db_default=1, default=1, help_text="How many different people have to approve it."
            ),
        ),
        migrations.AddField(
            model_name="approvalrequest",
            name="group",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="Only members of this group may decide; empty: whoever may decide.",
                max_length=150,
            ),
        ),
        migrations.AddConstraint(
            model_name="approvalrequest",
            constraint=models.CheckConstraint(
                condition=models.Q(("approvers__gte", 1)), name="approval_request_approvers_positive"
            ),
        ),
        migrations.RunSQL(_frozen([*_ASKED, "approvers", '"group"']), _frozen(_ASKED)),
        migrations.CreateModel(
            name="Assent",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=orchestrator_site.core.ids.new_id, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("by_name", models.CharField(max_length=310)),
                ("via", models.CharField(choices=[("session", "session"), ("token", "token")], max_length=8)),
                ("digest", models.CharField(max_length=64)),
                ("reason", models.TextField(blank=True)),
                ("at", models.DateTimeField()),
                (
                    "by",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="assents",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "request",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="assents",
                        to="approvals.approvalrequest",
                    ),
                ),
            ],
            options={
                "ordering": ["at", "id"],
                "constraints": [
                    models.UniqueConstraint(fields=("request", "by"), name="assent_once_a_person"),
                    models.CheckConstraint(
                        condition=models.Q(("via__in", ["session", "token"])), name="assent_by_a_person"
                    ),
                ],
            },
        ),
        append_only.guard("approvals_assent"),
    ]
