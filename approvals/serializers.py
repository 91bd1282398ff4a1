"""The shapes of the approvals' API."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from approvals import eligibility, kinds, states
from approvals.models import ApprovalRequest, Decision
from orchestrator_site.core import canonical
from orchestrator_site.core.serializers import Strict

LIMIT = 200


class DecisionSerializer(serializers.ModelSerializer):
    by = serializers.CharField(source="by_name", help_text="A person's name, “the clock” or “the system”.")
    arguments = serializers.SerializerMethodField(help_text="The edit as posted, where the verdict is `modified`.")

    class Meta:
        model = Decision
        fields = ["verdict", "by", "via", "at", "reason", "stop", "answer", "arguments", "digest"]

    @extend_schema_field({"type": ["object", "null"], "additionalProperties": {}})
    def get_arguments(self, decision: Decision) -> Any:
        return None if decision.arguments is None else canonical.loads(decision.arguments)


class RequestSerializer(serializers.ModelSerializer):
    """A request in a list."""

    run = serializers.UUIDField(source="run_id")
    requester = serializers.CharField(source="requester.username", default=None, allow_null=True)
    reasons = serializers.ListField(child=serializers.CharField(), help_text="Why a person is asked: sentences.")

    class Meta:
        model = ApprovalRequest
        fields = [
            "id",
            "kind",
            "run",
            "title",
            "risk",
            "reasons",
            "requester",
            "addressed_to",
            "four_eyes",
            "status",
            "created_at",
            "deadline_at",
            "decided_at",
        ]


class RequestDetailSerializer(RequestSerializer):
    """The frozen question. `digest` is the SHA-256 of `frozen`, and is posted with the verdict."""

    dispatch = serializers.UUIDField(source="dispatch_id", allow_null=True)
    call = serializers.UUIDField(source="call_id", allow_null=True)
    content = serializers.DictField(help_text="What is asked, parsed from `frozen`.")
    frozen = serializers.CharField(help_text="Canonical JSON (RFC 8785): the bytes that were hashed.")
    supersedes = serializers.UUIDField(source="supersedes_id", allow_null=True)
    successor = serializers.UUIDField(source="successor.pk", default=None, allow_null=True)
    decision = DecisionSerializer(default=None, allow_null=True)
    edited = serializers.SerializerMethodField(help_text="What runs in its place, where a person modified it.")
    verdicts = serializers.SerializerMethodField(help_text="What this kind of request can be answered with.")
    objection = serializers.SerializerMethodField(help_text="Why you may not decide it; null when you may.")

    class Meta(RequestSerializer.Meta):
        fields = [
            *RequestSerializer.Meta.fields,
            "dispatch",
            "call",
            "reasoning",
            "content",
            "frozen",
            "digest",
            "policy_version",
            "supersedes",
            "successor",
            "decision",
            "edited",
            "verdicts",
            "objection",
        ]

    @extend_schema_field({"type": ["object", "null"], "additionalProperties": {}})
    def get_edited(self, request: ApprovalRequest) -> Any:
        return None if request.edited_frozen is None else request.effective_content

    def get_verdicts(self, request: ApprovalRequest) -> list[str]:
        return sorted(kinds.get(request.kind).verdicts)

    def get_objection(self, request: ApprovalRequest) -> str | None:
        return eligibility.why_not(request, self.context["request"].user)


class RequestQuery(Strict):
    status = serializers.ChoiceField(
        choices=[*states.REQUEST.statuses, "all"],
        default=states.OPEN,
        help_text="Open requests come in the order of the queue, others newest first.",
    )
    kind = serializers.CharField(required=False)
    run = serializers.UUIDField(required=False)
    limit = serializers.IntegerField(required=False, min_value=1, max_value=LIMIT)
    offset = serializers.IntegerField(required=False, min_value=0, max_value=100_000)


class DecideBody(Strict):
    verdict = serializers.ChoiceField(choices=sorted(states.PERSONAL))
    digest = serializers.RegexField(r"^[0-9a-f]{64}\Z", help_text="That of the request you looked at.")
    arguments = serializers.DictField(
        required=False,
        help_text="With `modified`: the whole of the new arguments; for a handoff {task}, for a budget {amount_usd}.",
    )
    answer = serializers.CharField(required=False, max_length=20_000, help_text="With `answered`.")
    reason = serializers.CharField(required=False, default="", allow_blank=True, max_length=4_000)
    stop = serializers.BooleanField(required=False, default=False, help_text="With `rejected`: end the agent's part.")


class OutcomeSerializer(serializers.Serializer):
    """`successor`: the edit needs another person, who is asked there; then nothing was decided."""

    request = RequestDetailSerializer()
    successor = serializers.UUIDField(allow_null=True)
