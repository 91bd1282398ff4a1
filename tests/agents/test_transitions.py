"""Transitions: rows that forbid, and say how work passes, over what the manifests allow."""

import pytest
from django.core.exceptions import ValidationError

from agents import roster
from agents.models import Agent, Transition
from agents.values import AgentKind, Edge, Transfer
from runs.planning import checking
from runs.planning.checking import NotAPlan, Setting
from tests.runs.cast import agent, model

pytestmark = pytest.mark.django_db

ORDER = {"type": "object", "properties": {"order": {"type": "integer"}}, "required": ["order"]}


@pytest.fixture(autouse=True)
def agents(db):
    model("http://127.0.0.1:1")
    for slug in ("clerk", "payer", "writer"):
        agent(slug)
    for kind in (AgentKind.ROUTER, AgentKind.SUPERVISOR, AgentKind.PLANNER):
        agent(kind.value, kind=kind)


def transition(source, target, **columns):
    found = {each.slug: each for each in Agent.objects.all()}
    return Transition.objects.create(source=found[source] if source else None, target=found[target], **columns)


def edge(source, target):
    return roster.today().edge(source, target)


def test_without_a_row_everything_may_pass_that_the_manifests_allow():
    assert edge("clerk", "payer") == Edge()


@pytest.mark.django_db(transaction=True)
def test_a_saved_and_a_deleted_row_are_in_force_at_once():
    before = roster.database_epoch()

    row = transition("clerk", "payer", may_hand_over=False, transfer="full", deadline_seconds=60, source_watches=True)
    forbidden, epoch = edge("clerk", "payer"), roster.database_epoch()
    row.delete()

    assert forbidden == Edge(may_hand_over=False, transfer=Transfer.FULL, deadline_seconds=60, source_watches=True)
    assert before < epoch < roster.database_epoch()
    assert edge("clerk", "payer") == Edge()


def test_a_row_without_a_source_speaks_of_everybody_and_lends_its_contract():
    transition("", "payer", contract=ORDER, transfer="full", may_dispatch=False)
    transition("clerk", "payer", may_hand_over=False)

    assert edge("writer", "payer") == Edge(contract=ORDER, transfer=Transfer.FULL, may_dispatch=False)
    assert edge("clerk", "payer") == Edge(contract=ORDER, may_hand_over=False, may_dispatch=False)


def test_a_pairs_own_contract_comes_before_the_targets():
    transition("", "payer", contract=ORDER)
    transition("clerk", "payer", contract={"type": "object"})

    assert (edge("clerk", "payer").contract, edge("writer", "payer").contract) == ({"type": "object"}, ORDER)


def test_there_is_one_row_a_pair():
    transition("", "payer")
    transition("clerk", "payer")

    for source in ("", "clerk"):
        with pytest.raises(ValidationError, match="already exists"):
            transition(source, "payer")


@pytest.mark.parametrize(
    ("columns", "field", "sentence"),
    [
        ({"contract": {"type": "objekt"}}, "contract", "not a valid JSON Schema"),
        ({"contract": {"type": "string"}}, "contract", "A state is an object"),
        ({"contract": {"type": "object", "$ref": "https://else.where/x"}}, "contract", "not part of it"),
        ({"transfer": "everything"}, "transfer", "not a valid choice"),
        ({"ring_limit": 0}, "__all__", "transition_ring"),
        ({"deadline_seconds": 0}, "__all__", "transition_deadline"),
    ],
)
def test_a_row_that_cannot_be_kept_names_its_fault(columns, field, sentence):
    with pytest.raises(ValidationError) as raised:
        transition("clerk", "payer", **columns)

    assert list(raised.value.message_dict) == [field]
    assert sentence in raised.value.message_dict[field][0]


def test_whoever_writes_summaries_is_a_worker():
    with pytest.raises(ValidationError, match="router is no published worker"):
        transition("clerk", "payer", transfer="summary", summariser=Agent.objects.get(slug="router"))


@pytest.mark.parametrize("kind", [AgentKind.ROUTER, AgentKind.SUPERVISOR])
def test_a_forbidden_target_is_not_offered_for_dispatch(kind):
    transition(kind.value, "payer", may_dispatch=False)
    served = roster.today()

    offered = {
        each: [tool["name"] for tool in served.dispatch_tools(served.entries[each].spec, each)]
        for each in ("router", "supervisor")
    }

    assert "dispatch_to_payer" not in offered[kind.value]
    assert "dispatch_to_clerk" in offered[kind.value]
    assert sum("dispatch_to_payer" in names for names in offered.values()) == 1


def test_a_planner_may_not_plan_for_whom_operators_keep_from_it():
    transition("planner", "payer", may_dispatch=False)
    plan = {"nodes": [{"key": "a", "agent": "payer", "task": "Pay."}]}

    with pytest.raises(NotAPlan, match=r"nodes\.0\.agent: operators keep work of planner from 'payer'"):
        checking.read_checked(plan, Setting(made_by="planner"))

    assert checking.read_checked(plan, Setting()).nodes  # a person's plan is a person's
    assert checking.read_checked(plan, Setting(made_by="supervisor")).nodes
