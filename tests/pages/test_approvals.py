"""The queue and its cards: what is shown, and what becomes of a posted form."""

import json
from decimal import Decimal

import pytest
from django.db import connection
from django.urls import reverse

from agents.values import AgentKind
from approvals import batches, states
from approvals.models import ApprovalRequest
from runs import states as run_states
from runs.models import Run
from tests.budgets.cast import budget
from tests.pages.conftest import ASKED, asks_to_pay_back
from tests.runs.cast import agent, call, carry_all, decide, only_call, request_of, script, scripts, start, text, tool
from tools.values import Effect, Risk

pytestmark = pytest.mark.django_db(transaction=True)


def post(client, request, verdict, **fields):
    posted = {"verdict": verdict, "digest": request.digest, "origin": "queue", "show": "mine"} | fields
    return client.post(reverse("approvals:decide", args=[request.pk]), posted)


def run_of(request):
    return Run.objects.get(pk=request.run_id)


EDIT = {"edit:integer:order_number": "1042", "edit:number:amount": "20", "edit:long?:reason": "Half of it."}


def test_the_card_says_what_would_be_done_why_and_bound_to_what(at, asked, alice):
    html = at(alice).get(reverse("approvals:queue")).content.decode()

    for said in (
        "Pay back",
        "49.5",
        "It arrived broken.",
        "The photo shows the crack.",
        "The risk of this call is high",
    ):
        assert said in html
    assert asked.digest[:12] in html
    assert "keyed effect" in html
    assert "started by shop" in html


def asks_to_pay_into_an_account_from_a_letter(app):
    """The account stands in the letter alone, the sum in the request."""
    tool("read_letter", "tests.blob", brings=("untrusted",))
    schema = {"type": "object", "properties": {"iban": {"type": "string"}, "sum": {"type": "integer"}}}
    sinks = {"iban": {"kind": "destination"}, "sum": {"kind": "amount"}}
    tool("pay", "tests.pay_back", Effect.KEYED, Risk.LOW, input_schema=schema, sinks=sinks, family="payments")
    agent("desk", "read_letter", "pay")
    pays = call(("pay", {"iban": "{{result:1}}", "sum": 120}), say="The letter says where to.")
    played = script(call(("read_letter", {"n": 1, "size": 22})), pays, text("Done."))
    return carry_all(start(app, f"Pay what the letter says, 120 in all. {played}", agent="desk"))


def test_an_argument_that_nobody_vouches_for_says_where_it_comes_from(at, model, app, alice):
    asked = request_of(asks_to_pay_into_an_account_from_a_letter(app))

    html = at(alice).get(reverse("approvals:page", args=[asked.pk])).content.decode()

    assert html.count('class="remarked"') == 1
    assert "First appeared in the result of read_letter, step 1" in html
    assert "“iban” first appeared in the result of read_letter, step 1." in html


def test_what_a_person_has_written_instead_bears_no_such_remark(at, model, app, alice):
    asked = request_of(asks_to_pay_into_an_account_from_a_letter(app))

    post(at(alice), asked, "modified", **{"edit:text?:iban": "DE89370400440532013000", "edit:integer?:sum": "120"})

    html = at(alice).get(reverse("approvals:page", args=[asked.pk])).content.decode()
    assert 'class="remarked"' not in html


def test_what_a_persons_edit_leaves_as_it_was_keeps_its_remark(at, model, app, alice):
    asked = request_of(asks_to_pay_into_an_account_from_a_letter(app))

    post(
        at(alice),
        asked,
        "modified",
        **{"edit:text?:iban": asked.content["arguments"]["iban"], "edit:integer?:sum": "1"},
    )

    html = at(alice).get(reverse("approvals:page", args=[asked.pk])).content.decode()
    assert "What runs, as edited" in html
    assert html.count('class="remarked"') == 1
    assert "First appeared in the result of read_letter, step 1" in html


