"""The shapes of the policies' API."""

from collections.abc import Mapping
from typing import Any

from rest_framework import serializers

from orchestrator_site.core import canonical
from orchestrator_site.core.serializers import PageQuery, Strict
from runs.models import Simulation
from runs.policies import simulating
from tools.models import Policy
from tools.models.policies import POLICY
from tools.policies import documents, facts, versions
from tools.policies.tallying import as_lines
from tools.policies.values import Flow, Outcome
from tools.policies.values import Policy as PolicyValue
from tools.values import Effect, Label, Risk

_RISKS = [risk.value for risk in Risk]


class RuleBody(Strict):
    """What a column means says `docs/policies.md`. An empty column of the scope is any."""

    name = serializers.CharField(max_length=80, help_text="Short, and once in a policy: it is stored with each ruling.")
    outcome = serializers.ChoiceField(choices=[outcome.value for outcome in Outcome])
    tool = serializers.CharField(max_length=64, required=False, allow_blank=True)
    family = serializers.CharField(max_length=40, required=False, allow_blank=True)
    agent = serializers.CharField(max_length=50, required=False, allow_blank=True)
    app = serializers.CharField(max_length=150, required=False, allow_blank=True)
    role = serializers.CharField(max_length=150, required=False, allow_blank=True)
    effect = serializers.ChoiceField(choices=[effect.value for effect in Effect], required=False, allow_blank=True)
    risk = serializers.ChoiceField(
        choices=_RISKS, required=False, allow_blank=True, help_text="This risk and every higher one."
    )
    label = serializers.ChoiceField(  # type: ignore[assignment]
        choices=[x.value for x in Label], required=False, allow_blank=True, help_text="Of what the agent has read."
    )
    condition = serializers.CharField(
        required=False, allow_blank=True, help_text="CEL over the facts of policies/facts/; empty: always."
    )
    window = serializers.CharField(
        max_length=40, required=False, allow_blank=True, help_text="The rule holds only outside this window."
    )
    approvers = serializers.IntegerField(required=False, min_value=1, max_value=9)
    group = serializers.CharField(max_length=150, required=False, allow_blank=True)
    says = serializers.CharField(max_length=300, help_text="The sentence that people read when this rule decides.")
    expires_at = serializers.DateTimeField(required=False, allow_null=True)


class WindowBody(Strict):
    name = serializers.CharField(max_length=40, help_text="Conditions call it windows.<name>.")
    zone = serializers.CharField(max_length=60, required=False, help_text="Such as Europe/Berlin; UTC unless said.")
    days = serializers.ListField(
        child=serializers.IntegerField(min_value=0, max_value=6), help_text="0 is Monday.", min_length=1
    )
    opens = serializers.TimeField()
    closes = serializers.TimeField(help_text="The next day's, where it is not later than it opens.")
    except_dates = serializers.ListField(child=serializers.DateField(), required=False)


