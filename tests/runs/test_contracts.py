"""Output contracts: an answer that is not what was agreed goes back to its agent, and ends it when it is so again."""

import json

import pytest

from runs import contracts, engine, states
from runs.models import Dispatch, Message
from runs.states import StopReason
from runs.values import Ended
from tests.runs.cast import agent, call, carry_all, claim, event_types, events_of, script, start, text, tool

pytestmark = pytest.mark.django_db(transaction=True)

VERDICT = {
    "type": "object",
    "properties": {"verdict": {"enum": ["late", "on time"]}, "days": {"type": "integer", "minimum": 0}},
    "required": ["verdict"],
    "additionalProperties": False,
}
GOOD = '{"verdict": "late", "days": 3}'


def answer(*answers, **changes):
    """The script of an agent that answers so, one after another."""
    return script(*map(text, answers))


class TestFaults:
    @pytest.mark.parametrize(
        ("said", "faults"),
        [
            (GOOD, []),
            (" \n" + GOOD + "\n", []),
            ('{"days": 3}', ["verdict is missing."]),
            ('{"verdict": "late", "days": -1}', ["days: -1 is less than the minimum of 0."]),
            ('{"verdict": "late", "why": ""}', ["why is not part of the agreed form."]),
            ("[]", ["answer: [] is not of type 'object'."]),
        ],
    )
    def test_each_names_its_field(self, said, faults):
        assert contracts.faults(VERDICT, said) == faults

    @pytest.mark.parametrize("said", ["", "It is late.", f"```json\n{GOOD}\n```", '{"days": NaN}', "[" * 100_000])
    def test_what_is_no_json_alone(self, said):
        (fault,) = contracts.faults(VERDICT, said)

        assert fault.startswith("The answer is not JSON alone: ")

    def test_a_schema_that_points_elsewhere_is_never_fetched(self):
        (fault,) = contracts.faults({"$ref": "http://127.0.0.1:9/schema"}, "{}")

        assert "'http://127.0.0.1:9/schema', which is not part of it" in fault


class TestOfAManifest:
    @pytest.fixture(autouse=True)
    def desk(self, model):
        agent(output_schema=VERDICT)

    def test_an_answer_that_fits_is_the_end_at_once(self, model, ann):
        run = carry_all(start(ann, answer(GOOD)))

        assert (run.status, run.output, model.count()) == (states.SUCCEEDED, GOOD, 1)

    def test_the_provider_is_asked_to_hold_the_answer_to_what_it_can_hold_it_to(self, model, ann):
        carry_all(start(ann, answer(GOOD)))

        (request,) = model.requests()
        told = request["output_config"]["format"]
        assert told["type"] == "json_schema"
        assert told["schema"]["required"] == ["verdict"]
        days = told["schema"]["properties"]["days"]
        assert "minimum" not in days
        assert "minimum: 0" in days["description"]

    def test_one_that_does_not_fit_goes_back_with_what_is_wrong(self, model, ann):
        run = carry_all(start(ann, answer('{"days": -1}', GOOD)))

        assert (run.status, run.output, model.count()) == (states.SUCCEEDED, GOOD, 2)
        *_, said, returned = model.requests()[-1]["messages"]
        assert said["content"] == [{"type": "text", "text": '{"days": -1}'}]
        (block,) = returned["content"]
        assert block["text"].startswith("Message from the platform:\nYour answer is not what was agreed:\n- ")
        assert "- days: -1 is less than the minimum of 0.\n- verdict is missing." in "\n".join(
            sorted(block["text"].splitlines())
        )
        assert json.loads(block["text"].partition("of this schema:\n")[2]) == VERDICT
        (told,) = events_of(run, "answer_returned")
        assert told["step"] == 1

    def test_twice_ends_it_with_the_faults_and_the_answer_as_it_was(self, model, ann):
        run = carry_all(start(ann, answer("It is late.", "Late, I said.", GOOD)))

        dispatch = run.dispatches.get()
        assert (run.status, run.stop_reason) == (states.FAILED, StopReason.CONTRACT_VIOLATED)
        assert dispatch.message.startswith("Its answer is not what was agreed. The answer is not JSON alone: ")
        assert (dispatch.output, model.count()) == ("Late, I said.", 2)

    def test_control_without_a_contract_any_text_will_do(self, model, ann):
        agent("poet")

        run = carry_all(start(ann, answer("It is late."), agent="poet"))

        assert (run.status, run.output) == (states.SUCCEEDED, "It is late.")
        assert "output_config" not in model.requests()[-1]

    def test_who_takes_over_after_a_return_goes_on_with_it(self, model, ann):
        """Each turn by a loop of its own: how often it went back stands in the rows."""
        run = start(ann, answer("No.", "No!", GOOD))
        lease = claim(run)
        while not isinstance(ended := engine.advance(lease), Ended):
            pass

        assert ended.reason == StopReason.CONTRACT_VIOLATED
        assert Message.objects.get().step == 2

    def test_an_answer_that_was_cut_off_ends_as_that(self, model, ann):
        run = carry_all(start(ann, script(text('{"verdict"') | {"stop_reason": "max_tokens"})))

        assert run.stop_reason == StopReason.MAX_TOKENS
        assert "answer_returned" not in event_types(run)

    def test_calls_between_a_return_and_the_next_answer(self, model, ann):
        tool("echo", "tests.echo")
        agent("looker", "echo", output_schema=VERDICT)
        turns = [text("No."), call(("echo", {})), text(GOOD)]

        run = carry_all(start(ann, script(*turns), agent="looker"))

        assert (run.output, model.count()) == (GOOD, 3)


class TestOfANode:
    """By its terms, which stand in for the manifest's."""

    @pytest.fixture(autouse=True)
    def even(self, model):
        agent(output_schema=VERDICT)
        contracts.register("tests.even", lambda dispatch, value: [] if value % 2 == 0 else [f"{value} is odd."])
        yield
        contracts._rules.pop("tests.even")

    def bound(self, ann, said, **contract):
        run = start(ann, answer(*said))
        Dispatch.objects.filter(run=run).update(terms={"contract": {"schema": {"type": "integer"}} | contract})
        return carry_all(run)

    def test_it_comes_before_the_manifests(self, ann):
        assert self.bound(ann, ["4"]).output == "4"

    def test_rules_beyond_the_schema(self, model, ann):
        run = self.bound(ann, ["3", "4"], rules="tests.even")

        assert run.output == "4"
        assert "- 3 is odd." in model.requests()[-1]["messages"][-1]["content"][0]["text"]

    @pytest.mark.parametrize(("returns", "asked"), [(0, 1), (1, 2), (3, 4)])
    def test_how_often_it_is_returned(self, model, ann, returns, asked):
        run = self.bound(ann, ["1", "3", "5", "7", "9"], rules="tests.even", returns=returns)

        assert (run.stop_reason, model.count()) == (StopReason.CONTRACT_VIOLATED, asked)
