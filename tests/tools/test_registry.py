"""The registry: definitions are checked with a sentence a fault, versions never change, switches bite at once."""

from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError

from orchestrator_site.core import canonical
from orchestrator_site.core.models import AppendOnly, Event
from tools import callables, conditions, registry
from tools.definitions import InvalidDefinition
from tools.models import Tool, ToolVersion
from tools.values import Confirmation, Effect, ExecutorKind, Risk, RiskRule, ToolSpec

pytestmark = pytest.mark.django_db

OBJECT = {"type": "object"}
HTTP = {"method": "POST", "url": "https://example.test/pay"}
RULE = {"when": "args.amount > 100", "risk": "high", "reason": "More than 100."}


@callables.register("tests.registry.plain")
def plain(**arguments):
    return arguments


@callables.register("tests.registry.with_call")
def with_call(*, call, **arguments):
    return arguments


CONTENT: dict[str, Any] = {
    "description": "Pay.",
    "input_schema": OBJECT,
    "executor": ExecutorKind.PYTHON,
    "config": {"callable": "tests.registry.plain"},
    "effect": Effect.PURE,
}


def spec(name: str) -> ToolSpec:
    found = registry.spec(name)
    assert found is not None
    return found


def define(name="pay", *, risk=Risk.HIGH, **changes):
    return registry.define(name, risk=risk, **CONTENT | changes)


FAULTY = {
    # name, content -> the field that is named
    "a blank in the name": ("pay me", {}, "name"),
    "a line end in the name": ("pay\n", {}, "name"),
    "no name": ("", {}, "name"),
    "a long name": ("x" * 65, {}, "name"),
    "a platform tool's name": ("ask_human", {}, "name"),
    "a name that leads to an agent": ("dispatch_to_orders", {}, "name"),
    "no description": ("pay", {"description": " "}, "description"),
    "no schema": ("pay", {"input_schema": None}, "input_schema"),
    "a schema of a list": ("pay", {"input_schema": {"type": "array"}}, "input_schema"),
    "a broken schema": ("pay", {"input_schema": {"type": "object", "required": 5}}, "input_schema"),
    "the platform's executor": ("pay", {"executor": "platform"}, "executor"),
    "an unknown executor": ("pay", {"executor": "shell"}, "executor"),
    "an unknown callable": ("pay", {"config": {"callable": "os.system"}}, "config"),
    "a setting nobody knows": ("pay", {"config": CONTENT["config"] | {"colour": "red"}}, "config"),
    "an http tool without address": ("pay", {"executor": "http", "config": {"method": "GET"}}, "config"),
    "keyed without a key": ("pay", {"effect": Effect.KEYED}, "config"),
    "keyed without a header": ("pay", {"executor": "http", "config": HTTP, "effect": Effect.KEYED}, "config"),
    "verifiable without a lookup": ("pay", {"effect": Effect.VERIFIABLE}, "config"),
    "an unknown effect": ("pay", {"effect": "maybe"}, "effect"),
    "a rule that does not compile": ("pay", {"risk_rules": [RULE | {"when": "args."}]}, "risk_rules.0"),
    "a rule of an unknown risk": ("pay", {"risk_rules": [RULE, RULE | {"risk": "odd"}]}, "risk_rules.1"),
    "a rule without reason": ("pay", {"risk_rules": [{"when": "true", "risk": "high"}]}, "risk_rules.0"),
    "rules that are no list": ("pay", {"risk_rules": RULE}, "risk_rules"),
    "no time": ("pay", {"timeout_seconds": 0}, "timeout_seconds"),
    "endless time": ("pay", {"timeout_seconds": float("inf")}, "timeout_seconds"),
    "no room": ("pay", {"result_limit_bytes": -1}, "result_limit_bytes"),
    "words for a number": ("pay", {"result_limit_bytes": "many"}, "result_limit_bytes"),
}


@pytest.mark.parametrize(("name", "changes", "field"), FAULTY.values(), ids=FAULTY)
def test_a_fault_names_its_field_and_nothing_is_written(name, changes, field):
    with pytest.raises(InvalidDefinition) as told:
        define(name, **changes)

    assert list(told.value.faults) == [field]
    assert told.value.faults[field]
    assert not Tool.objects.exists()


def test_all_faults_are_told_at_once():
    with pytest.raises(InvalidDefinition) as told:
        define("pay me", description="", timeout_seconds=0)

    assert set(told.value.faults) == {"name", "description", "timeout_seconds"}


def test_control_a_whole_definition_of_every_effect_is_taken():
    define("a", effect=Effect.PURE)
    define("b", effect=Effect.UNSAFE)
    define("c", effect=Effect.KEYED, config={"callable": "tests.registry.with_call"})
    define("d", executor="http", config=HTTP | {"idempotency_header": "Idempotency-Key"}, effect=Effect.KEYED)

    assert list(registry.specs(["d", "a", "nothing", "c"])) == ["d", "a", "c"]