class ContentBody(Strict):
    """The content of a policy. A list that is given replaces the whole list; what is left out stays as it is."""

    note = serializers.CharField(max_length=300, required=False, allow_blank=True)
    notify_from = serializers.ChoiceField(choices=_RISKS, required=False)
    ask_from = serializers.ChoiceField(choices=_RISKS, required=False)
    four_eyes_from = serializers.ChoiceField(choices=_RISKS, required=False)
    flow = serializers.ChoiceField(choices=[flow.value for flow in Flow], required=False)
    rules = RuleBody(many=True, required=False)
    windows = WindowBody(many=True, required=False)

    def validate_windows(self, windows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        names = [window["name"] for window in windows]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise serializers.ValidationError(f"There are two windows {', '.join(twice)}.")
        return windows


def with_content(value: PolicyValue, body: Mapping[str, Any]) -> PolicyValue:
    """A policy with what a `ContentBody` says of it."""
    given = {name: told for name, told in body.items() if name != "note"}
    return documents.read({**documents.told(value), **given}, value.version)


class NewPolicyBody(ContentBody):
    of = serializers.IntegerField(required=False, help_text="The version to begin with; the one in force unless said.")


class PublishPolicyBody(Strict):
    digest = serializers.CharField(
        max_length=64, help_text="`content_digest` of what you looked at: what was changed since is not published."
    )


class ShadowBody(Strict):
    on = serializers.BooleanField(help_text="Try this draft on every live call, without effect; or no longer.")


class SimulationFilters(Strict):
    tool = serializers.CharField(required=False)
    agent = serializers.CharField(required=False)
    app = serializers.CharField(required=False)
    verdict = serializers.ChoiceField(choices=["Allow", "NeedsApproval", "Defer", "Refuse"], required=False)


class SimulateBody(Strict):
    """Of a saved version, or of `content` over the one in force."""

    policy = serializers.IntegerField(required=False, help_text="The number of a version.")
    content = ContentBody(required=False)
    since = serializers.DateTimeField(required=False, help_text="30 days ago unless said.")
    until = serializers.DateTimeField(required=False, help_text="Now unless said.")
    filters = SimulationFilters(required=False)

    def validate(self, body: dict[str, Any]) -> dict[str, Any]:
        if ("policy" in body) == ("content" in body):
            raise serializers.ValidationError("Name a policy, or give the content of one; not both.")
        return body


class PolicyQuery(PageQuery):
    status = serializers.ChoiceField(choices=list(POLICY.table), required=False)


class PolicySerializer(serializers.ModelSerializer):
    flow = serializers.ChoiceField(choices=[flow.value for flow in Flow])
    based_on = serializers.IntegerField(source="based_on.number", default=None)
    created_by = serializers.CharField(source="created_by.username", default=None)
    proposed_by = serializers.CharField(source="proposed_by.username", default=None)
    published_by = serializers.CharField(source="published_by.username", default=None)
    why_weaker = serializers.ListField(
        child=serializers.CharField(), help_text="Why a second person has to publish it; empty where none has to."
    )

    class Meta:
        model = Policy
        fields = [
            *("number", "status", "note", "based_on", "shadow", "shadow_since"),
            *("notify_from", "ask_from", "four_eyes_from", "flow", "digest", "why_weaker"),
            *("created_by", "created_at", "proposed_by", "published_by", "published_at"),
        ]


class PolicyDetailSerializer(PolicySerializer):
    rules = serializers.SerializerMethodField()
    windows = serializers.SerializerMethodField()
    content_digest = serializers.SerializerMethodField(help_text="What `publish/` is given.")
    matched_nothing = serializers.SerializerMethodField(
        help_text="Of a draft: rules that held for none of the newest rulings that were recorded."
    )

    class Meta(PolicySerializer.Meta):
        fields = [*PolicySerializer.Meta.fields, "rules", "windows", "content_digest", "matched_nothing"]

    def get_rules(self, policy: Policy) -> list[dict[str, Any]]:
        return documents.told(policy.value())["rules"]

    def get_windows(self, policy: Policy) -> list[dict[str, Any]]:
        return documents.told(policy.value())["windows"]

    def get_content_digest(self, policy: Policy) -> str:
        return canonical.digest(versions.content(policy))

    def get_matched_nothing(self, policy: Policy) -> list[str]:
        return simulating.unmatched(policy.value())[0] if policy.is_editable else []


class FactSerializer(serializers.Serializer):
    name = serializers.CharField()
    kind = serializers.CharField()
    says = serializers.CharField()
    on_demand = serializers.BooleanField(help_text="Gathered, and recorded, only where a rule asks for it.")


def told_facts() -> list[dict[str, Any]]:
    return [
        {"name": name, "kind": str(fact.kind), "says": fact.says, "on_demand": name in facts.ON_DEMAND}
        for name, fact in facts.FACTS.items()
    ]


class FlipSerializer(serializers.Serializer):
    name = serializers.CharField()
    was = serializers.CharField()
    would_be = serializers.CharField()
    count = serializers.IntegerField()


class SampleSerializer(serializers.Serializer):
    run = serializers.UUIDField()
    call = serializers.UUIDField()
    tool = serializers.CharField()
    was = serializers.CharField()
    would_be = serializers.CharField()
    rule = serializers.CharField()
    reasons = serializers.ListField(child=serializers.CharField())


class TallySerializer(serializers.Serializer):
    """What was found so far."""

    judged = serializers.IntegerField()
    before_any_policy = serializers.IntegerField(help_text="Refused whatever a policy says; not judged again.")
    unclear = serializers.IntegerField(help_text="Not judged again, for want of facts.")
    not_recorded = serializers.DictField(child=serializers.IntegerField(), help_text="By fact, in how many rulings.")
    was = serializers.DictField(child=serializers.IntegerField())
    would_be = serializers.DictField(child=serializers.IntegerField())
    flips = serializers.IntegerField()
    flips_by_rule = FlipSerializer(many=True)
    flips_by_agent = FlipSerializer(many=True)
    flips_by_tool = FlipSerializer(many=True)
    approvals_more = serializers.IntegerField()
    approvals_fewer = serializers.IntegerField()
    money_more = serializers.DictField(child=serializers.CharField(), help_text="By tool.argument, without a person.")
    money_fewer = serializers.DictField(child=serializers.CharField())
    matched_nothing = serializers.ListField(child=serializers.CharField())
    samples = SampleSerializer(many=True)


class SimulationSerializer(serializers.ModelSerializer):
    policy = serializers.IntegerField(source="policy.number", default=None)
    asked_by = serializers.CharField(source="asked_by.username", default=None)
    filters = SimulationFilters()
    percent = serializers.IntegerField()
    found = serializers.SerializerMethodField()

    class Meta:
        model = Simulation
        fields = [
            *("id", "policy", "digest", "asked_by", "since", "until", "filters", "status", "total", "seen", "percent"),
            *("error", "created_at", "ended_at", "found"),
        ]

    def get_found(self, simulation: Simulation) -> TallySerializer:
        tally = simulation.found()
        lines = {name: as_lines(getattr(tally, name)) for name in ("flips_by_rule", "flips_by_agent", "flips_by_tool")}
        told = {**tally.told(), **lines, "matched_nothing": tally.without_match(simulation.value())}
        return TallySerializer(told).data  # type: ignore[return-value]
