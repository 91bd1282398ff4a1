"""Calls that are ruled again before they run: what is kept of each ruling, who is told, how often people are asked."""

import datetime as dt
from typing import Any

import pytest
from django.db.models.functions import Now
from django.test import Client

from approvals.models import ApprovalRequest
from approvals.standing import Terms
from orchestrator_site.core import canonical, roles
from runs import states
from runs.engine import rulings
from runs.models import Attempt, Switch, ToolCall
from runs.pacing import switches
from runs.platform_tools import POST_TO_BOARD
from runs.policies import history
from tests.api import cast as api
from tests.policies.cast import draft, in_force, rule
from tests.runs.cast import (
    agent,
    call,
    carry_all,
    decide,
    event_types,
    events_of,
    go_on,
    only_call,
    request_of,
    script,
    start,
    text,
    tool,
)
from tests.runs.meanwhile import die_before_the_send
from tools.matchers import Matcher
from tools.policies import versions
from tools.policies.values import Window
from tools.values import Effect, Risk

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("model", "ledger")]

AMOUNT = {"type": "object", "properties": {"amount": {"type": "integer"}}}
POST = (POST_TO_BOARD, {"category": "note", "content": "x"})


@pytest.fixture
def pay():
    tool("pay", "tests.effect", Effect.KEYED, Risk.LOW, input_schema=AMOUNT)
    agent("worker", "pay", POST_TO_BOARD)


def ask_for(owner, *calls):
    return carry_all(start(owner, script(call(*calls), text("Done."))))


def payments(*amounts):
    return [("pay", {"amount": each}) for each in amounts]


def later(tool="pay"):
    return rule("later", "defer", tool=tool, window="seldom")


def publish(by, second, *rules):
    weekday = dt.datetime.now(dt.UTC).weekday()
    seldom = Window("seldom", "UTC", frozenset({(weekday + 3) % 7}), dt.time(3), dt.time(3, 1))
    return in_force(*rules, by=by, second=second, windows=[seldom])


def stop(by, tool="pay"):
    switches.throw("tool", tool, by=by, reason="Look first.")


def its_time_has_come(run, by):
    """Of what is stopped, and of what was put off."""
    for switch in Switch.objects.thrown():
        switches.release(switch.scope, switch.name, by=by)
    ToolCall.objects.filter(dispatch__run=run).update(due_at=Now())
    return go_on(run)


# -- what is kept ------------------------------------------------------------------------------------------------
def rulings_of(run):
    """What the run's one call was ruled, each time: read back by the digests that its events tell."""
    ruling = only_call(run).ruling
    kept, told = {rulings.digest(ruling): ruling}, []
    for type in dict.fromkeys(event_types(run)):
        for event in events_of(run, type) if type.startswith("tool_call_") else []:
            told += [event["ruling_digest"]] if "ruling_digest" in event else []
            texts = [canonical.dumps(event[name]) for name in ("ruling", "ruling_before") if name in event]
            kept |= {canonical.digest(each): each for each in texts}
    return [canonical.loads(kept[each]) for each in dict.fromkeys(told)]


def verdicts(run):
    return sorted(each["verdict"] for each in rulings_of(run))


@pytest.mark.parametrize("asked", [payments(7), [POST]], ids=["a tool", "a platform tool"])
@pytest.mark.parametrize("waits", ["stopped", "put off"])
@pytest.mark.parametrize(
    ("outcome", "said", "status"),
    [
        ("deny", "Refuse", states.REFUSED),
        ("ask", "NeedsApproval", states.AWAITING_APPROVAL),
        ("defer", "Defer", states.DEFERRED),
        ("notify", "Allow", states.DONE),
    ],
)
def test_each_ruling_is_kept_whatever_it_says(pay, ann, bob, asked, waits, outcome, said, status):
    name = asked[0][0]
    if waits == "stopped":
        stop(ann, name)
    else:
        publish(ann, bob, later(name))
    run = ask_for(ann, *asked)
    first = canonical.loads(only_call(run).ruling)

    policy = publish(
        ann, bob, rule("today", outcome, tool=name, **({"window": "seldom"} if outcome == "defer" else {}))
    )
    its_time_has_come(run, ann)

    ruled = only_call(run)
    assert ruled.status == status
    assert first in rulings_of(run)
    last = canonical.loads(ruled.ruling)
    assert (last["verdict"], last["facts"]["rule"], last["facts"]["policy"]) == (
        said,
        "today",
        f"policy-{policy.number}",
    )
    assert last in rulings_of(run)
    assert history.newest(1)[0].ruling == last, "what is simulated knows it"


