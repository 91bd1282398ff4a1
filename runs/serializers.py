"""The shapes of the runs' API. Money is US dollars, as decimal text; times are UTC."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from agents.models import EXEMPLAR_LENGTH
from approvals.models import ApprovalRequest
from orchestrator_site.core import canonical
from orchestrator_site.core.models import Event
from orchestrator_site.core.serializers import PageQuery, Strict
from runs import states, uncertain
from runs.comments import COMMENT_LIMIT
from runs.corrections import Lesson
from runs.handing_over import preconditions
from runs.intake import INPUT_LIMIT
from runs.models import (
    Account,
    Artifact,
    Attempt,
    ContextView,
    Dispatch,
    Handoff,
    Message,
    Node,
    Routing,
    Run,
    Step,
    ToolCall,
)
from runs.models.runs import PRIORITIES
from tools.values import Label

JSON = {"type": "object", "additionalProperties": {}}


# -- what is posted and asked ------------------------------------------------------------------------------------
class RunQuery(PageQuery):
    status = serializers.ChoiceField(required=False, choices=states.RUN.choices())
    agent = serializers.SlugField(required=False, help_text="Runs that name this agent.")
    conversation = serializers.UUIDField(required=False)


class StartBody(Strict):
    input = serializers.CharField(trim_whitespace=False, max_length=INPUT_LIMIT, help_text="What is to be done.")
    agent = serializers.SlugField(
        required=False, allow_null=True, help_text="Who does it; the router decides when left out."
    )
    conversation = serializers.UUIDField(
        required=False,
        allow_null=True,
        help_text="An earlier run's conversation: its requests and answers are read again.",
    )
    metadata = serializers.DictField(required=False, help_text="Labels and ids of yours, up to 10,000 bytes.")
    budget_usd = serializers.DecimalField(
        required=False, allow_null=True, max_digits=18, decimal_places=9, help_text="A cap for the whole run."
    )
    input_labels = serializers.ListField(
        required=False,
        child=serializers.ChoiceField(choices=[label.value for label in Label]),
        help_text="Of an input that you pass on, such as a customer's e-mail: untrusted, sensitive. "
        "Leave it out for a person's own words.",
    )
    plan = serializers.DictField(
        required=False,
        allow_null=True,
        help_text="How it is done: {template, parameters}, or a whole plan: {nodes: [{key, agent, task, depends_on}]}.",
    )
    priority = serializers.IntegerField(
        required=False,
        default=0,
        min_value=PRIORITIES[0],
        max_value=PRIORITIES[-1],
        help_text="The highest comes first, where runs wait for a worker; above 0 takes a permission.",
    )


class EventQuery(Strict):
    after = serializers.IntegerField(required=False, default=0, min_value=0, max_value=2**63 - 1)
    limit = serializers.IntegerField(required=False, default=200, min_value=1, max_value=1000)


class RetryBody(Strict):
    agent = serializers.SlugField(
        required=False, allow_null=True, help_text="Who does it now; as the first time when left out."
    )


class TeachBody(Strict):
    agent = serializers.SlugField(help_text="Whose requests like this one are.")
    lesson = serializers.ChoiceField(choices=[lesson.value for lesson in Lesson])
    text = serializers.CharField(
        required=False, default="", max_length=EXEMPLAR_LENGTH, help_text="The exemplar; the request when left out."
    )
    condition = serializers.CharField(
        required=False, default="", max_length=4000, help_text="The rule's, in CEL; its first words when left out."
    )
    name = serializers.CharField(required=False, default="", max_length=120, help_text="The rule's, for people.")


class AnswerBody(Strict):
    answer = serializers.CharField(max_length=20_000)
    request = serializers.UUIDField(required=False, help_text="Which question, where the run has more than one open.")


class CommentBody(Strict):
    node = serializers.UUIDField(help_text="Which node, as the run's `nodes` have it.")
    comment = serializers.CharField(max_length=COMMENT_LIMIT, help_text="What is wrong, and what is to be done.")


class ResolveBody(Strict):
    finding = serializers.ChoiceField(
        choices=[finding.value for finding in uncertain.Finding],
        help_text="`happened`: with its result; `repeat`: it did not, run it again; `abandon`: go on without knowing.",
    )
    result = serializers.CharField(
        required=False,
        default="",
        allow_blank=True,
        max_length=64_000,
        help_text="What the call brought; the agent reads it.",
    )
    reason = serializers.CharField(required=False, default="", allow_blank=True, max_length=4_000)
    attests_dead = serializers.BooleanField(
        required=False, default=False, help_text="You know that the old attempt is not at work any more."
    )


# -- what is answered --------------------------------------------------------------------------------------------
class RunSerializer(serializers.ModelSerializer):
    """A run in a list; `cost_usd` and `tokens` are set by whoever lists."""

    agent = serializers.CharField(source="agent.slug", default=None, allow_null=True)
    owner = serializers.CharField(source="owner.username")
    conversation = serializers.UUIDField(source="conversation_id", allow_null=True)
    metadata = serializers.DictField()
    cost_usd = serializers.DecimalField(max_digits=18, decimal_places=9)
    tokens = serializers.IntegerField()

    class Meta:
        model = Run
        fields = [
            "id",
            "status",
            "stop_reason",
            "waiting_on",
            "input",
            "output",
            "agent",
            "owner",
            "source",
            "conversation",
            "metadata",
            "cost_usd",
            "tokens",
            "cancel_requested_at",
            "created_at",
            "finished_at",
        ]


class AccountSerializer(serializers.ModelSerializer):
    class Meta:
        model = Account
        fields = ["cap_usd", "spent_usd", "reserved_usd"]


class DispatchSerializer(serializers.ModelSerializer):
    """One agent's try at a node; whoever shows it sets `step_count`, `calls_by_status`."""

    agent = serializers.CharField(source="manifest.agent.slug")
    manifest = serializers.IntegerField(source="manifest.number", help_text="The version it works by, pinned.")
    node = serializers.UUIDField(source="node_id", help_text="The place in the run's plan that it works on.")
    steps = serializers.SerializerMethodField(help_text="How many model calls it made.")
    calls = serializers.SerializerMethodField(help_text="How many tool calls, by status.")

    class Meta:
        model = Dispatch
        fields = [
            "id",
            "number",
            "agent",
            "manifest",
            "origin",
            "node",
            "task",
            "status",
            "stop_reason",
            "message",
            "output",
            "waiting_on",
            "due_at",
            "steps",
            "calls",
            "iterations",
            "tokens",
            "cost_usd",
            "created_at",
            "started_at",
            "finished_at",
        ]

    def get_steps(self, dispatch: Dispatch) -> int:
        return dispatch.step_count  # type: ignore[attr-defined]

    def get_calls(self, dispatch: Dispatch) -> dict[str, int]:
        return dispatch.calls_by_status  # type: ignore[attr-defined]


