"""The shapes of the approvals' API."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from approvals import batches, eligibility, kinds, presentation, quorum, states
from approvals.models import ApprovalRequest, Assent, Decision, StandingApproval
from approvals.standing import Terms
from orchestrator_site.core import canonical
from orchestrator_site.core.serializers import PageQuery, Strict
from tools import patterns
from tools.matchers import Matcher

LIMIT = 200


class DecisionSerializer(serializers.ModelSerializer):
    by = serializers.CharField(source="by_name", help_text="A person's name, “the clock” or “the system”.")
    arguments = serializers.SerializerMethodField(help_text="The edit as posted, where the verdict is `modified`.")

    class Meta:
        model = Decision
        fields = ["verdict", "by", "via", "at", "reason", "stop", "override", "answer", "arguments", "digest"]

    @extend_schema_field({"type": ["object", "null"], "additionalProperties": {}})
    def get_arguments(self, decision: Decision) -> Any:
        return None if decision.arguments is None else canonical.loads(decision.arguments)


class AssentSerializer(serializers.ModelSerializer):
    by = serializers.CharField(source="by_name")

    class Meta:
        model = Assent
        fields = ["by", "via", "at", "reason"]


class MemberSerializer(serializers.ModelSerializer):
    content = serializers.DictField()

    class Meta:
        model = ApprovalRequest
        fields = ["id", "title", "risk", "reasons", "digest", "content"]


class BatchSerializer(serializers.Serializer):
    """Requests asked together. Posted with `approved` or `rejected`, `digest` decides all of them."""

    id = serializers.UUIDField(source="leader.batch")
    digest = serializers.CharField()
    requests = MemberSerializer(many=True, help_text="In their order, the riskiest first.")


class RequestSerializer(serializers.ModelSerializer):
    """A request in a list."""

    run = serializers.UUIDField(source="run_id")
    requester = serializers.CharField(source="requester.username", default=None, allow_null=True)
    reasons = serializers.ListField(child=serializers.CharField(), help_text="Why a person is asked: sentences.")
    assents = serializers.SerializerMethodField(help_text="Who has approved it, where several people have to.")
    batch = serializers.UUIDField(allow_null=True, help_text="The same for requests that are asked together.")
    calls = serializers.SerializerMethodField(help_text="In a list of open ones: how many it stands for.")

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
            "approvers",
            "group",
            "assents",
            "batch",
            "calls",
            "status",
            "created_at",
            "deadline_at",
            "decided_at",
        ]

    def get_calls(self, request: ApprovalRequest) -> int:
        return getattr(request, "calls", 1)

    @extend_schema_field(AssentSerializer(many=True))
    def get_assents(self, request: ApprovalRequest) -> Any:
        return AssentSerializer(request.assents.all(), many=True).data if request.approvers > 1 else []


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
    together = serializers.SerializerMethodField(help_text="All that is asked together with it; null when it is alone.")
    shortage = serializers.SerializerMethodField(help_text="Too few people may decide for it to be approved; or empty.")

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
            "together",
            "shortage",
        ]

    @extend_schema_field({"type": ["object", "null"], "additionalProperties": {}})
    def get_edited(self, request: ApprovalRequest) -> Any:
        return None if request.edited_frozen is None else request.effective_content

    def get_verdicts(self, request: ApprovalRequest) -> list[str]:
        return sorted(kinds.get(request.kind).verdicts)

    def get_objection(self, request: ApprovalRequest) -> str | None:
        user = self.context["request"].user
        return eligibility.why_not(request, user) or eligibility.already(request, user)

    @extend_schema_field(BatchSerializer(allow_null=True))
    def get_together(self, request: ApprovalRequest) -> Any:
        batch = presentation.batch_of(batches.members(request)) if request.status == states.OPEN else None
        return BatchSerializer(batch).data if batch else None

    def get_shortage(self, request: ApprovalRequest) -> str:
        return quorum.shortage(request) if request.status == states.OPEN else ""


class MatcherBody(Strict):
    kind = serializers.ChoiceField(choices=patterns.KINDS)
    values = serializers.ListField(
        child=serializers.CharField(max_length=4_000), default=list, max_length=200, help_text="None with `any`."
    )


class StandingBody(Strict):
    """What is approved beforehand with this call; at least one of `this_run`, `expires_at` and `uses_at_most`."""

    pattern = serializers.DictField(
        child=MatcherBody(), help_text="For every argument of the call, what it may be: {argument: {kind, values}}."
    )
    this_run = serializers.BooleanField(required=False, default=False)
    any_agent = serializers.BooleanField(required=False, default=False)
    any_version = serializers.BooleanField(required=False, default=False, help_text="Also when the tool is published.")
    expires_at = serializers.DateTimeField(required=False)
    uses_at_most = serializers.IntegerField(required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        pattern = {name: Matcher(each["kind"], tuple(each["values"])) for name, each in attrs.pop("pattern").items()}
        return {"terms": Terms(pattern=pattern, **attrs)}


class StandingSerializer(serializers.ModelSerializer):
    run = serializers.UUIDField(source="run_id", allow_null=True, help_text="The only run that it holds in; or null.")
    request = serializers.UUIDField(source="decision.request_id", help_text="The request it was given with.")
    pattern = serializers.SerializerMethodField(help_text="By argument {kind, values}.")
    given_by = serializers.CharField(source="given_by_name")
    ended_by = serializers.CharField(source="ended_by_name")

    class Meta:
        model = StandingApproval
        fields = [
            "id",
            "status",
            "tool",
            "tool_version",
            "agent",
            "run",
            "pattern",
            "risk",
            "group",
            "request",
            "given_by",
            "given_at",
            "reason",
            "expires_at",
            "uses_at_most",
            "uses",
            "ended_at",
            "ended_by",
            "ended_why",
        ]

    @extend_schema_field({"type": "object", "additionalProperties": {}})
    def get_pattern(self, standing: StandingApproval) -> Any:
        return canonical.loads(standing.pattern)


class StandingQuery(PageQuery):
    status = serializers.ChoiceField(choices=[*states.STANDING.statuses, "all"], default=states.ACTIVE)
    tool = serializers.CharField(required=False)


class RevokeBody(Strict):
    reason = serializers.CharField(required=False, default="", allow_blank=True, max_length=4_000)


class RequestQuery(Strict):
    status = serializers.ChoiceField(
        choices=[*states.REQUEST.statuses, "all"],
        default=states.OPEN,
        help_text="Open requests come in the order of the queue, others newest first.",
    )
    kind = serializers.CharField(required=False)
    run = serializers.UUIDField(required=False)
    batch = serializers.UUIDField(
        required=False, help_text="All requests that are asked together; without it the first of them stands for all."
    )
    limit = serializers.IntegerField(required=False, min_value=1, max_value=LIMIT)
    offset = serializers.IntegerField(required=False, min_value=0, max_value=100_000)


class DecideBody(Strict):
    verdict = serializers.ChoiceField(choices=sorted(states.PERSONAL))
    digest = serializers.RegexField(
        r"^[0-9a-f]{64}\Z", help_text="That of the request you looked at, or of all it is asked together with."
    )
    arguments = serializers.DictField(
        required=False,
        help_text="With `modified`: the whole of the new arguments; for a handoff {task, target}, one or both, for a "
        "budget {amount_usd}.",
    )
    answer = serializers.CharField(
        required=False,
        max_length=20_000,
        help_text="With `answered`; for a handoff: it is declined, and its source goes on with this guidance.",
    )
    reason = serializers.CharField(required=False, default="", allow_blank=True, max_length=4_000)
    stop = serializers.BooleanField(required=False, default=False, help_text="With `rejected`: end the agent's part.")
    override = serializers.BooleanField(
        required=False,
        default=False,
        help_text="With `approved` or `modified`, and a reason: although a precondition of the handoff does not hold.",
    )
    standing = StandingBody(required=False, help_text="With `approved`: calls like this one run without asking.")


class OutcomeSerializer(serializers.Serializer):
    """`successor`: the edit needs another person, who is asked there; then nothing was decided. Nothing was either
    where the request is open still: more people have to approve it."""

    request = RequestDetailSerializer()
    successor = serializers.UUIDField(allow_null=True)
