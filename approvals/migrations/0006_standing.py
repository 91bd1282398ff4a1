import django.db.models.deletion
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models

from orchestrator_site.core import append_only


# Its terms are given once; it ends once, but that one that is used up may still be revoked; uses are only added.
_GUARD = """
CREATE FUNCTION approvals_standing_is_given() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a standing approval is given once, ended once and never given back uses'
        USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER approvals_standing_given BEFORE UPDATE ON approvals_standingapproval FOR EACH ROW WHEN (
    (OLD.id, OLD.tool, OLD.tool_version, OLD.agent, OLD.run_id, OLD.pattern, OLD.risk, OLD."group", OLD.decision_id,
     OLD.given_by_id, OLD.given_by_name, OLD.given_at, OLD.reason, OLD.expires_at, OLD.uses_at_most)
    IS DISTINCT FROM
    (NEW.id, NEW.tool, NEW.tool_version, NEW.agent, NEW.run_id, NEW.pattern, NEW.risk, NEW."group", NEW.decision_id,
     NEW.given_by_id, NEW.given_by_name, NEW.given_at, NEW.reason, NEW.expires_at, NEW.uses_at_most)
    OR NEW.uses < OLD.uses
    OR OLD.status <> 'active' AND NEW.status <> OLD.status AND NEW.status <> 'revoked'
    OR OLD.status = 'revoked' AND NEW.status <> 'revoked'
) EXECUTE FUNCTION approvals_standing_is_given();
CREATE TRIGGER approvals_standing_kept BEFORE DELETE OR TRUNCATE ON approvals_standingapproval
    FOR EACH STATEMENT EXECUTE FUNCTION approvals_standing_is_given();
"""
_UNGUARDED = """
DROP TRIGGER approvals_standing_kept ON approvals_standingapproval;
DROP TRIGGER approvals_standing_given ON approvals_standingapproval;
DROP FUNCTION approvals_standing_is_given();
"""


class Migration(migrations.Migration):

    dependencies = [
        ('approvals', '0005_batches'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='StandingApproval',
            fields=[
                ('id', models.BigAutoField(primary_key=True, serialize=False)),
                ('tool', models.CharField(max_length=128)),
                ('tool_version', models.BigIntegerField(blank=True, help_text='Empty: any version of the tool.', null=True)),
                ('agent', models.CharField(blank=True, help_text='Empty: whichever agent calls it.', max_length=80)),
                ('run_id', models.UUIDField(blank=True, help_text='Empty: in any run.', null=True)),
                ('pattern', models.TextField()),
                ('risk', models.CharField(choices=[('low', 'low'), ('medium', 'medium'), ('high', 'high'), ('critical', 'critical')], max_length=10)),
                ('group', models.CharField(blank=True, help_text='The group that was asked when it was given.', max_length=150)),
                ('given_by_name', models.CharField(max_length=310)),
                ('given_at', models.DateTimeField()),
                ('reason', models.TextField(blank=True)),
                ('expires_at', models.DateTimeField(blank=True, null=True)),
                ('uses_at_most', models.PositiveIntegerField(blank=True, null=True)),
                ('uses', models.PositiveIntegerField(default=0)),
                ('status', models.CharField(choices=[('active', 'active'), ('revoked', 'revoked'), ('expired', 'expired'), ('used_up', 'used up')], default='active', max_length=8)),
                ('ended_at', models.DateTimeField(blank=True, null=True)),
                ('ended_by_name', models.CharField(blank=True, max_length=310)),
                ('ended_why', models.TextField(blank=True)),
                ('decision', models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name='standing', to='approvals.decision')),
                ('given_by', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='standing_approvals', to=settings.AUTH_USER_MODEL)),
            ],
        ),
        migrations.CreateModel(
            name='StandingUse',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('run_id', models.UUIDField()),
                ('call_id', models.UUIDField(unique=True)),
                ('arguments', models.TextField(help_text='Canonical JSON, as it was sent.')),
                ('at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('standing', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='used_by', to='approvals.standingapproval')),
            ],
            options={
                'ordering': ['-pk'],
            },
        ),
        migrations.AddIndex(
            model_name='standingapproval',
            index=models.Index(fields=['tool'], name='standing_approval_by_tool'),
        ),
        migrations.AddIndex(
            model_name='standingapproval',
            index=models.Index(condition=models.Q(('status', 'active')), fields=['expires_at'], name='standing_approval_by_expiry'),
        ),
        migrations.AddConstraint(
            model_name='standingapproval',
            constraint=models.CheckConstraint(condition=models.Q(('status__in', ['active', 'revoked', 'expired', 'used_up'])), name='standing_approval_status_known'),
        ),
        migrations.AddConstraint(
            model_name='standingapproval',
            constraint=models.CheckConstraint(condition=models.Q(('run_id__isnull', False), ('expires_at__isnull', False), ('uses_at_most__isnull', False), _connector='OR'), name='standing_approval_bounded'),
        ),
        migrations.AddConstraint(
            model_name='standingapproval',
            constraint=models.CheckConstraint(condition=models.Q(('uses_at_most__isnull', True), ('uses__lte', models.F('uses_at_most')), _connector='OR'), name='standing_approval_not_overused'),
        ),
        migrations.AddConstraint(
            model_name='standingapproval',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('ended_at__isnull', True), ('status', 'active')), models.Q(models.Q(('status', 'active'), _negated=True), ('ended_at__isnull', False)), _connector='OR'), name='standing_approval_ended_with_time'),
        ),
        migrations.RunSQL(_GUARD, _UNGUARDED),
        append_only.guard("approvals_standinguse"),
    ]
