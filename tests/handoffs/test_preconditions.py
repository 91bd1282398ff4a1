"""Preconditions: sentences, and conditions over the run's facts, looked at when it is asked and when it is decided."""

import pytest

from approvals.errors import InvalidVerdict, OverrideNeeded, ReasonNeeded
from approvals.models import Decision
from runs import artifacts, states
from runs.handing_over import facts, preconditions
from tests.handoffs.cast import clerks, handoff, proposal, proposed
from tests.runs import callables  # noqa: F401  registers them
from tests.runs.cast import carry_all, decide, events_of, request_of, script, start, text, tool

pytestmark = pytest.mark.django_db(transaction=True)

STATE = {"order": 7, "amount": 5}


@pytest.fixture(autouse=True)
def cast(model):
    tool("look_up", "tests.echo")
    clerks()


def check(condition, says="It holds."):
    return {"says": says, "check": condition}


def asked(ann, *listed, **more):
    return proposed(ann, proposal(preconditions=list(listed), state=STATE, confidence=0.8), **more)


def outcomes(run):
    return [(each["says"], each["outcome"]) for each in request_of(run).content["preconditions"]]


def test_each_is_shown_as_it_is(ann):
    run = asked(
        ann,
        "The customer is known.",
        check("handoff.state.amount <= 50", "It is little money."),
        check("handoff.state.amount > 50", "It is much money."),
        check("handoff.state.colour == 'red'", "It is red."),
    )

    assert outcomes(run) == [
        ("The customer is known.", "said"),
        ("It is little money.", "green"),
        ("It is much money.", "red"),
        ("It is red.", "unknown"),
    ]
    assert request_of(run).content["preconditions"][3]["why"] == "there is no 'colour' among the facts"


@pytest.mark.parametrize(
    "condition",
    [
        "run.input.contains('script') && run.source == 'api'",
        "run.metadata.channel == 'mail'",
        "run.owner.username == 'ann' && !run.owner.is_app && size(run.owner.roles) == 0",
        "run.cost_usd > 0.0 && run.cost_usd < 1 && run.tokens > 0",
        "run.agents == ['clerk']",
        "artifacts.count == 1 && 'receipt' in artifacts.names",
        "handoff.source == 'clerk' && handoff.target == 'payer' && handoff.task.startsWith('Pay 5')",
        "handoff.state.order == 7 && handoff.confidence >= 0.7 && handoff.artifacts == 0",
    ],
)
def test_a_condition_may_ask_for(ann, condition):
    run = start(ann, "to be scripted", agent="clerk", metadata={"channel": "mail"})
    artifacts.keep(run.dispatches.get(), "receipt", b"order 7 cost 5")
    turn = proposal(preconditions=[check(condition)], state=STATE, confidence=0.8)
    run.dispatches.update(task=script(turn))
    type(run).objects.filter(pk=run.pk).update(input="the script")

    assert outcomes(carry_all(run)) == [("It holds.", "green")]


def test_a_condition_may_ask_for_what_nodes_before_came_to(ann):
    nodes = [
        {"key": "read", "agent": "payer", "task": script(text("49 is left."))},
        {"key": "ask", "agent": "clerk", "task": "", "depends_on": ["read"]},
    ]
    nodes[1]["task"] = script(  # type: ignore[index]
        proposal(preconditions=[check("results.read.text.contains('49') && results.read.status == 'succeeded'")])
    )

    run = carry_all(start(ann, "The request.", agent=None, plan={"nodes": nodes}))

    assert outcomes(run) == [("It holds.", "green")]


def test_every_fact_there_is_is_in_the_sample(ann):
    asked(ann)

    of = facts.of(handoff())

    assert {name: sorted(each) for name, each in of.items() if name != "results"} == {
        name: sorted(each) for name, each in facts.SAMPLE.items() if name != "results"
    }