class TestVersions:
    def test_the_same_content_again_changes_nothing(self):
        first, again = define(), define()

        assert (first.pk, ToolVersion.objects.count()) == (again.pk, 1)
        assert Event.objects.filter(type="tool_defined").count() == 1

    @pytest.mark.parametrize(
        "changes",
        [
            {"description": "Pay now."},
            {"effect": Effect.UNSAFE},
            {"risk_rules": [RULE]},
            {"timeout_seconds": 5},
            {"input_schema": {"type": "object", "required": ["amount"]}},
        ],
    )
    def test_a_change_is_a_new_version_and_so_is_taking_it_back(self, changes):
        numbers = [define().number, define(**changes).number, define().number]

        assert numbers == [1, 2, 3]
        assert spec("pay").version_id == ToolVersion.objects.get(number=3).pk

    def test_a_definition_without_effect_is_unsafe_and_of_high_risk(self):
        content = {name: value for name, value in CONTENT.items() if name != "effect"}

        registry.define("pay", **content)

        assert (spec("pay").effect, spec("pay").risk) == (Effect.UNSAFE, Risk.HIGH)

    def test_one_never_changes_and_is_never_deleted(self):
        version = define()

        version.description = "Another."
        with pytest.raises(AppendOnly):
            version.save()
        with pytest.raises(AppendOnly):
            version.delete()

    def test_an_old_one_can_still_be_asked_for_under_todays_switches(self):
        first = define(risk_rules=[RULE])
        define()
        registry.switch(Tool.objects.get(), by=Someone, enabled=False, risk=Risk.CRITICAL)

        then = registry.version_spec(first.pk)

        assert then.risk_rules == (RiskRule(RULE["when"], Risk.HIGH, RULE["reason"]),)
        assert (then.enabled, then.risk) == (False, Risk.CRITICAL)


class Someone:
    """Whoever throws a switch."""

    @staticmethod
    def get_username():
        return "op"


class TestSwitches:
    def test_they_are_told_with_what_was_before(self):
        define()

        registry.switch(Tool.objects.get(), by=Someone, enabled=False, confirmation=Confirmation.ALWAYS)

        event = Event.objects.get(type="tool_switched")
        told = canonical.loads(event.data)
        assert (event.actor, told["tool"]) == ("user:op", "pay")
        assert told["before"] == {"enabled": "True", "confirmation": "by_risk"}
        assert told["after"] == {"enabled": "False", "confirmation": "always"}

    @pytest.mark.parametrize("switches", [{"risk": "odd"}, {"confirmation": "sometimes"}, {"enabled": "perhaps"}])
    def test_a_value_that_is_none_is_refused(self, switches):
        define()

        with pytest.raises(ValidationError):
            registry.switch(Tool.objects.get(), by=Someone, **switches)
        assert spec("pay").enabled

    def test_a_new_definition_leaves_them_to_the_operator(self):
        define(risk=Risk.HIGH)
        registry.switch(Tool.objects.get(), by=Someone, risk=Risk.LOW, enabled=False)

        define(description="Pay now.", risk=Risk.CRITICAL)

        assert (spec("pay").risk, spec("pay").enabled) == (Risk.LOW, False)


def test_specs_are_one_query_however_many(django_assert_num_queries):
    for name in "abc":
        define(name)

    with django_assert_num_queries(1):
        registry.specs(["a", "b", "c", "ask_human"])


def test_a_platform_tool_cannot_be_shadowed_by_a_row():
    version = define()
    Tool.objects.filter(pk=version.tool_id).update(name="ask_human")

    assert spec("ask_human").executor == ExecutorKind.PLATFORM


class TestConditions:
    @pytest.mark.parametrize(
        ("expression", "arguments", "holds"),
        [
            ("args.amount > 100", {"amount": 101}, True),
            ("args.amount > 100", {"amount": 100}, False),
            ("args.amount > 100.0", {"amount": 101}, True),
            ("args.to.endsWith('@example.com')", {"to": "a@example.com"}, True),
            ("has(args.note) && args.note != ''", {}, False),
            ("size(args.items) > 2", {"items": [1, 2, 3]}, True),
        ],
    )
    def test_hold_or_not(self, expression, arguments, holds):
        assert conditions.fault(expression, {"args": {}}) is None
        assert conditions.holds(expression, arguments) is holds

    @pytest.mark.parametrize(
        ("expression", "arguments"),
        [
            ("args.amount > 100", {}),
            ("args.amount > 100", {"amount": "x"}),
            ("args.amount", {"amount": 5}),
            ("1 +", {}),
        ],
    )
    def test_what_cannot_be_evaluated_is_said_and_never_false(self, expression, arguments):
        with pytest.raises(conditions.ConditionFailed):
            conditions.holds(expression, arguments)


def test_the_database_knows_one_version_of_a_number():
    version = define()

    with pytest.raises(IntegrityError, match="tool_version_once"):
        ToolVersion(tool=version.tool, number=version.number, **CONTENT).save()