class NodeSerializer(serializers.ModelSerializer):
    """A place in the run's plan. Expects `agent` joined; whoever shows it sets `waits_for`, the ids of its parents."""

    agent = serializers.CharField(source="agent.slug", default=None, allow_null=True)
    within = serializers.UUIDField(source="within_id", allow_null=True, help_text="The node that added it.")
    parents = serializers.ListField(source="waits_for", child=serializers.UUIDField(), help_text="Nodes it waits for.")
    dispatch = serializers.UUIDField(source="dispatch_id", allow_null=True, help_text="The newest try of it.")

    class Meta:
        model = Node
        fields = [
            "id",
            "number",
            "key",
            "kind",
            "role",
            "agent",
            "within",
            "parents",
            "task",
            "status",
            "stop_reason",
            "message",
            "waiting_on",
            "due_at",
            "superseded",
            "dispatch",
            "created_at",
            "finished_at",
        ]


class QuestionSerializer(serializers.Serializer):
    """What the run asks the person who started it; answered by POST answer/."""

    request = serializers.UUIDField(source="pk")
    question = serializers.CharField(source="title")
    candidates = serializers.SerializerMethodField()
    explained = serializers.SerializerMethodField(help_text="Candidates that are agents, each with what it owns.")
    asked_at = serializers.DateTimeField(source="created_at")
    deadline_at = serializers.DateTimeField()

    def get_candidates(self, request: ApprovalRequest) -> list[str]:
        return list(request.content.get("candidates", []))

    def get_explained(self, request: ApprovalRequest) -> dict[str, str]:
        return dict(request.content.get("explained", {}))

    def to_representation(self, request: ApprovalRequest) -> dict[str, Any]:
        return super().to_representation(request) | {"question": request.content.get("question", request.title)}


class ArtifactSerializer(serializers.ModelSerializer):
    reference = serializers.CharField(help_text="What agents pass to each other.")
    run = serializers.UUIDField(source="run_id")
    dispatch = serializers.UUIDField(source="dispatch_id", allow_null=True)
    sha256 = serializers.CharField(source="blob_id")

    class Meta:
        model = Artifact
        fields = ["id", "reference", "run", "dispatch", "name", "media_type", "size", "sha256", "created_at"]


class RoutingSerializer(serializers.ModelSerializer):
    """How a run that names nobody came to who has it: the stage that decided, and what each stage said."""

    stages = serializers.ListField(child=serializers.DictField())
    candidates = serializers.ListField(child=serializers.DictField())

    class Meta:
        model = Routing
        fields = ["decided_by", "line", "agent", "template", "confidence", "candidates", "stages", "epoch"]


