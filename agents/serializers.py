"""The shapes of the agents' API. What a manifest holds is said once, by `ManifestSpec`; here it is only read."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field, ValidationError
from rest_framework import serializers

from agents.models import SLUG_LENGTH, Agent, Manifest, ModelEntry
from agents.values import ManifestSpec
from orchestrator_site.core.problems import invalid
from orchestrator_site.core.serializers import PageQuery, Strict


class NewAgentBody(ManifestSpec):
    """A manifest, and the slug of the agent it makes."""

    slug: str = Field(max_length=SLUG_LENGTH, description="lower-case letters, digits and single dashes")

    def manifest(self) -> ManifestSpec:
        return ManifestSpec(**{name: getattr(self, name) for name in ManifestSpec.model_fields})


def read(shape: type[ManifestSpec], body: Any) -> Any:
    """The body as `shape`. Raises a problem that names every wrong field."""
    try:
        return shape.model_validate(body)
    except ValidationError as error:
        raise invalid({".".join(map(str, part["loc"])): _sentence(part) for part in error.errors()}) from error


def _sentence(part: Mapping[str, Any]) -> str:
    return "There is no such field." if part["type"] == "extra_forbidden" else f"{part['msg']}."


class ManifestSerializer(serializers.ModelSerializer):
    models = serializers.ListField(child=serializers.CharField(), help_text="First choice first.")
    grants = serializers.JSONField()
    limits = serializers.JSONField()
    handoff_targets = serializers.ListField(child=serializers.CharField())
    output_schema = serializers.JSONField(allow_null=True)
    exemplars = serializers.ListField(child=serializers.CharField())
    is_draft = serializers.BooleanField()
    created_by = serializers.CharField(source="created_by.username", default=None, allow_null=True)
    published_by = serializers.CharField(source="published_by.username", default=None, allow_null=True)

    class Meta:
        model = Manifest
        fields = [
            "number",
            "is_draft",
            *ManifestSpec.model_fields,
            "created_by",
            "created_at",
            "published_by",
            "published_at",
        ]


class AgentSerializer(serializers.ModelSerializer):
    """An agent in a list; what it is and does is that of its published manifest, null before there is one."""

    published = serializers.IntegerField(source="published.number", default=None, allow_null=True)
    title = serializers.CharField(source="published.title", default=None, allow_null=True)
    owns = serializers.CharField(source="published.owns", default=None, allow_null=True)
    kind = serializers.CharField(source="published.kind", default=None, allow_null=True)

    class Meta:
        model = Agent
        fields = ["slug", "active", "published", "title", "owns", "kind", "created_at"]


class AgentDetailSerializer(serializers.ModelSerializer):
    published = ManifestSerializer(allow_null=True)

    class Meta:
        model = Agent
        fields = ["slug", "active", "published", "created_at"]


class AgentQuery(PageQuery):
    active = serializers.BooleanField(required=False, allow_null=True, default=None)


class PublishBody(Strict):
    number = serializers.IntegerField(required=False, min_value=1, help_text="The draft; the newest when left out.")


class RollbackBody(Strict):
    number = serializers.IntegerField(min_value=1, help_text="A version that was published once.")


class ModelEntrySerializer(serializers.ModelSerializer):
    """Prices are US dollars per million tokens."""

    class Meta:
        model = ModelEntry
        fields = [
            "name",
            "provider_model",
            "endpoint",
            "context_window",
            "output_limit",
            "input_price",
            "output_price",
            "cache_read_price",
            "cache_write_price",
            "enabled",
        ]


class ServedAgentSerializer(serializers.Serializer):
    slug = serializers.CharField()
    kind = serializers.CharField()
    title = serializers.CharField(source="spec.title")
    owns = serializers.CharField()
    manifest = serializers.IntegerField(source="number")
    models = serializers.ListField(child=serializers.CharField(), source="spec.models")


class WorkerSerializer(serializers.Serializer):
    worker = serializers.CharField()
    host = serializers.CharField()
    pid = serializers.IntegerField()
    epoch = serializers.IntegerField()
    lag = serializers.IntegerField(help_text="How many changes of the roster it has not taken in; 0 is up to date.")
    silent_seconds = serializers.FloatField(help_text="Since it last said what it serves.")
    error = serializers.CharField()
    started_at = serializers.DateTimeField()
    seen_at = serializers.DateTimeField()


class RosterSerializer(serializers.Serializer):
    epoch = serializers.IntegerField(help_text="Grows with every committed change of what workers serve.")
    agents = ServedAgentSerializer(many=True)
    workers = WorkerSerializer(many=True)
    errors = serializers.DictField(  # type: ignore[assignment]
        child=serializers.CharField(), help_text="By slug: whose manifest cannot be read."
    )