@pytest.mark.parametrize(
    ("outcome", "kept"),
    [("deny", "Refuse"), ("defer", "NeedsApproval"), ("ask", "NeedsApproval")],
)
def test_what_was_approved_and_is_ruled_otherwise_today_keeps_both(ann, bob, outcome, kept):
    """What it was approved by stays with the call for as long as it may run on it."""
    tool("pay", "tests.effect", Effect.KEYED, Risk.HIGH, input_schema=AMOUNT)
    agent("worker", "pay")
    run = ask_for(ann, *payments(7))
    stop(ann)
    decide(request_of(run), bob)
    run = carry_all(run)
    terms: dict[str, dict[str, Any]] = {"defer": {"window": "seldom"}, "ask": {"approvers": 2}}

    publish(ann, bob, rule("today", outcome, tool="pay", **terms.get(outcome, {})))
    run = its_time_has_come(run, ann)

    said = {"deny": "Refuse", "defer": "Defer", "ask": "NeedsApproval"}[outcome]
    assert verdicts(run) == sorted(["NeedsApproval", said])
    assert [each["facts"].get("rule") for each in rulings_of(run)].count("today") == 1
    assert canonical.loads(only_call(run).ruling)["verdict"] == kept
    if outcome == "defer":
        publish(ann, bob)
        its_time_has_come(run, ann)
        assert only_call(run).status == states.DONE


def digests_told(run):
    events = [each for type in dict.fromkeys(event_types(run)) for each in events_of(run, type)]
    return {each["ruling_digest"] for each in events if "ruling_digest" in each}


@pytest.mark.parametrize("risk", [Risk.LOW, Risk.HIGH])
def test_what_a_draft_on_trial_said_is_no_part_of_the_events(bob, risk):
    """An app reads the events of its runs; what is tried is its author's to see, and stands with the call."""
    tool("pay", "tests.effect", Effect.KEYED, risk, input_schema=AMOUNT)
    agent("worker", "pay", POST_TO_BOARD)
    owner, operator = api.person("own", roles.APP), api.person("op", roles.OPERATOR)
    tried = versions.try_live(draft(rule("secret", "ask", tool="pay", says="Hidden."), by=operator), True, by=operator)
    stop(operator)
    run = ask_for(owner, *payments(7))
    if risk == Risk.HIGH:
        decide(request_of(run), bob)
        run = carry_all(run)
    publish(operator, bob, rule("today", "deny", tool="pay"))
    run = its_time_has_come(run, operator)

    shadows = canonical.loads(only_call(run).ruling)["facts"]["shadows"]
    read = api.caller(owner).get(f"/runs/{run.pk}/events/").content.decode()

    assert (only_call(run).status, [each["rule"] for each in shadows.values()]) == (states.REFUSED, ["secret"])
    assert "ruling_before" in read
    assert not any(word in read for word in ("shadows", "secret", f"policy-{tried.number}"))
    assert {rulings.digest(canonical.dumps(each)) for each in rulings_of(run)} == digests_told(run)
    assert len(digests_told(run)) == 2


def test_what_is_allowed_as_before_is_not_told_again(pay, ann, bob):
    stop(ann)
    run = ask_for(ann, *payments(7))

    run = its_time_has_come(run, ann)

    assert only_call(run).status == states.DONE
    assert len(rulings_of(run)) == 1
    assert not any("ruling" in each for each in events_of(run, "tool_call_executing"))


# -- who is told -------------------------------------------------------------------------------------------------
def notices(run):
    return [each["what"] for each in events_of(run, "tool_call_notice")]


TOLD = rule("told", "notify", says="People are told of payments.")


@pytest.mark.parametrize("asked", [payments(7), payments(7, 8, 9), [POST]], ids=["one", "several", "a platform tool"])
@pytest.mark.parametrize("waits", ["not at all", "stopped", "put off"])
def test_of_what_runs_people_are_told_once(pay, ann, bob, asked, waits):
    match waits:
        case "stopped":
            stop(ann, asked[0][0])
        case "put off":
            publish(ann, bob, later(asked[0][0]))
        case _:
            publish(ann, bob, TOLD)
    run = ask_for(ann, *asked)
    if waits != "not at all":
        assert notices(run) == []
        publish(ann, bob, TOLD)
        run = its_time_has_come(run, ann)

    assert set(run.dispatches.get().calls.values_list("status", flat=True)) == {states.DONE}
    assert len(notices(run)) == len(asked)


