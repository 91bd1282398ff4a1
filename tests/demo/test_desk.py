"""The demo model's decisions, conversation by conversation."""

import pytest

from tests.demo.desk_harness import WARRANTY, Fails, Talk, order_json


def dispatched(text: str, **more) -> dict[str, str]:
    reply = Talk("triage", **more).say(text)
    return {use.name.removeprefix("dispatch_to_"): use.input.get("task", "") for use in reply.tools}


@pytest.mark.parametrize(
    ("text", "owners"),
    [
        ("Where is order 1042?", {"orders"}),
        ("what did I buy in ordr #1O42?", {"orders"}),
        ("Compare 1042 and 1043", {"orders"}),
        ("The vase in 1044 arrived broken, I want my money back", {"orders"}),
        ("refund 20 euros on order 1042", {"refunds"}),
        ("refund 20 euros on order 1042, one glass was chipped", {"orders"}),
        ("cancel 1043 and write to the customer about it", {"changes", "letters"}),
        ("Please send 1043 to 5 Mill Lane, Leeds LS1 4AB", {"changes"}),
        ("don't cancel 1043, just change the address to 5 Mill Lane, Leeds LS1 4AB", {"changes"}),
    ],
)
def test_a_clear_request_goes_to_its_owner(text, owners):
    assert set(dispatched(text)) == owners


def test_a_corrected_number_is_the_only_one_passed_on():
    tasks = dispatched("cancel 1042, sorry, I meant 1043")

    assert tasks["changes"].startswith("Cancel order 1043.")


def test_an_agent_published_a_minute_ago_gets_its_own_subject():
    text = "my toaster from order 1044 broke, is it still under warranty?"

    assert set(dispatched(text, extra_owners={"warranty": WARRANTY})) == {"warranty"}
    assert set(dispatched(text)) == {"orders"}


def test_a_vague_request_is_asked_about_once_and_the_answer_used():
    talk = Talk("triage")

    question = talk.say("Can you sort out 1043 for me?")
    after = talk.answer(question)

    assert [use.name for use in question.tools] == ["ask_human"]
    assert "1043" in question.tools[0].input["question"]
    assert [use.name for use in after.tools] == ["dispatch_to_changes"]
    assert "Cancel order 1043" in after.tools[0].input["task"]


@pytest.mark.parametrize(
    ("answer", "agent"),
    [
        ("I only want to know where the parcel is.", "orders"),
        ("Find out where it is", "orders"),
        ("Answer a question about what was ordered", "orders"),
        ("Cancel it", "changes"),
        ("Change the delivery address", "changes"),
        ("Money back", "orders"),
        ("just tell me when it arrives", "orders"),
    ],
)
def test_an_answer_stands_for_itself_about_the_order_named_before(answer, agent):
    talk = Talk("triage", {"ask_human": answer})
    question = talk.say("There is something about order 1051, could you take care of it?")

    after = talk.answer(question)

    assert [use.name for use in after.tools] == [f"dispatch_to_{agent}"]
    assert "1051" in after.tools[0].input["task"]


@pytest.mark.parametrize("correction", ["sorry, I meant order 1043", "I meant 1043", "no, 1043"])
def test_a_correction_keeps_the_question(correction):
    talk = Talk("triage")
    talk.messages += [
        {"role": "user", "content": "Where is my order 1042?"},
        {"role": "assistant", "content": "Order 1042 is late."},
    ]

    reply = talk.say(correction)

    [dispatch] = reply.tools
    assert dispatch.name == "dispatch_to_orders"
    assert "1043" in dispatch.input["task"]
    assert "where" in dispatch.input["task"].lower()


def test_what_nobody_owns_is_declined_in_words():
    reply = Talk("triage").say("What's the weather like in Manchester?")

    assert not reply.tools
    assert "nothing this desk can help with" in reply.text
    assert "cancel" in reply.text


def test_a_follow_up_with_another_number_asks_the_same_again():
    talk = Talk("triage", answers={"dispatch_to_orders": "It is on its way."})
    talk.finish("Where is order 1042?")

    reply = talk.say("and 1043?")

    assert reply.tools[0].name == "dispatch_to_orders"
    assert "where order 1043 is" in reply.tools[0].input["task"]


def test_a_follow_up_without_a_number_is_about_the_order_named_last():
    talk = Talk("orders")
    talk.finish("What is in order 1042?")

    reply = talk.say("And when does it come?")

    assert {use.input["order_number"] for use in reply.tools} == {1042}


def test_orders_reads_side_by_side_for_a_comparison():
    talk = Talk("orders")

    reply = talk.say("Which is cheaper, 1042 or 1043?")

    assert [(use.name, use.input) for use in reply.tools] == [
        ("get_order", {"order_number": 1042}),
        ("get_order", {"order_number": 1043}),
    ]
    assert "dearer" in talk.answer(reply).text