def test_a_run_says_how_a_call_was_ruled_before_a_persons_edit(at, asked, alice):
    post(at(alice), asked, "modified", **EDIT | {"edit:number:amount": "12"})

    page = at(alice).get(reverse("runs:page", args=[asked.run_id])).content.decode()

    assert page.count("Before the edit") == 1
    assert asked.reasons[0] in page.partition("Before the edit")[2].partition("</p>")[0]


def test_approving_selects_the_next_in_the_queue(at, asked, app, alice):
    following = request_of(asks_to_pay_back(app, amount=10))

    response = post(at(alice), asked, "approved")

    assert response.url == f"{reverse('approvals:queue')}?show=mine&selected={following.pk}"
    asked.refresh_from_db()
    assert (asked.status, asked.decision.by, asked.decision.via) == (states.APPROVED, alice, "session")


def test_the_last_of_the_queue_selects_the_one_above(at, asked, app, alice):
    last = request_of(asks_to_pay_back(app, amount=10))

    assert str(asked.pk) in post(at(alice), last, "approved").url


def test_getting_never_decides(at, asked, alice):
    response = at(alice).get(reverse("approvals:decide", args=[asked.pk]), {"verdict": "approved"})

    assert response.status_code == 405
    asked.refresh_from_db()
    assert asked.status == states.OPEN


def test_a_digest_that_was_not_shown_decides_nothing(at, asked, alice):
    response = post(at(alice), asked, "approved", digest="0" * 64)

    assert response.status_code == 409
    assert "What you saw is not what is asked" in response.content.decode()
    asked.refresh_from_db()
    assert asked.status == states.OPEN


def test_who_comes_second_is_told_kindly_who_was_first(at, asked, olga, alice):
    decide(asked, olga)

    response = post(at(alice), asked, "approved")

    assert response.status_code == 409
    assert "Olga approved this just now. Your decision was not needed" in response.content.decode()


def test_rejecting_takes_a_reason_and_keeps_the_form_open(at, asked, alice):
    response = post(at(alice), asked, "rejected")

    assert response.status_code == 422
    assert "Say why you reject it" in response.content.decode()
    assert f'id="reject-{asked.pk}" data-act="r" open' in response.content.decode()


def test_rejecting_and_stopping_ends_the_agents_part(at, asked, alice):
    post(at(alice), asked, "rejected", reason="No photo was sent.", stop="yes")

    run = carry_all(run_of(asked))
    assert run.status == run_states.FAILED
    assert run.stop_reason == "rejected"


def test_an_edit_is_read_by_the_types_of_its_fields(at, asked, alice):
    post(at(alice), asked, "modified", **EDIT, **{"edit:boolean?:is_gift": "true", "edit:json?:address": ""})

    arguments = json.loads(only_call(run_of(asked)).arguments)
    assert arguments == {"order_number": 1042, "amount": 20, "reason": "Half of it.", "is_gift": True}
    asked.refresh_from_db()
    assert asked.status == states.MODIFIED


def test_a_field_that_cannot_be_read_keeps_all_that_was_typed(at, asked, alice):
    response = post(at(alice), asked, "modified", **EDIT | {"edit:number:amount": "twenty"})

    html = response.content.decode()
    assert response.status_code == 422
    assert "&#x27;twenty&#x27; is not a number" in html
    assert 'value="twenty"' in html


def test_an_edit_the_schema_refuses_keeps_all_that_was_typed(at, asked, alice):
    html = post(at(alice), asked, "modified", **EDIT | {"edit:number:amount": "5000"}).content.decode()

    assert "amount: 5000 is greater than the maximum of 1000" in html
    assert 'value="5000"' in html
    assert f'id="edit-{asked.pk}" data-act="e" open' in html


def test_the_edit_form_has_a_field_for_each_argument_of_the_schema(at, asked, alice):
    html = at(alice).get(reverse("approvals:page", args=[asked.pk])).content.decode()

    for name in ("integer:order_number", "number:amount", "long:reason", "json?:address", "boolean?:is_gift"):
        assert f'name="edit:{name}"' in html
    assert f'value="{ASKED["amount"]}"' in html


