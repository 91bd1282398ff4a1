"""What is wrong with a proposal is told to its agent, which goes on; each refusal beside a control that passes."""

import json

import pytest

from agents.models import Transition
from runs import states
from runs.handing_over import proposals
from runs.models import Handoff
from tests.handoffs.cast import clerks, proposal, proposed, transition
from tests.runs import callables  # noqa: F401  registers them
from tests.runs.cast import agent, call, carry_all, decide, request_of, scripts, text, tool

pytestmark = pytest.mark.django_db(transaction=True)

ORDER = {
    "type": "object",
    "properties": {"order": {"type": "integer", "minimum": 1}},
    "required": ["order"],
    "additionalProperties": False,
}
LOOK = call(("look_up", {"order": 7}))
TOLD = text("I was told: {{result:-1}}")


@pytest.fixture(autouse=True)
def cast(model):
    tool("look_up", "tests.echo")
    clerks()


def said_of(ann, *turns):
    """What the clerk reads of its proposal; empty where a person is asked."""
    run = proposed(ann, *turns, TOLD)
    if run.status == states.WAITING:
        return ""
    assert not Handoff.objects.exists()
    return run.output.removeprefix("I was told: ")


# -- the matrix --------------------------------------------------------------------------------------------------
def test_what_the_matrix_forbids_is_not_offered_and_not_accepted(ann, model):
    transition("clerk", "payer", may_hand_over=False)

    told = said_of(ann, proposal())

    offered = next(each for each in model.requests()[0]["tools"] if each["name"] == "propose_handoff")
    assert offered["input_schema"]["properties"]["target"]["enum"] == ["writer"]
    assert "'payer' is not one of ['writer']" in told


def test_control_a_row_that_forbids_nothing_changes_nothing(ann):
    transition("clerk", "payer")

    assert said_of(ann, proposal()) == ""


def test_where_nobody_is_left_it_says_the_way_out(ann):
    transition("", "payer", may_hand_over=False)
    transition("", "writer", may_hand_over=False)

    assert said_of(ann, proposal()) == "You may hand over to nobody now: finish it yourself, or say why you cannot."


def test_a_row_cannot_allow_what_the_manifest_does_not_list(ann):
    agent("stranger")
    transition("clerk", "stranger")

    assert "is not one of" in said_of(ann, proposal(target="stranger"))


# -- the contract ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("state", "fault"),
    [
        (None, "state is missing: payer has to be given one that fits"),
        ({}, "The state is not what payer takes. order is missing."),
        ({"order": "7"}, "The state is not what payer takes. order: '7' is not of type 'integer'."),
        ({"order": 0}, "order: 0 is less than the minimum of 1."),
        ({"order": 7, "colour": "red"}, "colour is not part of what payer takes."),
    ],
)
def test_a_state_that_breaks_the_contract_comes_back_with_what_is_wrong(ann, state, fault):
    transition("", "payer", contract=ORDER)

    assert fault in said_of(ann, proposal(**({} if state is None else {"state": state})))


def test_control_a_state_that_fits_is_passed_on(ann):
    transition("", "payer", contract=ORDER)

    assert said_of(ann, proposal(state={"order": 7})) == ""
    assert Handoff.objects.get().state == {"order": 7}


def test_the_source_may_mend_its_proposal(ann):
    transition("clerk", "payer", contract=ORDER)

    run = proposed(ann, proposal(), proposal(state={"order": 7}))

    assert (run.status, Handoff.objects.get().state) == (states.WAITING, {"order": 7})


def test_the_only_targets_contract_is_the_tools_own_schema(ann, model):
    transition("clerk", "payer", contract=ORDER)
    transition("clerk", "writer", may_hand_over=False)

    told = said_of(ann, proposal(state={"order": "7"}))

    schema = next(each for each in model.requests()[0]["tools"] if each["name"] == "propose_handoff")["input_schema"]
    assert schema["properties"]["state"] == ORDER
    assert "state" in schema["required"]
    assert "state.order: '7' is not of type 'integer'" in told


