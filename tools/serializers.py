"""The shapes of the tools' API."""

from rest_framework import serializers

from orchestrator_site.core.serializers import PageQuery, Strict
from tools.models import Tool, ToolVersion
from tools.values import Confirmation, Label, Risk


class ToolVersionSerializer(serializers.ModelSerializer):
    config = serializers.JSONField(help_text="What the executor needs; secrets are references, never values.")
    input_schema = serializers.JSONField(help_text="JSON Schema of the arguments.")
    risk_rules = serializers.JSONField(help_text="[{when, risk, reason}]: CEL over `args` that raises the risk.")

    class Meta:
        model = ToolVersion
        fields = [
            "number",
            "description",
            "input_schema",
            "executor",
            "config",
            "effect",
            "risk_rules",
            "timeout_seconds",
            "result_limit_bytes",
            "created_at",
        ]


class ToolSerializer(serializers.ModelSerializer):
    current = ToolVersionSerializer(allow_null=True)
    brings = serializers.JSONField(help_text="Labels of what its results carry in.")
    sinks = serializers.JSONField(allow_null=True, help_text="What its arguments do with what they are given.")

    class Meta:
        model = Tool
        fields = ["name", "enabled", "risk", "confirmation", "family", "brings", "sinks", "current"]


class ToolQuery(PageQuery):
    enabled = serializers.BooleanField(required=False, allow_null=True, default=None)


class SwitchesBody(Strict):
    """At least one of them."""

    enabled = serializers.BooleanField(required=False)
    risk = serializers.ChoiceField(required=False, choices=[risk.value for risk in Risk])
    confirmation = serializers.ChoiceField(
        required=False,
        choices=[confirmation.value for confirmation in Confirmation],
        help_text="`never` opts out of asking, whatever the risk.",
    )

    family = serializers.CharField(required=False, allow_blank=True, help_text="Rules can cover all tools of a family.")
    brings = serializers.ListField(
        required=False,
        child=serializers.ChoiceField(choices=[label.value for label in Label]),
        help_text="Labels of what its results carry in; none of them: a trusted source.",
    )
    sinks = serializers.JSONField(
        required=False,
        allow_null=True,
        help_text='By argument: {"iban": {"kind": "destination", "lists": ["suppliers"]}}; null: nobody has said.',
    )

    def validate(self, switches):
        if not switches:
            raise serializers.ValidationError(f"Say what to switch: {', '.join(self.fields)}.")
        return switches