def test_an_answer_stands_in_the_tools_place(at, asked, alice):
    post(at(alice), asked, "answered", answer="It was paid back by hand.")

    assert only_call(run_of(asked)).result == "It was paid back by hand."


def test_who_may_not_decide_reads_why(at, asked, app):
    html = at(app).get(reverse("approvals:page", args=[asked.pk])).content.decode()

    assert "You do not have the permission to decide approval requests." in html
    assert 'value="approved"' not in html


def test_deciding_on_the_runs_page_comes_back_to_it(at, asked, alice):
    page = reverse("runs:page", args=[asked.run_id])

    assert f'id="request-{asked.pk}"' in at(alice).get(page).content.decode()
    assert post(at(alice), asked, "approved", origin="run", back=page).url == page
    assert post(at(alice), asked, "approved", origin="run", back="https://evil.example/").status_code == 409


def test_no_page_sends_a_person_to_another_host(at, asked, alice):
    response = post(at(alice), asked, "approved", origin="run", back="https://evil.example/")

    assert response.url == reverse("approvals:page", args=[asked.pk])


def test_a_question_offers_its_candidates_to_who_asked(at, model, app):
    agent("worker", "ask_human")
    question = ("ask_human", {"question": "Which order?", "candidates": ["1042", "1043"]})
    run = carry_all(start(app, script(call(question), text("Thank you."))))
    request = request_of(run)

    html = at(app).get(reverse("runs:page", args=[run.pk])).content.decode()
    post(at(app), request, "answered", answer="1043", origin="run")

    assert 'name="answer" value="1043"' in html
    assert only_call(run).result == "1043"


def test_a_handoff_shows_its_edge_and_its_task_can_be_reworded(at, model, app, alice):
    agent("refunds")
    agent("worker", "propose_handoff", handoff_targets=("refunds",))
    proposal = {
        "target": "refunds",
        "reason": "Money is theirs.",
        "task": "Pay back 60.",
        "preconditions": ["It was paid."],
        "confidence": 0.8,
    }
    turns = {"worker": [call(("propose_handoff", proposal))], "refunds": [text("Paid.")]}
    run = carry_all(start(app, scripts(**turns)))
    request = ApprovalRequest.objects.get(run_id=run.pk)

    html = at(alice).get(reverse("approvals:queue")).content.decode()
    post(at(alice), request, "modified", **{"edit:long:task": "Pay back 30."})

    for said in ("Worker", "Refunds", "Pay back 60.", "It was paid.", "fairly sure", "Money is theirs."):
        assert said in html
    assert run.dispatches.get(origin="handoff").task == "Pay back 30."


def test_a_budget_can_be_raised_by_another_amount(at, model, app, alice):
    agent("worker")
    run = carry_all(start(app, script(text("Done.")), budget_usd=Decimal("0.0001")))
    request = request_of(run)

    html = at(alice).get(reverse("approvals:queue")).content.decode()
    post(at(alice), request, "modified", **{"edit:text:amount_usd": "0.75"})

    assert "the budget of the whole run" in html
    run.account.refresh_from_db()
    assert run.account.cap_usd > 0.75


def test_what_nobody_in_particular_asked_for_names_nobody(at, model, app, olga):
    agent("worker")
    budget("agent", agent="worker", cap="0.001")
    asked = request_of(carry_all(start(app, script(text("Hello.")))))

    for url in (reverse("approvals:page", args=[asked.pk]), reverse("approvals:queue")):
        html = at(olga).get(url).content.decode()
        assert "The platform asks in" in html
        assert "started by" not in html
    assert '<span class="row-foot"><time' in html