def test_of_what_a_standing_approval_covers_by_now_people_are_told(ann, bob):
    tool("pay", "tests.effect", Effect.KEYED, Risk.HIGH, input_schema=AMOUNT)
    agent("worker", "pay")
    first = ask_for(ann, *payments(7))
    decide(request_of(first), bob, standing=Terms({"amount": Matcher("at_most", ("90",))}, uses_at_most=5))
    carry_all(first)
    publish(ann, bob, later())
    run = ask_for(ann, *payments(8))
    publish(ann, bob)

    run = its_time_has_come(run, ann)

    assert (only_call(run).status, notices(run)) == (states.DONE, ["Pay: amount 8"])


def test_of_what_is_sent_again_people_are_told_once(pay, ann, bob, monkeypatch):
    publish(ann, bob, TOLD)
    run = start(ann, script(call(*payments(7)), text("Done.")))

    die_before_the_send(run, monkeypatch)
    run = carry_all(run)

    assert Attempt.objects.count() == 2
    assert notices(run) == ["Pay: amount 7"]


def test_of_what_does_not_run_nobody_is_told(pay, ann, bob):
    publish(ann, bob, TOLD)
    stop(ann)
    run = ask_for(ann, *payments(7))

    publish(ann, bob, rule("never", "deny", tool="pay"))
    run = its_time_has_come(run, ann)

    assert (only_call(run).status, notices(run)) == (states.REFUSED, [])


def test_a_rule_that_tells_tells_whoever_may_see_the_run(pay, bob):
    owner, other, operator = (
        api.person("own", roles.APP),
        api.person("other", roles.APP),
        api.person("op", roles.OPERATOR),
    )
    publish(operator, bob, TOLD)

    run = ask_for(owner, *payments(7))

    def home(who):
        client = Client()
        client.force_login(who)
        return client.get("/").content.decode()

    for who, sees in ((owner, True), (operator, True), (other, False)):
        assert ("Pay: amount 7" in home(who)) is sees, who
        answer = api.caller(who).get(f"/runs/{run.pk}/events/")
        assert (answer.status_code == 200) is sees
        assert ("tool_call_notice" in answer.content.decode()) is sees


# -- how often people are asked ----------------------------------------------------------------------------------
ASKS = rule("look", "ask", tool="pay", says="Payments are looked at.")


@pytest.mark.parametrize("waits", ["stopped", "put off"])
def test_calls_alike_that_are_asked_about_later_are_one_question(pay, ann, bob, waits):
    if waits == "stopped":
        stop(ann)
    else:
        publish(ann, bob, later())
    run = ask_for(ann, *payments(1, 2, 3, 4))

    publish(ann, bob, ASKS)
    run = its_time_has_come(run, ann)

    asked = ApprovalRequest.objects.open().filter(run_id=run.pk)
    assert asked.count() == 4
    assert asked.leading().with_calls().get().calls == 4


def test_what_is_left_when_a_standing_approval_is_used_up_is_one_question(ann, bob):
    tool("pay", "tests.effect", Effect.KEYED, Risk.HIGH, input_schema=AMOUNT)
    tool("tip", "tests.effect", Effect.KEYED, Risk.LOW, input_schema=AMOUNT)
    agent("worker", "pay", "tip")
    first = ask_for(ann, *payments(7))
    decide(request_of(first), bob, standing=Terms({"amount": Matcher("at_most", ("90",))}, uses_at_most=2))
    carry_all(first)

    run = ask_for(ann, *payments(1, 2, 3, 4), ("tip", {"amount": 1}), *payments(5))

    calls = list(run.dispatches.get().calls.order_by("position").values_list("status", flat=True))
    assert calls == [states.DONE] * 2 + [states.AWAITING_APPROVAL] * 2 + [states.READY, states.AWAITING_APPROVAL]
    assert ApprovalRequest.objects.open().filter(run_id=run.pk).leading().with_calls().get().calls == 3


def test_control_one_alone_is_no_batch(pay, ann, bob):
    publish(ann, bob, later())
    run = ask_for(ann, *payments(1))

    publish(ann, bob, ASKS)
    run = its_time_has_come(run, ann)

    assert request_of(run).batch is None
