import django.db.models.deletion
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models

import orchestrator_site.core.ids
from orchestrator_site.core import append_only

# A request asks one thing for ever, is closed once and used once, whoever writes and by whatever way.
_FROZEN = """
CREATE FUNCTION approvals_request_is_frozen() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'an approval request is asked once, closed once and used once' USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER approvals_request_frozen BEFORE UPDATE ON approvals_approvalrequest FOR EACH ROW WHEN (
    (OLD.id, OLD.kind, OLD.run_id, OLD.dispatch_id, OLD.call_id, OLD.frozen, OLD.digest, OLD.risk, OLD.title,
     OLD.reasoning, OLD.reasons, OLD.policy_version, OLD.requester_id, OLD.addressed_to, OLD.four_eyes, OLD.not_by, OLD.supersedes_id)
    IS DISTINCT FROM
    (NEW.id, NEW.kind, NEW.run_id, NEW.dispatch_id, NEW.call_id, NEW.frozen, NEW.digest, NEW.risk, NEW.title,
     NEW.reasoning, NEW.reasons, NEW.policy_version, NEW.requester_id, NEW.addressed_to, NEW.four_eyes, NEW.not_by, NEW.supersedes_id)
    OR OLD.status <> 'open' AND (OLD.status, OLD.edited_frozen, OLD.edited_digest)
                                IS DISTINCT FROM (NEW.status, NEW.edited_frozen, NEW.edited_digest)
    OR OLD.consumed_at IS NOT NULL AND (OLD.consumed_at, OLD.consumed_by_attempt)
                                       IS DISTINCT FROM (NEW.consumed_at, NEW.consumed_by_attempt)
) EXECUTE FUNCTION approvals_request_is_frozen();
"""
_THAWED = """
DROP TRIGGER approvals_request_frozen ON approvals_approvalrequest;
DROP FUNCTION approvals_request_is_frozen();
"""


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
        ("core", "0001_initial"),
    ]

    operations = [
        migrations.CreateModel(
            name="ApprovalRequest",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=orchestrator_site.core.ids.new_id, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("kind", models.CharField(max_length=40)),
                ("run_id", models.UUIDField(db_index=True)),
                ("dispatch_id", models.UUIDField(blank=True, null=True)),
                ("call_id", models.UUIDField(blank=True, db_index=True, null=True)),
                ("title", models.CharField(help_text="What is asked, in plain words on one line.", max_length=300)),
                ("reasoning", models.TextField(blank=True, help_text="The agent's own words.")),
                ("reasons", models.JSONField(default=list, help_text="Why a person is asked: sentences.")),
                ("frozen", models.TextField()),
                ("digest", models.CharField(max_length=64)),
                (
                    "risk",
                    models.CharField(
                        choices=[("low", "low"), ("medium", "medium"), ("high", "high"), ("critical", "critical")],
                        max_length=10,
                    ),
                ),
                ("policy_version", models.CharField(blank=True, max_length=80)),
                (
                    "addressed_to",
                    models.CharField(
                        choices=[("approver", "approver"), ("operator", "operator"), ("requester", "requester")],
                        default="approver",
                        max_length=10,
                    ),
                ),
                ("four_eyes", models.BooleanField(default=False, help_text="Who started the run may not decide.")),
                ("not_by", models.JSONField(blank=True, default=list, help_text="Ids of users who may not decide.")),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("open", "open"),
                            ("approved", "approved"),
                            ("modified", "modified"),
                            ("rejected", "rejected"),
                            ("answered", "answered"),
                            ("expired", "expired"),
                            ("superseded", "superseded"),
                        ],
                        default="open",
                        max_length=12,
                    ),
                ),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("deadline_at", models.DateTimeField()),
                ("decided_at", models.DateTimeField(blank=True, null=True)),
                ("edited_frozen", models.TextField(blank=True, null=True)),
                ("edited_digest", models.CharField(blank=True, max_length=64, null=True)),
                ("consumed_at", models.DateTimeField(blank=True, null=True)),
                ("consumed_by_attempt", models.CharField(blank=True, max_length=40)),
                (
                    "requester",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="requested_approvals",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "supersedes",
                    models.OneToOneField(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="successor",
                        to="approvals.approvalrequest",
                    ),
                ),
            ],
            options={
                "permissions": [("decide_approvalrequest", "Can decide approval requests")],
            },
        ),
        migrations.CreateModel(
            name="Decision",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=orchestrator_site.core.ids.new_id, editable=False, primary_key=True, serialize=False
                    ),
                ),
                (
                    "verdict",
                    models.CharField(
                        choices=[
                            ("answered", "answered"),
                            ("approved", "approved"),
                            ("expired", "expired"),
                            ("modified", "modified"),
                            ("rejected", "rejected"),
                            ("superseded", "superseded"),
                        ],
                        max_length=12,
                    ),
                ),
                ("by_name", models.CharField(max_length=310)),
                (
                    "via",
                    models.CharField(
                        choices=[("session", "session"), ("token", "token"), ("clock", "clock"), ("system", "system")],
                        max_length=8,
                    ),
                ),
                ("digest", models.CharField(max_length=64)),
                ("reason", models.TextField(blank=True)),
                ("stop", models.BooleanField(default=False, help_text="Rejected, and the agent's part ends here.")),
                ("arguments", models.TextField(blank=True, null=True)),
                ("answer", models.TextField(blank=True, null=True)),
                ("at", models.DateTimeField()),
                (
                    "by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="decisions",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "request",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="decision",
                        to="approvals.approvalrequest",
                    ),
                ),
            ],
        ),
        migrations.AddIndex(
            model_name="approvalrequest",
            index=models.Index(
                condition=models.Q(("status", "open")), fields=["deadline_at"], name="approval_open_by_deadline"
            ),
        ),
        migrations.AddIndex(
            model_name="approvalrequest",
            index=models.Index(
                condition=models.Q(("status", "open")),
                fields=["dispatch_id"],
                name="approval_open_by_dispatch",
            ),
        ),
        migrations.AddConstraint(
            model_name="approvalrequest",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("status__in", ["open", "approved", "modified", "rejected", "answered", "expired", "superseded"])
                ),
                name="approval_request_status_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="approvalrequest",
            constraint=models.CheckConstraint(
                condition=models.Q(("risk__in", ["low", "medium", "high", "critical"])),
                name="approval_request_risk_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="approvalrequest",
            constraint=models.CheckConstraint(
                condition=models.Q(("addressed_to__in", ("approver", "operator", "requester"))),
                name="approval_request_addressee_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="approvalrequest",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("decided_at__isnull", True), ("status", "open")),
                    models.Q(models.Q(("status", "open"), _negated=True), ("decided_at__isnull", False)),
                    _connector="OR",
                ),
                name="approval_request_closed_with_time",
            ),
        ),
        migrations.AddConstraint(
            model_name="approvalrequest",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("edited_digest__isnull", False), ("edited_frozen__isnull", False), ("status", "modified")
                    ),
                    models.Q(
                        models.Q(("status", "modified"), _negated=True),
                        ("edited_digest__isnull", True),
                        ("edited_frozen__isnull", True),
                    ),
                    _connector="OR",
                ),
                name="approval_request_edited_if_modified",
            ),
        ),
        migrations.AddConstraint(
            model_name="approvalrequest",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("consumed_at__isnull", True), ("status__in", ["approved", "modified"]), _connector="OR"
                ),
                name="approval_request_consumed_if_permitted",
            ),
        ),
        migrations.AddConstraint(
            model_name="approvalrequest",
            constraint=models.UniqueConstraint(
                condition=models.Q(("status", "open")), fields=("call_id",), name="approval_request_one_open_per_call"
            ),
        ),
        migrations.AddConstraint(
            model_name="decision",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("verdict__in", ["answered", "approved", "expired", "modified", "rejected", "superseded"])
                ),
                name="decision_verdict_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="decision",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("by__isnull", False), ("via__in", ["session", "token"])),
                    models.Q(
                        ("by__isnull", True),
                        ("verdict__in", ["expired", "superseded"]),
                        ("via__in", ["clock", "system"]),
                    ),
                    _connector="OR",
                ),
                name="decision_by_a_person_or_a_machine",
            ),
        ),
        migrations.AddConstraint(
            model_name="decision",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("verdict", "rejected"), _negated=True),
                    models.Q(("reason", ""), _negated=True),
                    _connector="OR",
                ),
                name="decision_rejected_with_reason",
            ),
        ),
        migrations.AddConstraint(
            model_name="decision",
            constraint=models.CheckConstraint(
                condition=models.Q(("stop", False), ("verdict", "rejected"), _connector="OR"),
                name="decision_stops_by_rejecting",
            ),
        ),
        migrations.AddConstraint(
            model_name="decision",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("answer__isnull", False), ("verdict", "answered")),
                    models.Q(models.Q(("verdict", "answered"), _negated=True), ("answer__isnull", True)),
                    _connector="OR",
                ),
                name="decision_answered_with_answer",
            ),
        ),
        migrations.RunSQL(_FROZEN, _THAWED),
        append_only.guard("approvals_decision"),
    ]