def test_when_no_model_answers_a_person_reads_what_each_said_and_tries_again(at, unanswered, alice):
    html = at(alice).get(reverse("approvals:queue")).content.decode()
    post(at(alice), unanswered, "approved")
    unanswered.refresh_from_db()

    for said in ("No model answers worker. Try again now?", "Overloaded: all of our servers", "scripted", "10 tries"):
        assert said in html
    assert ("model: claude-spare-1" in html, "1 try<" in html) == (True, True)
    assert unanswered.status == states.APPROVED
    assert run_of(unanswered).status == run_states.WORKING


def test_giving_up_on_the_models_takes_a_reason_and_ends_the_run(at, unanswered, alice):
    post(at(alice), unanswered, "rejected", reason="The provider is down all night.")

    ended = run_of(unanswered)
    assert (ended.status, ended.stop_reason) == (run_states.FAILED, "model_failed")
    assert "The provider is down all night." in ended.output


def test_a_router_that_stays_unsure_lets_a_person_choose(at, model, olga):
    agent("orders")
    agent("triage", "ask_human", kind=AgentKind.ROUTER)
    question = ("ask_human", {"question": "What is it about?"})
    run = start(
        olga, scripts(triage=[call(question), call(question), text("x")], orders=[text("Yours.")]), agent="triage"
    )
    carry_all(run)
    decide(request_of(run), olga, "answered", answer="something")
    carry_all(run)
    request = request_of(run)

    html = at(olga).get(reverse("approvals:queue")).content.decode()
    post(at(olga), request, "answered", answer="orders")
    carry_all(run)

    assert "the work of orders" in html
    assert run.dispatches.filter(manifest__agent__slug="orders").exists()


def test_the_parts_are_the_same_as_on_the_page(at, asked, alice):
    part = at(alice).get(reverse("approvals:queue"), {"part": "1"}).content.decode()

    assert "<html" not in part
    assert 'data-part="queue"' in part
    assert 'data-part="nav"' in part
    assert str(asked.pk) in part


def test_the_card_on_the_screen_stays_when_more_urgent_ones_arrive(at, asked, app, alice, desk):
    tool("pay_back_much", "tests.pay_back", Effect.KEYED, Risk.CRITICAL)
    agent("rich", "pay_back_much")
    carry_all(start(app, script(call(("pay_back_much", {}))), agent="rich"))

    html = at(alice).get(reverse("approvals:queue"), {"part": "1", "keep": str(asked.pk)}).content.decode()

    assert f'data-selected="{asked.pk}"' in html


@pytest.mark.parametrize(("show", "queries"), [("mine", 11), ("open", 11), ("decided", 11)])
def test_the_queue_costs_the_same_however_long_it_is(at, asked, app, alice, show, queries, django_assert_num_queries):
    client, url = at(alice), f"{reverse('approvals:queue')}?show={show}"
    for amount in range(1, 6):
        request = request_of(asks_to_pay_back(app, amount=amount))
        if show == "decided":
            decide(request, alice)

    with django_assert_num_queries(queries):
        client.get(url)


def test_whose_a_run_is_can_be_said_on_its_page(at, model, app):
    """No router is at work, and nothing is known of likeness yet: everybody is offered with what they own."""
    agent("orders")
    agent("refunds")
    run = start(app, script(text("Done.")), agent=None)
    request = request_of(run)

    html = at(app).get(reverse("runs:page", args=[run.pk])).content.decode()
    post(at(app), request, "answered", answer="refunds", origin="run")

    assert f'id="request-{request.pk}"' in html
    assert 'value="orders"><b>orders</b><span>the work of orders</span>' in html
    assert "Something else: say what it is about" in html
    assert carry_all(run).dispatches.get().manifest.agent.slug == "refunds"


def test_a_person_who_routes_reads_what_was_answered(at, model, app, alice):
    agent("orders")
    agent("refunds")
    run = start(app, "It is broken.", agent=None)
    post(at(app), request_of(run), "answered", answer="my gloves")

    html = at(alice).get(reverse("approvals:queue")).content.decode()

    for said in ("It is broken.", "Asked what it is about, they said: “my gloves”", "the work of orders"):
        assert said in html