def test_of_several_targets_each_contract_is_told_in_words(ann, model):
    transition("clerk", "payer", contract=ORDER)

    said_of(ann, proposal(state={"order": 7}))

    schema = next(each for each in model.requests()[0]["tools"] if each["name"] == "propose_handoff")["input_schema"]
    assert f"for payer it fits {json.dumps(ORDER)}"[:30] in schema["properties"]["state"]["description"]
    assert "state" not in schema["required"]


@pytest.mark.parametrize(("length", "is_refused"), [(proposals.MOST_STATE_BYTES, True), (1000, False)])
def test_a_state_is_no_place_for_payloads(ann, length, is_refused):
    clerks(limits={"tokens_per_call": 8000})

    told = said_of(ann, proposal(state={"letter": "x" * length}))

    assert ("keep what is long as an artifact" in told) == is_refused


def test_the_contract_bites_at_the_very_next_call(ann, bob):
    """Forbidden and bound by rows that were saved after the run began."""
    run = proposed(ann, LOOK, proposal(), guided=[proposal(), TOLD])
    Transition.objects.all().delete()
    transition("clerk", "payer", contract=ORDER)

    decide(request_of(run), bob, "answered", answer="Say the order.")
    run = carry_all(run)

    assert "state is missing" in run.output


# -- steps -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("steps", "fault"),
    [
        (None, "Say in steps which of your answers payer is to read; you have given 2, and 1 is the first."),
        ([3], "steps: you have given 2 answers so far, and there is no 3."),
    ],
)
def test_selective_wants_answers_that_there_are(ann, steps, fault):
    transition("clerk", "payer", transfer="selective")

    assert said_of(ann, LOOK, proposal(**({"steps": steps} if steps else {}))) == fault


def test_control_the_answers_that_there_are_may_be_chosen(ann):
    transition("clerk", "payer", transfer="selective")

    assert said_of(ann, LOOK, proposal(steps=[1])) == ""


def test_steps_are_nobodys_to_choose_elsewhere(ann):
    transition("clerk", "writer", transfer="selective")  # so that the tool has the field at all

    assert "not yours to choose" in said_of(ann, LOOK, proposal(steps=[1]))


# -- rings and depth ---------------------------------------------------------------------------------------------
def onwards(to):
    """Whoever has it proposes that this agent has it next, and says something where it may not."""
    return [call(("propose_handoff", {"target": to, "reason": "Not mine.", "task": "Do it."})), text("So be it.")]


def ring(ann, bob, **next_ones):
    """Everybody hands it on, everything is accepted; what the last one was told."""
    agent("payer", "propose_handoff", handoff_targets=("writer", "clerk"))
    agent("writer", "propose_handoff", handoff_targets=("payer", "clerk"))
    run = proposed(ann, proposal("Do it."))
    while run.status == states.WAITING:
        decide(
            request_of(run), bob, "modified", edit={"task": scripts(**{k: onwards(v) for k, v in next_ones.items()})}
        )
        run = carry_all(run)
    assert run.output == "So be it."
    return run.dispatches.last().calls.get().result  # type: ignore[union-attr]


def test_an_agent_stands_in_a_chain_no_more_often_than_its_limit(ann, bob):
    told = ring(ann, bob, payer="writer", writer="payer")

    assert told == (
        "payer has had this 2 times already (clerk → payer → writer → payer → writer): "
        "finish it, or hand over to another agent."
    )


def test_control_a_wider_limit_lets_the_same_ring_go_on(ann, bob):
    transition("", "payer", ring_limit=3)

    told = ring(ann, bob, payer="writer", writer="payer")

    assert Handoff.objects.filter(status=states.ACCEPTED).count() == 5
    assert "payer has had this" not in told


def test_a_limit_of_one_forbids_the_way_back(ann, bob):
    transition("", "clerk", ring_limit=1)

    told = ring(ann, bob, payer="clerk")

    assert told.startswith("clerk has had this once already (clerk → payer)")


def test_depth_ends_it_where_rings_do_not(ann, bob):
    for slug in ("payer", "writer"):
        transition("", slug, ring_limit=10)

    told = ring(ann, bob, payer="writer", writer="payer")

    assert Handoff.objects.filter(status=states.ACCEPTED).count() == 5
    assert told.startswith("This run was handed over 5 times already")