@pytest.mark.parametrize(
    ("condition", "fault"),
    [
        ("handoff.state.amount <", "cannot be evaluated"),
        ("budget > 3", "there is no 'budget': a condition may ask for artifacts, handoff, results, run"),
        ("run.tokens", "not true or false"),
    ],
)
def test_one_that_can_never_be_evaluated_comes_back_to_its_agent(ann, condition, fault):
    turns = [proposal(preconditions=[check(condition)]), text("{{result:1}}")]

    run = proposed(ann, *turns)

    assert run.status == states.SUCCEEDED
    assert "The check of 'It holds.' cannot be evaluated" in run.output
    assert fault in run.output


# -- what they permit --------------------------------------------------------------------------------------------
RED, UNKNOWN = check("handoff.state.amount > 50"), check("handoff.state.colour == 'red'")


@pytest.mark.parametrize(("listed", "told"), [(RED, "does not hold"), (UNKNOWN, "could not be evaluated: there is no")])
def test_what_is_not_green_blocks_the_yes(ann, bob, listed, told):
    run = asked(ann, listed)

    for verdict, edit in (("approved", None), ("modified", {"task": "Pay."})):
        with pytest.raises(OverrideNeeded, match=f"“It holds.” {told}") as raised:
            decide(request_of(run), bob, verdict, edit=edit)

    assert len(raised.value.obstacles) == 1
    assert (handoff().status, request_of(run).status) == (states.PROPOSED, "open")


def test_a_reason_overrides_it_and_is_recorded(ann, bob):
    run = asked(ann, RED)

    with pytest.raises(ReasonNeeded, match="Say why you permit it"):
        decide(request_of(run), bob, override=True)
    decide(request_of(run), bob, override=True, reason="I asked the customer.")
    run = carry_all(run)

    decision = Decision.objects.get()
    assert (decision.override, decision.reason) == (True, "I asked the customer.")
    assert (handoff().status, run.output) == (states.ACCEPTED, "Paid.")
    assert events_of(run, "approval_decided")[0]["override"] is True


def test_a_reason_alone_overrides_nothing(ann, bob):
    run = asked(ann, RED)

    with pytest.raises(OverrideNeeded):
        decide(request_of(run), bob, reason="Looks good to me.")


@pytest.mark.parametrize("listed", ["A mere sentence.", check("handoff.state.amount == 5")])
def test_control_what_holds_blocks_nothing(ann, bob, listed):
    run = asked(ann, listed)

    decide(request_of(run), bob)

    assert carry_all(run).output == "Paid."
    assert not Decision.objects.get().override


@pytest.mark.parametrize(("verdict", "more"), [("rejected", {"reason": "No."}), ("answered", {"answer": "Wait."})])
def test_a_no_needs_no_override_and_takes_none(ann, bob, verdict, more):
    run = asked(ann, RED)

    with pytest.raises(InvalidVerdict, match="nothing to override"):
        decide(request_of(run), bob, verdict, override=True, **more)
    decide(request_of(run), bob, verdict, **more)

    assert handoff().status == states.DECLINED


def test_they_are_looked_at_again_when_it_is_decided(ann, bob):
    """What was green when it was asked has turned red since, and the other way round."""
    run = asked(ann, check("artifacts.count == 0"))
    other = asked(ann, check("artifacts.count == 1"))
    assert (outcomes(run), outcomes(other)) == ([("It holds.", "green")], [("It holds.", "red")])

    for each in (run, other):
        artifacts.keep(each.dispatches.get(), "late", b"x")

    with pytest.raises(OverrideNeeded):
        decide(request_of(run), bob)
    decide(request_of(other), bob)
    assert handoff().preconditions[0]["outcome"] == "green"


def test_the_task_a_person_wrote_is_what_is_looked_at(ann, bob):
    run = asked(ann, check("handoff.task.startsWith('Pay 5 ')"))

    with pytest.raises(OverrideNeeded):
        decide(request_of(run), bob, "modified", edit={"task": "Pay 500."})


def test_without_conditions_no_fact_is_read(ann, django_assert_num_queries):
    asked(ann, "A mere sentence.")
    shown = handoff()

    with django_assert_num_queries(0):
        assert [each.outcome for each in preconditions.now(shown)] == ["said"]