@pytest.fixture
def together(desk, app):
    """Three refunds of one turn, asked about at once; the first of them."""
    calls = [
        ("pay_back", ASKED | {"order_number": n, "amount": amount}) for n, amount in ((1, 10), (2, 12.5), (3, 400))
    ]
    carry_all(start(app, script(call(*calls), text("Paid back."))))
    return ApprovalRequest.objects.open().order_by("place").first()


def whole(request):
    return batches.digest(batches.members(request))


def test_calls_alike_stand_in_the_queue_once_with_their_differences(at, together, alice):
    html = at(alice).get(reverse("approvals:queue")).content.decode()

    assert html.count('data-item="') == 1
    for said in (
        "3 × Pay back",
        "Approve all 3",
        "The same in all of them",
        "It arrived broken.",
        "36 times what is usual among the others",
        "422.5",
        whole(together)[:12],
    ):
        assert said in html, said
    assert '<span class="count">1</span>' in html
    assert html.index("<th>Order number</th>") < html.index("<th>Amount</th>")  # as the schema requires them
    assert "<th>Risk</th>" not in html  # the same for all


def test_calls_alike_of_other_risks_say_so_each(at, together, alice):
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE approvals_approvalrequest DISABLE TRIGGER approvals_request_frozen")
        cursor.execute("UPDATE approvals_approvalrequest SET risk = 'critical' WHERE id = %s", [together.pk])
        cursor.execute("ALTER TABLE approvals_approvalrequest ENABLE TRIGGER approvals_request_frozen")

    assert "<th>Risk</th>" in at(alice).get(reverse("approvals:queue")).content.decode()


def test_one_yes_on_the_page_decides_all_of_them(at, together, alice):
    post(at(alice), together, "approved", digest=whole(together))

    assert set(ApprovalRequest.objects.values_list("status", flat=True)) == {states.APPROVED}


def test_decided_one_by_one_each_has_its_own_line(at, together, alice):
    client = at(alice)
    client.post(reverse("approvals:split", args=[together.pk]), {"origin": "queue", "show": "mine"})

    html = client.get(reverse("approvals:queue")).content.decode()

    assert html.count('data-item="') == 3
    assert "Approve all" not in html


def test_one_of_them_can_be_looked_at_and_decided_alone(at, together, alice):
    html = at(alice).get(reverse("approvals:page", args=[together.pk]), {"alone": "1"}).content.decode()

    assert "It is asked together with 2 alike." in html
    assert f'name="digest" value="{together.digest}"' in html
    assert 'value="modified"' in html


def test_who_may_not_decide_takes_nothing_apart(at, together, app):
    response = at(app).post(reverse("approvals:split", args=[together.pk]), {"origin": "page"})

    assert response.status_code == 403
    assert len(batches.members(together)) == 3


def test_the_runs_page_asks_once_too(at, together, alice):
    html = at(alice).get(reverse("runs:page", args=[together.run_id])).content.decode()

    assert html.count("Approve all 3") == 1
    assert html.count("asked together with 2 alike") == 2


def test_several_people_are_shown_on_the_card_and_in_the_queue(at, desk, app, alice, olga):
    old = request_of(asks_to_pay_back(app))
    with connection.cursor() as cursor:  # no rule of the built-in policy asks for two
        cursor.execute("ALTER TABLE approvals_approvalrequest DISABLE TRIGGER approvals_request_frozen")
        cursor.execute("UPDATE approvals_approvalrequest SET approvers = 2")
        cursor.execute("ALTER TABLE approvals_approvalrequest ENABLE TRIGGER approvals_request_frozen")
    request = ApprovalRequest.objects.get(pk=old.pk)
    post(at(olga), request, "approved")

    html = at(alice).get(reverse("approvals:queue")).content.decode()

    assert html.count("1 of 2 approved") == 2
    assert "Olga</b> approved at" in html
    post(at(alice), request, "approved")
    request.refresh_from_db()
    assert request.status == states.APPROVED