def test_money_back_is_handed_to_refunds_after_the_order_was_read():
    text, calls = Talk("orders").finish("The teapot in 1044 arrived broken, I want my money back")

    assert [name for name, _ in calls] == ["get_order", "propose_handoff"]
    handoff = calls[1][1]
    assert handoff["target"] == "refunds"
    assert "on order 1044" in handoff["task"]
    assert 0 <= handoff["confidence"] <= 1
    assert "passed this on" in text


def test_what_was_paid_back_already_is_not_proposed_again():
    answers = {"get_order": lambda arguments: order_json(1044, refunded="39.90", refundable="0.00")}

    text, calls = Talk("orders", answers).finish("I want my money back for 1044")

    assert [name for name, _ in calls] == ["get_order"]
    assert "already" in text


def test_a_handoff_becomes_exactly_one_refund():
    _, proposals = Talk("orders").finish("I want 15 euros back on 1044, a mug was chipped")

    text, calls = Talk("refunds").finish("Task: " + proposals[-1][1]["task"])

    refunds = [arguments for name, arguments in calls if name == "refund_payment"]
    assert [(refund["order_number"], refund["amount"], refund["currency"]) for refund in refunds] == [
        (1044, 15.0, "EUR")
    ]
    assert "€15.00" in text


def test_an_artifact_named_in_the_task_is_read_first():
    reply = Talk("refunds").say("Task: Refund 15 euros on order 1044. See artifact:0192ab.")

    assert [(use.name, use.input) for use in reply.tools] == [("artifact_read", {"reference": "artifact:0192ab"})]


@pytest.mark.parametrize(
    ("slug", "tool", "text"),
    [
        ("refunds", "refund_payment", "Refund 20.00 euros on order 1044."),
        ("changes", "cancel_order", "Cancel order 1043."),
        ("changes", "change_address", "Change the address of order 1043 to 5 Mill Lane, Leeds LS1 4AB."),
        ("letters", "send_letter", "Write to the customer of order 1043 that it is late."),
    ],
)
def test_a_rejected_call_is_told_and_not_repeated(slug, tool, text):
    no = "Refused by a person: the customer called and changed her mind."
    answer, calls = Talk(slug, {tool: Fails(no)}).finish(text)

    assert [name for name, _ in calls].count(tool) == 1
    assert "changed her mind" in answer
    assert "a colleague looked at it and decided against it" in answer
    assert "Refused by a person" not in answer


def test_an_order_that_left_is_not_cancelled():
    text, calls = Talk("changes").finish("Cancel order 1044.")

    assert [name for name, _ in calls] == ["get_order"]
    assert "no longer be cancelled" in text


def test_an_unknown_number_is_said_plainly():
    text, _ = Talk("orders").finish("Where is order 9999?")

    assert text == "There is no order 9999 in this shop. Could you check the number?"


def test_a_missing_number_is_looked_up_by_mail_address():
    found = {
        "orders": [{"order_number": 1043, "status": "processing", "placed_on": "2026-11-18", "products": ["Desk fan"]}],
        "more": False,
    }

    _, calls = Talk("orders", {"find_orders": found}).finish("Where is my order? My mail is jonas@example.com")

    assert calls[0] == ("find_orders", {"email": "jonas@example.com"})
    assert ("get_order", {"order_number": 1043}) in calls


def test_a_missing_number_that_cannot_be_looked_up_is_asked_for():
    text, calls = Talk("changes").finish("please cancel what I ordered yesterday")

    assert not calls
    assert "number" in text


def test_more_than_is_refundable_is_not_paid():
    text, calls = Talk("refunds").finish("Refund 900.00 euros on order 1044.")

    assert "refund_payment" not in [name for name, _ in calls]
    assert "more than" in text


def test_a_letter_goes_to_the_orders_customer():
    _, calls = Talk("letters").finish("Write to the customer of order 1042 that the parcel will be two days late.")

    letter = dict(calls)["send_letter"]
    assert letter["to"] == order_json(1042)["customer"]["email"]
    assert "1042" in letter["subject"]
    assert "two days late" in letter["body"]


def test_a_changed_call_is_reported_as_it_ran():
    """A person may have changed the amount: the result counts, not what was asked."""
    paid = {"order_number": 1044, "amount": "10.00", "refund_id": "rf_9", "status": "paid back"}

    text, _ = Talk("refunds", {"refund_payment": paid}).finish("Refund 20.00 euros on order 1044.")

    assert "€10.00" in text
    assert "€20.00" not in text