class TaughtSerializer(serializers.Serializer):
    lesson = serializers.CharField()
    agent = serializers.CharField()
    text = serializers.CharField(help_text="The exemplar, or the rule's condition.")
    name = serializers.CharField(help_text="The rule's; empty of an exemplar.")


class RunDetailSerializer(RunSerializer):
    routing = RoutingSerializer(default=None, allow_null=True, help_text="Null: the run names who does it.")
    budget = AccountSerializer(source="account", default=None, allow_null=True)
    nodes = NodeSerializer(many=True)
    dispatches = DispatchSerializer(many=True)
    artifacts = ArtifactSerializer(many=True)
    question = QuestionSerializer(allow_null=True, help_text="The oldest open one.")
    open_requests = serializers.ListField(
        child=serializers.UUIDField(), help_text="Approval requests a person has to decide."
    )

    class Meta(RunSerializer.Meta):
        fields = [
            *RunSerializer.Meta.fields,
            "budget",
            "routing",
            "question",
            "open_requests",
            "nodes",
            "dispatches",
            "artifacts",
        ]


class EventSerializer(serializers.ModelSerializer):
    data = serializers.SerializerMethodField()  # type: ignore[assignment]

    class Meta:
        model = Event
        fields = ["seq", "type", "at", "actor", "data", "previous_hash", "hash"]

    @extend_schema_field(JSON)
    def get_data(self, event: Event) -> Any:
        return canonical.loads(event.data)


class EventsSerializer(serializers.Serializer):
    events = EventSerializer(many=True)
    after = serializers.IntegerField(help_text="Ask for what comes after this.")
    more = serializers.BooleanField(help_text="Whether there is more already.")


class FaultSerializer(serializers.Serializer):
    """The first row that is not as it was written."""

    seq = serializers.IntegerField()
    detail = serializers.CharField(source="sentence")

    class Meta:
        ref_name = "ChainFault"


class AuditSerializer(serializers.Serializer):
    chain = serializers.CharField()
    verified = serializers.BooleanField()
    rows = serializers.IntegerField()
    head = serializers.CharField(help_text="The hash of the newest row, by the chain's head.")
    fault = FaultSerializer(allow_null=True)
    covered = serializers.IntegerField(help_text="How many of its rows a signed checkpoint holds.")
    checkpoint = serializers.IntegerField(allow_null=True, help_text="The newest checkpoint that lists the chain.")
    export = serializers.ListField(
        child=serializers.DictField(),
        help_text="The chain and its proof, record by record. Save the answer as a file: `verify_export.py` reads it.",
    )


# -- the trace ---------------------------------------------------------------------------------------------------
class AttemptSerializer(serializers.ModelSerializer):
    """One send of a call, as written before it was sent."""

    class Meta:
        model = Attempt
        fields = [
            "number",
            "status",
            "endpoint",
            "idempotency_key",
            "digest",
            "error_kind",
            "result",
            "late_evidence",
            "sent_at",
            "deadline_at",
            "ended_at",
        ]


class CallSerializer(serializers.ModelSerializer):
    arguments = serializers.SerializerMethodField()
    request = serializers.UUIDField(
        source="request_id", allow_null=True, help_text="The approval it waits or waited for."
    )
    attempts = AttemptSerializer(many=True)

    class Meta:
        model = ToolCall
        fields = [
            "id",
            "tool",
            "arguments",
            "effect",
            "risk",
            "status",
            "request",
            "error_kind",
            "result",
            "created_at",
            "ended_at",
            "attempts",
        ]

    @extend_schema_field(JSON)
    def get_arguments(self, call: ToolCall) -> Any:
        return canonical.loads(call.arguments)


class StepSerializer(serializers.ModelSerializer):
    calls = CallSerializer(many=True)

    class Meta:
        model = Step
        fields = [
            "number",
            "status",
            "model",
            "stop_reason",
            "failure",
            "error",
            "input_tokens",
            "output_tokens",
            "cache_read_tokens",
            "cache_write_tokens",
            "cost_usd",
            "cost_estimated",
            "asked_at",
            "ended_at",
            "calls",
        ]


class MessageSerializer(serializers.ModelSerializer):
    step = serializers.IntegerField(allow_null=True, help_text="The number of the step that read it first.")

    class Meta:
        model = Message
        fields = ["number", "sender", "text", "step", "created_at"]


class ContextViewSerializer(serializers.ModelSerializer):
    """What the agent was not shown any more, from the step after `after_step` on."""

    left_out = serializers.ListField(child=serializers.UUIDField(), help_text="Calls whose results gave way.")

    class Meta:
        model = ContextView
        fields = ["number", "after_step", "left_out", "summarised_to", "summary", "failed"]
        fields += ["tokens_before", "tokens_after", "created_at"]


