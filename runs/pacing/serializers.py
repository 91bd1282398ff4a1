"""The shapes of the API of what paces the work."""

from rest_framework import serializers

from orchestrator_site.core.serializers import Strict
from runs.models.pacing import BREAKER_KINDS, SWITCH_SCOPES, Breaker, Switch


class SwitchSerializer(serializers.ModelSerializer):
    by = serializers.CharField(source="by_name")

    class Meta:
        model = Switch
        fields = ["scope", "name", "is_thrown", "reason", "by", "moved_at"]


class SwitchBody(Strict):
    scope = serializers.ChoiceField(choices=SWITCH_SCOPES)
    name = serializers.CharField(
        required=False, allow_blank=True, default="", max_length=150, help_text="left out where the scope is `all`"
    )
    on = serializers.BooleanField(help_text="true: stop it; false: release it")
    reason = serializers.CharField(
        required=False, allow_blank=True, default="", max_length=300, help_text="needed to stop something"
    )


class BreakerSerializer(serializers.ModelSerializer):
    by = serializers.CharField(source="by_name")

    class Meta:
        model = Breaker
        fields = ["kind", "name", "status", "failures", "tries_at", "reason", "by", "moved_at"]


class BreakerBody(Strict):
    kind = serializers.ChoiceField(choices=BREAKER_KINDS)
    name = serializers.CharField(max_length=150, help_text="a model of the catalogue, a tool, or an agent's slug")
    open = serializers.BooleanField(help_text="true: nothing of it is begun; false: it is closed")
    reason = serializers.CharField(max_length=300)
