import django.db.models.deletion
import django.db.models.functions.datetime
import orchestrator_site.core.ids
from decimal import Decimal
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('agents', '0001_initial'),
        ('approvals', '0001_initial'),
        ('tools', '0001_initial'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='Blob',
            fields=[
                ('digest', models.CharField(max_length=64, primary_key=True, serialize=False)),
                ('content', models.BinaryField()),
            ],
        ),
        migrations.CreateModel(
            name='Conversation',
            fields=[
                ('id', models.UUIDField(default=orchestrator_site.core.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('owner', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='conversations', to=settings.AUTH_USER_MODEL)),
            ],
        ),
        migrations.CreateModel(
            name='Run',
            fields=[
                ('id', models.UUIDField(default=orchestrator_site.core.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('source', models.CharField(choices=[('api', 'api'), ('web', 'web'), ('admin', 'admin'), ('demo', 'demo')], max_length=10)),
                ('input', models.TextField()),
                ('metadata', models.JSONField(blank=True, default=dict)),
                ('status', models.CharField(choices=[('accepted', 'accepted'), ('working', 'working'), ('waiting', 'waiting'), ('succeeded', 'succeeded'), ('failed', 'failed'), ('cancelled', 'cancelled')], default='accepted', max_length=12)),
                ('stop_reason', models.CharField(blank=True, max_length=20)),
                ('output', models.TextField(blank=True)),
                ('waiting_on', models.CharField(blank=True, max_length=300)),
                ('cancel_requested_at', models.DateTimeField(null=True)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('finished_at', models.DateTimeField(null=True)),
                ('agent', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='agents.agent')),
                ('owner', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='runs', to=settings.AUTH_USER_MODEL)),
                ('conversation', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='runs', to='runs.conversation')),
            ],
            options={
                'ordering': ['-created_at'],
                'permissions': [('start_run', 'Can start runs'), ('cancel_run', 'Can cancel the runs they see'), ('resolve_uncertain', 'Can say what came of a call in doubt')],
            },
        ),
        migrations.CreateModel(
            name='Dispatch',
            fields=[
                ('id', models.UUIDField(default=orchestrator_site.core.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('number', models.PositiveIntegerField()),
                ('origin', models.CharField(choices=[('run', 'run'), ('route', 'route'), ('handoff', 'handoff')], max_length=10)),
                ('task', models.TextField()),
                ('briefing', models.TextField(blank=True)),
                ('history', models.JSONField(default=list)),
                ('depth', models.PositiveSmallIntegerField(default=0)),
                ('status', models.CharField(choices=[('blocked', 'blocked'), ('queued', 'queued'), ('working', 'working'), ('waiting', 'waiting'), ('succeeded', 'succeeded'), ('failed', 'failed'), ('cancelled', 'cancelled'), ('skipped', 'skipped')], default='queued', max_length=12)),
                ('stop_reason', models.CharField(blank=True, max_length=20)),
                ('message', models.CharField(blank=True, max_length=500)),
                ('output', models.TextField(blank=True)),
                ('waiting_on', models.CharField(blank=True, max_length=300)),
                ('due_at', models.DateTimeField(null=True)),
                ('lease_owner', models.CharField(blank=True, max_length=100)),
                ('lease_until', models.DateTimeField(null=True)),
                ('claimed_at', models.DateTimeField(null=True)),
                ('hand_deadline', models.DateTimeField(null=True)),
                ('fence', models.BigIntegerField(default=0)),
                ('claims_without_progress', models.PositiveSmallIntegerField(default=0)),
                ('iterations', models.PositiveIntegerField(default=0)),
                ('tokens', models.BigIntegerField(default=0)),
                ('cost_usd', models.DecimalField(decimal_places=9, default=Decimal('0'), max_digits=18)),
                ('cost_cap_usd', models.DecimalField(decimal_places=9, max_digits=18)),
                ('worked_seconds', models.FloatField(default=0)),
                ('rung_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('state_version', models.PositiveSmallIntegerField(default=1)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('started_at', models.DateTimeField(null=True)),
                ('finished_at', models.DateTimeField(null=True)),
                ('manifest', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='agents.manifest')),
                ('run', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='dispatches', to='runs.run')),
            ],
            options={
                'verbose_name_plural': 'dispatches',
                'ordering': ['run', 'number'],
            },
        ),
        migrations.CreateModel(
            name='Artifact',
            fields=[
                ('id', models.UUIDField(default=orchestrator_site.core.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('name', models.CharField(max_length=200)),
                ('media_type', models.CharField(default='text/plain', max_length=100)),
                ('size', models.BigIntegerField()),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('run', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='artifacts', to='runs.run')),
                ('blob', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='runs.blob')),
                ('dispatch', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='artifacts', to='runs.dispatch')),
            ],
            options={
                'ordering': ['run', 'created_at'],
            },
        ),
        migrations.CreateModel(
            name='Edge',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('child', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='edges_in', to='runs.dispatch')),
                ('parent', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='edges_out', to='runs.dispatch')),
            ],
        ),
        migrations.AddField(
            model_name='dispatch',
            name='parents',
            field=models.ManyToManyField(related_name='children', through='runs.Edge', through_fields=('child', 'parent'), to='runs.dispatch'),
        ),
        migrations.CreateModel(
            name='Handoff',
            fields=[
                ('id', models.UUIDField(default=orchestrator_site.core.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('reason', models.TextField()),
                ('task', models.TextField()),
                ('artifacts', models.JSONField(default=list)),
                ('preconditions', models.JSONField(default=list)),
                ('confidence', models.FloatField(null=True)),
                ('status', models.CharField(choices=[('proposed', 'proposed'), ('accepted', 'accepted'), ('declined', 'declined'), ('expired', 'expired'), ('cancelled', 'cancelled')], default='proposed', max_length=10)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('continued_by', models.OneToOneField(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='continues_handoff', to='runs.dispatch')),
                ('request', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='approvals.approvalrequest')),
                ('source', models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name='handoff', to='runs.dispatch')),
                ('target', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='agents.agent')),
            ],
            options={
                'ordering': ['-created_at'],
            },
        ),
        migrations.CreateModel(
            name='Route',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('number', models.PositiveSmallIntegerField()),
                ('task', models.TextField()),
                ('decided_by', models.CharField(max_length=200)),
                ('agent', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='agents.agent')),
                ('node', models.OneToOneField(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='route', to='runs.dispatch')),
                ('source', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='routes', to='runs.dispatch')),
            ],
            options={
                'ordering': ['source', 'number'],
            },
        ),
        migrations.CreateModel(
            name='Step',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('number', models.PositiveIntegerField()),
                ('fence', models.BigIntegerField()),
                ('status', models.CharField(choices=[('asked', 'asked'), ('answered', 'answered'), ('failed', 'failed'), ('lost', 'lost')], default='asked', max_length=10)),
                ('model', models.CharField(max_length=100)),
                ('reserved_usd', models.DecimalField(decimal_places=9, default=Decimal('0'), max_digits=18)),
                ('reply', models.TextField(blank=True)),
                ('stop_reason', models.CharField(blank=True, max_length=40)),
                ('failure', models.CharField(blank=True, max_length=12)),
                ('error', models.CharField(blank=True, max_length=500)),
                ('input_tokens', models.PositiveIntegerField(default=0)),
                ('output_tokens', models.PositiveIntegerField(default=0)),
                ('cache_read_tokens', models.PositiveIntegerField(default=0)),
                ('cache_write_tokens', models.PositiveIntegerField(default=0)),
                ('cost_usd', models.DecimalField(decimal_places=9, default=Decimal('0'), max_digits=18)),
                ('cost_estimated', models.BooleanField(default=False)),
                ('asked_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('ended_at', models.DateTimeField(null=True)),
                ('dispatch', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='steps', to='runs.dispatch')),
            ],
            options={
                'ordering': ['dispatch', 'number'],
            },
        ),
        migrations.CreateModel(
            name='ToolCall',
            fields=[
                ('id', models.UUIDField(default=orchestrator_site.core.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('position', models.PositiveSmallIntegerField()),
                ('provider_id', models.CharField(max_length=200)),
                ('tool', models.CharField(max_length=128)),
                ('proposed_arguments', models.TextField()),
                ('arguments', models.TextField()),
                ('effect', models.CharField(choices=[('pure', 'pure'), ('keyed', 'keyed'), ('verifiable', 'verifiable'), ('unsafe', 'unsafe')], max_length=10)),
                ('risk', models.CharField(choices=[('low', 'low'), ('medium', 'medium'), ('high', 'high'), ('critical', 'critical')], max_length=10)),
                ('status', models.CharField(choices=[('proposed', 'proposed'), ('ruled', 'ruled'), ('awaiting_approval', 'awaiting approval'), ('deferred', 'deferred'), ('ready', 'ready'), ('executing', 'executing'), ('uncertain', 'uncertain'), ('done', 'done'), ('failed', 'failed'), ('refused', 'refused'), ('cancelled', 'cancelled'), ('resolved', 'resolved')], default='proposed', max_length=20)),
                ('ruling', models.TextField(blank=True)),
                ('error_kind', models.CharField(blank=True, max_length=20)),
                ('result', models.TextField(blank=True)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('ended_at', models.DateTimeField(null=True)),
                ('dispatch', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='calls', to='runs.dispatch')),
                ('request', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='approvals.approvalrequest')),
                ('step', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='calls', to='runs.step')),
                ('tool_version', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='tools.toolversion')),
            ],
            options={
                'ordering': ['step', 'position'],
            },
        ),
        migrations.CreateModel(
            name='Attempt',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('number', models.PositiveSmallIntegerField()),
                ('fence', models.BigIntegerField()),
                ('idempotency_key', models.CharField(max_length=60)),
                ('digest', models.CharField(max_length=64)),
                ('endpoint', models.CharField(max_length=500)),
                ('worker', models.CharField(max_length=100)),
                ('processes', models.JSONField(default=list)),
                ('status', models.CharField(choices=[('sent', 'sent'), ('succeeded', 'succeeded'), ('failed', 'failed'), ('unknown', 'unknown')], default='sent', max_length=10)),
                ('result', models.TextField(blank=True)),
                ('error_kind', models.CharField(blank=True, max_length=20)),
                ('late_evidence', models.TextField(blank=True)),
                ('sent_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('deadline_at', models.DateTimeField()),
                ('ended_at', models.DateTimeField(null=True)),
                ('call', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='attempts', to='runs.toolcall')),
            ],
            options={
                'ordering': ['call', 'number'],
            },
        ),
        migrations.CreateModel(
            name='Account',
            fields=[
                ('run', models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, primary_key=True, related_name='account', serialize=False, to='runs.run')),
                ('cap_usd', models.DecimalField(decimal_places=9, max_digits=18)),
                ('reserved_usd', models.DecimalField(decimal_places=9, default=Decimal('0'), max_digits=18)),
                ('spent_usd', models.DecimalField(decimal_places=9, default=Decimal('0'), max_digits=18)),
            ],
            options={
                'constraints': [models.CheckConstraint(condition=models.Q(('reserved_usd__gte', 0)), name='account_reserved_not_negative')],
            },
        ),
        migrations.AddIndex(
            model_name='run',
            index=models.Index(fields=['owner', '-created_at'], name='run_by_owner'),
        ),
        migrations.AddIndex(
            model_name='run',
            index=models.Index(fields=['-created_at'], name='run_newest'),
        ),
        migrations.AddIndex(
            model_name='run',
            index=models.Index(condition=models.Q(('status__in', ['accepted', 'waiting', 'working'])), fields=['created_at'], name='run_open'),
        ),
        migrations.AddConstraint(
            model_name='run',
            constraint=models.CheckConstraint(condition=models.Q(('status__in', ['accepted', 'working', 'waiting', 'succeeded', 'failed', 'cancelled'])), name='run_status_known'),
        ),
        migrations.AddConstraint(
            model_name='edge',
            constraint=models.UniqueConstraint(fields=('parent', 'child'), name='edge_once'),
        ),
        migrations.AddIndex(
            model_name='dispatch',
            index=models.Index(condition=models.Q(('status__in', ['queued', 'working'])), fields=['lease_until'], name='dispatch_sweep'),
        ),
        migrations.AddIndex(
            model_name='dispatch',
            index=models.Index(condition=models.Q(('due_at__isnull', False), ('status', 'waiting')), fields=['due_at'], name='dispatch_due'),
        ),
        migrations.AddConstraint(
            model_name='dispatch',
            constraint=models.CheckConstraint(condition=models.Q(('status__in', ['blocked', 'queued', 'working', 'waiting', 'succeeded', 'failed', 'cancelled', 'skipped'])), name='dispatch_status_known'),
        ),
        migrations.AddConstraint(
            model_name='dispatch',
            constraint=models.UniqueConstraint(fields=('run', 'number'), name='dispatch_number_once'),
        ),
        migrations.AddConstraint(
            model_name='dispatch',
            constraint=models.CheckConstraint(condition=models.Q(('stop_reason__in', ['', 'finished', 'handed_off', 'max_iterations', 'max_tokens', 'budget', 'timeout', 'loop_detected', 'refused', 'rejected', 'model_failed', 'contract_violated', 'quarantined', 'cancelled', 'needs_human'])), name='dispatch_stop_reason_known'),
        ),
        migrations.AddConstraint(
            model_name='dispatch',
            constraint=models.CheckConstraint(condition=models.Q(('status__in', ['blocked', 'queued', 'waiting', 'working', 'skipped']), models.Q(('stop_reason', ''), _negated=True), _connector='OR'), name='dispatch_ended_with_reason'),
        ),
        migrations.AddConstraint(
            model_name='handoff',
            constraint=models.CheckConstraint(condition=models.Q(('status__in', ['proposed', 'accepted', 'declined', 'expired', 'cancelled'])), name='handoff_status_known'),
        ),
        migrations.AddConstraint(
            model_name='route',
            constraint=models.UniqueConstraint(fields=('source', 'number'), name='route_once'),
        ),
        migrations.AddConstraint(
            model_name='step',
            constraint=models.CheckConstraint(condition=models.Q(('status__in', ['asked', 'answered', 'failed', 'lost'])), name='step_status_known'),
        ),
        migrations.AddConstraint(
            model_name='step',
            constraint=models.UniqueConstraint(fields=('dispatch', 'number'), name='step_once'),
        ),
        migrations.AddIndex(
            model_name='toolcall',
            index=models.Index(condition=models.Q(('status', 'uncertain')), fields=['created_at'], name='tool_call_uncertain'),
        ),
        migrations.AddConstraint(
            model_name='toolcall',
            constraint=models.CheckConstraint(condition=models.Q(('status__in', ['proposed', 'ruled', 'awaiting_approval', 'deferred', 'ready', 'executing', 'uncertain', 'done', 'failed', 'refused', 'cancelled', 'resolved'])), name='tool_call_status_known'),
        ),
        migrations.AddConstraint(
            model_name='toolcall',
            constraint=models.UniqueConstraint(fields=('step', 'position'), name='tool_call_position_once'),
        ),
        migrations.AddConstraint(
            model_name='attempt',
            constraint=models.CheckConstraint(condition=models.Q(('status__in', ['sent', 'succeeded', 'failed', 'unknown'])), name='attempt_status_known'),
        ),
        migrations.AddConstraint(
            model_name='attempt',
            constraint=models.UniqueConstraint(fields=('call', 'number'), name='attempt_once'),
        ),
        migrations.AddConstraint(
            model_name='attempt',
            constraint=models.UniqueConstraint(condition=models.Q(('status', 'sent')), fields=('call',), name='attempt_one_in_flight'),
        ),
    ]