class TracedDispatchSerializer(DispatchSerializer):
    steps = StepSerializer(many=True)  # type: ignore[assignment]
    messages = MessageSerializer(many=True)
    context_views = ContextViewSerializer(many=True)

    class Meta(DispatchSerializer.Meta):
        kept = [name for name in DispatchSerializer.Meta.fields if name not in ("task", "output", "calls")]
        fields = [*kept, "messages", "context_views"]


class TraceSerializer(serializers.Serializer):
    """Dispatches, what they were told, their model calls, the tool calls of each, and every send of those."""

    run = serializers.UUIDField(source="pk")
    status = serializers.CharField()
    created_at = serializers.DateTimeField()
    finished_at = serializers.DateTimeField(allow_null=True)
    cost_usd = serializers.DecimalField(max_digits=18, decimal_places=9)
    tokens = serializers.IntegerField()
    dispatches = TracedDispatchSerializer(many=True)


# -- calls in doubt, handoffs ------------------------------------------------------------------------------------
class UncertainCallSerializer(CallSerializer):
    """A call nobody knows the end of. `may_repeat`: every process of its old attempts was seen to be gone."""

    run = serializers.UUIDField(source="dispatch.run_id")
    dispatch = serializers.UUIDField(source="dispatch_id")
    agent = serializers.CharField(source="dispatch.manifest.agent.slug")
    may_repeat = serializers.SerializerMethodField()

    class Meta(CallSerializer.Meta):
        fields = ["run", "dispatch", "agent", "may_repeat", *CallSerializer.Meta.fields]

    def get_may_repeat(self, call: ToolCall) -> bool:
        return call.status == states.UNCERTAIN and uncertain.may_repeat(call)


class PreconditionSerializer(serializers.Serializer):
    """A sentence; with a `check`, a condition in CEL over the run's facts."""

    says = serializers.CharField()
    check = serializers.CharField(help_text="Empty for a mere sentence.")
    outcome = serializers.ChoiceField(
        choices=[preconditions.SAID, preconditions.GREEN, preconditions.RED, preconditions.UNKNOWN],
        help_text="`said`: nobody has checked it; red and unknown ones block a yes, unless it overrides them.",
    )
    why = serializers.CharField(help_text="What kept an unknown one from being evaluated.")


class HandoffSerializer(serializers.ModelSerializer):
    run = serializers.UUIDField(source="source.run_id")
    source = serializers.UUIDField(  # type: ignore[assignment]
        source="source_id", help_text="The dispatch that proposed it."
    )
    source_agent = serializers.CharField(source="source.manifest.agent.slug")
    target = serializers.CharField(source="target.slug")
    artifacts = serializers.ListField(child=serializers.CharField())
    preconditions = serializers.SerializerMethodField(help_text="As they were last looked at.")
    state = serializers.DictField(allow_null=True, help_text="What stands of the task, as values.")
    steps = serializers.ListField(
        child=serializers.IntegerField(), help_text="Answers of its source that are passed on, 1 the first."
    )
    passed = serializers.CharField(help_text="What the target reads below its task; empty until a person is asked.")
    tokens_at_most = serializers.IntegerField(help_text="An upper bound of the task and `passed` together.")
    request = serializers.UUIDField(
        source="request_id", allow_null=True, help_text="The approval request that decides it."
    )
    deadline_at = serializers.DateTimeField(source="request.deadline_at", default=None, allow_null=True)
    guidance = serializers.CharField(
        source="request.decision.answer", default=None, allow_null=True, help_text="What a person said to its source."
    )
    continued_by = serializers.UUIDField(source="continued_by_id", allow_null=True)
    returned_to = serializers.UUIDField(
        source="returned_to_id", allow_null=True, help_text="The source's dispatch that goes on with the guidance."
    )
    closed_by = serializers.UUIDField(
        source="closed_by_id",
        allow_null=True,
        help_text="The dispatch in which a source that watches has the last word.",
    )

    class Meta:
        model = Handoff
        fields = [
            "id",
            "run",
            "source",
            "source_agent",
            "target",
            "status",
            "reason",
            "task",
            "state",
            "artifacts",
            "preconditions",
            "confidence",
            "transfer",
            "steps",
            "passed",
            "tokens_at_most",
            "source_watches",
            "request",
            "deadline_at",
            "guidance",
            "continued_by",
            "returned_to",
            "closed_by",
            "created_at",
        ]

    @extend_schema_field(PreconditionSerializer(many=True))
    def get_preconditions(self, handoff: Handoff) -> list[dict[str, str]]:
        return preconditions.stored(preconditions.read(handoff.preconditions))


class HandoffQuery(PageQuery):
    status = serializers.ChoiceField(required=False, choices=states.HANDOFF.choices())
    run = serializers.UUIDField(required=False)


class UncertainQuery(PageQuery):
    run = serializers.UUIDField(required=False)
