"""Shapes that every room's API shares."""

from collections.abc import Mapping
from typing import Any

from rest_framework import serializers


class Strict(serializers.Serializer):
    """Refuses fields it does not know, by name: a mistyped field is never silently left out."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, Mapping):
            writable = [name for name, field in self.fields.items() if not field.read_only]
            if unknown := [name for name in data if name not in writable]:
                known = f"there are {', '.join(writable)}." if writable else "there are none."
                raise serializers.ValidationError({name: [f"There is no such field; {known}"] for name in unknown})
        return super().to_internal_value(data)

    def get_fields(self) -> Any:
        """A value that is none of a field's choices is answered with those there are."""
        fields = super().get_fields()
        for field in fields.values():
            if isinstance(field, serializers.ChoiceField):
                known = ", ".join(str(each) for each in field.choices)
                field.error_messages["invalid_choice"] = f'"{{input}}" is not a valid choice; there are {known}.'
        return fields


class Nothing(Strict):
    """An empty body: the verb says it all."""


class PageQuery(Strict):
    """`cursor` comes from the `next` and `previous` of an earlier page."""

    cursor = serializers.CharField(required=False, help_text="Where the page starts; from `next` or `previous`.")
    limit = serializers.IntegerField(
        required=False, min_value=1, max_value=200, help_text="Rows of a page, 50 unless said."
    )


class FaultSerializer(serializers.Serializer):
    field = serializers.CharField(help_text="A dotted path into the body; empty for the body as a whole.")
    detail = serializers.CharField()


class ProblemSerializer(serializers.Serializer):
    """RFC 9457. `type` is for programs, `detail` is a sentence for people."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField()
    errors = FaultSerializer(many=True, required=False)  # type: ignore[assignment]
