"""Labels of what an agent has read ride on all that is made of it, and along every edge of a run, and on no other."""

import json

import pytest
from django.db import connection, transaction
from django.db.models import F

from agents.models import Agent, FailureRule
from agents.values import AgentKind
from orchestrator_site.core import events
from runs import carrier, comments, lineage, mail, reconcile
from runs.engine import origins
from runs.models import Artifact, BoardEntry, ContextView, Message, Node, ToolCall
from tests.handoffs.cast import transition
from tests.plans.cast import carried, node, of, plan
from tests.runs.cast import (
    agent,
    call,
    carry_all,
    decide,
    go_on,
    only_call,
    request_of,
    script,
    scripts,
    start,
    text,
    tool,
)
from tools.values import Effect, Risk

pytestmark = pytest.mark.django_db(transaction=True)

BOTH, NONE = "sensitive untrusted", ""
READ = call(("read", {}))
CUT = text("so far") | {"stop_reason": "max_tokens"}
PLATFORM = ("artifact_read", "artifact_write", "artifact_list", "blackboard_post", "blackboard_read", "send_message")


@pytest.fixture(autouse=True)
def cast(model):
    tool("read", "tests.echo", brings=("untrusted", "sensitive"))
    tool("know", "tests.echo")
    tool("blob", "tests.blob", brings=("untrusted",))
    for slug in ("worker", "writer"):
        agent(slug, "read", "know", "blob", "propose_handoff", *PLATFORM)


def labels(run):
    """Of each dispatch, in order: its agent and its labels."""
    return [(each.manifest.agent.slug, each.labels) for each in run.dispatches.order_by("number")]


def of_node(run, key):
    return run.dispatches.get(node=of(run, key), node__dispatch=F("pk")).labels


def use(name, **arguments):
    return call((name, arguments))


class TestWithinADispatch:
    def test_what_it_has_read_is_on_the_result_and_on_itself(self, ann):
        run = carry_all(start(ann, script(READ, text("Done."))))

        assert (only_call(run).labels, labels(run)) == (BOTH, [("worker", BOTH)])

    def test_control_what_a_trusted_source_brings_has_none(self, ann):
        run = carry_all(start(ann, script(use("know"), text("Done."))))

        assert (only_call(run).labels, labels(run)) == (NONE, [("worker", NONE)])

    def test_they_stay_whatever_it_reads_next(self, ann):
        run = carry_all(start(ann, script(READ, use("know"), use("know", n=2), text("Done."))))

        assert labels(run) == [("worker", BOTH)]

    def test_a_long_result_that_is_kept_bears_them(self, ann):
        carry_all(start(ann, script(use("blob", n=1, size=20_000), text("Done."))))

        assert Artifact.objects.get().labels == "untrusted"

    def test_what_it_writes_and_posts_bears_them(self, ann):
        writes = use("artifact_write", path="notes.md", content="All well.")
        posts = use("blackboard_post", category="finding", content="All well.")

        carry_all(start(ann, script(READ, writes, posts, text("Done."))))

        assert (Artifact.objects.get().labels, BoardEntry.objects.get().labels) == (BOTH, BOTH)

    def test_what_it_wrote_before_does_not(self, ann):
        writes = use("artifact_write", path="notes.md", content="All well.")

        carry_all(start(ann, script(writes, READ, text("Done."))))

        assert Artifact.objects.get().labels == NONE


class TestAlongAPlan:
    def test_an_edge_hands_them_on_and_so_does_the_next(self, ann):
        run = carried(ann, node("a", READ, text("x")), node("b", after=("a",)), node("c", after=("b",)))

        assert [of_node(run, key) for key in "abc"] == [BOTH] * 3

    def test_control_who_stands_beside_it_and_read_nothing_has_none(self, ann):
        run = carried(ann, node("a", READ, text("x")), node("b"), node("c", after=("b",)))

        assert [of_node(run, key) for key in "abc"] == [BOTH, NONE, NONE]

    def test_the_items_of_a_result_bear_them(self, ann):
        each = node("each", after=("a",), over={"result_of": "a"}) | {"task": f"{script(text('seen'))} {{item}}"}

        run = carried(ann, node("a", READ, text("p\nq")), each)

        assert labels(run) == [("worker", BOTH)] * 3

    def test_the_board_hands_them_to_who_reads_it_and_to_nobody_else(self, ann):
        posts = node("a", READ, use("blackboard_post", category="finding", content="x"), text("posted"))
        reads = node("b", use("blackboard_read"), text("read"))

        run = carried(ann, posts, reads, node("c"))

        assert [of_node(run, key) for key in "abc"] == [BOTH, BOTH, NONE]

    def test_a_message_hands_them_on(self, ann):
        sends = node("a", READ, use("send_message", to="#2", text="x"), text("sent"))
        reads = {"key": "b", "agent": "writer", "task": script(text("read"))}

        run = carried(ann, sends, reads, {"key": "c", "agent": "writer", "task": script(text("nothing"))})

        assert Message.objects.get().labels == BOTH
        assert [of_node(run, key) for key in "abc"] == [BOTH, BOTH, NONE]

    def test_control_a_persons_message_bears_none(self, ann):
        run = start(ann, script(text("Done.")))
        with events.recording() as log:
            mail.post(log, run.dispatches.get(), "Mind the EU figures.", sender="user:ann")

        assert labels(carry_all(run)) == [("worker", NONE)]

    def test_the_next_try_and_the_next_agent_bear_what_was_read_before_them(self, ann):
        tries = node("a", retry={"tries": 2, "backoff_seconds": 60}) | {"task": script(READ, CUT)}
        retried = go_on_with_retries(carried(ann, tries))
        failed = {"key": "a", "agent": "worker", "task": scripts(worker=[READ, CUT], writer=[text("x")])}

        fallen_back = carried(ann, failed | {"fallback": ["writer"]})

        assert [each.origin for each in retried.dispatches.order_by("number")] == ["plan", "retry"]
        assert retried.dispatches.get(number=2).labels == BOTH
        assert labels(fallen_back) == [("worker", BOTH), ("writer", BOTH)]

    def test_done_again_at_a_persons_word_it_bears_what_was_read_at_first(self, ann, bob):
        task = {"scripts": {"You are worker.": {"A person has read": [text("new")], "": [READ, text("old")]}}}
        run = carried(ann, {"key": "a", "agent": "worker", "task": json.dumps(task)}, node("b"))

        comments.comment(run.pk, of(run, "a").pk, "Again, please.", bob)
        run = carry_all(run)

        assert "new" in run.output
        assert (of_node(run, "a"), of_node(run, "b")) == (BOTH, NONE)


def go_on_with_retries(run):
    Node.objects.filter(run=run, due_at__isnull=False).update(due_at="2020-01-01T00:00Z")
    reconcile.start_due()
    return carry_all(run)


class TestASupervisor:
    @pytest.fixture(autouse=True)
    def lead(self, cast):
        agent("lead", "read", kind=AgentKind.SUPERVISOR)

    def to(self, slug, *turns):
        return use(f"dispatch_to_{slug}", task=scripts(**{slug: list(turns)}))

    def test_reads_the_labels_of_whom_it_sent_for_with_the_results(self, ann):
        turns = [self.to("worker", READ, text("x")), use("wait"), use("finish", answer="x")]

        run = carry_all(start(ann, scripts(lead=turns), agent="lead"))

        assert labels(run) == [("lead", BOTH), ("worker", BOTH)]

    def test_hands_on_what_it_has_read_itself(self, ann):
        turns = [READ, self.to("worker", text("x")), use("wait"), use("finish", answer="x")]

        run = carry_all(start(ann, scripts(lead=turns), agent="lead"))

        assert labels(run) == [("lead", BOTH), ("worker", BOTH)]

    def test_control_two_that_it_sent_for_together_know_nothing_of_each_other(self, ann):
        both = self.to("worker", READ, text("x"))
        both = {"tools": [*both["tools"], *self.to("writer", text("y"))["tools"]], "text": ""}

        run = carry_all(start(ann, scripts(lead=[both, use("wait"), use("finish", answer="x")]), agent="lead"))

        assert labels(run)[1:] == [("worker", BOTH), ("writer", NONE)]

    def test_at_its_next_try_sends_for_one_that_is_told_what_was_done_with_the_labels_of_that(self, ann, bob, ledger):
        tool("pay", "tests.effect", Effect.KEYED, Risk.LOW)
        agent("writer", "pay", "read")
        FailureRule.objects.create(agent=Agent.objects.get(slug="lead"), ask_person=True)
        first = self.to("writer", call(("pay", {}), ("read", {})), text("x"))
        again = [self.to("worker", text("y")), use("wait"), use("finish", answer="y")]
        turns = {"lead tried before": again, "": [first, use("wait"), CUT]}
        run = carry_all(start(ann, scripts(lead=turns), agent="lead"))

        decide(request_of(run), bob)
        run = carry_all(run)

        last = run.dispatches.get(manifest__agent__slug="worker")
        assert ("writer has called pay" in last.briefing, last.labels) == (True, BOTH)


@pytest.mark.parametrize("transfer", ["structured", "selective", "summary", "full"])
@pytest.mark.parametrize(("first", "carried_on"), [(READ, BOTH), (use("know"), NONE)])
def test_a_handoff_bears_them_whatever_it_passes_on(ann, bob, transfer, first, carried_on):
    agent("scribe")
    agent("payer")
    agent("clerk", "read", "know", "propose_handoff", handoff_targets=("payer",))
    transition("clerk", "payer", transfer=transfer, **({"summariser": "scribe"} if transfer == "summary" else {}))
    task = scripts(payer=[text("Paid.")], scribe=[text("In short.")])
    proposal = {"target": "payer", "reason": "Not mine.", "task": task}
    more = {"steps": [1]} if transfer == "selective" else {}

    run = carry_all(start(ann, scripts(clerk=[first, use("propose_handoff", **proposal, **more)]), agent="clerk"))
    decide(request_of(run), bob)
    run = carry_all(run)

    assert dict(labels(run))["payer"] == carried_on
    assert {each.labels for each in Artifact.objects.all()} == {carried_on}


class TestAConversation:
    def test_what_was_answered_before_bears_them(self, ann):
        first = carry_all(start(ann, script(READ, text("It says x."))))

        second = carry_all(start(ann, script(text("And y.")), conversation=first.conversation_id))

        assert labels(second) == [("worker", BOTH)]

    def test_control_a_conversation_of_its_own_does_not(self, ann):
        carry_all(start(ann, script(READ, text("It says x."))))

        assert labels(carry_all(start(ann, script(text("And y."))))) == [("worker", NONE)]


def test_whoever_sums_up_its_turns_bears_them_and_so_does_it(ann):
    agent("summariser")
    agent("worker", "read", summariser="summariser", limits={"context_tokens": 6000, "iterations": 40})
    words = [READ, *[call(("read", {"n": n}), say=f"{n} " + "word " * 600) for n in range(9)], text("Done.")]

    run = start(ann, scripts(worker=words, summariser=[text("In short.")]))
    for _ in range(3):
        run = go_on(run)

    assert ("summariser", BOTH) in labels(run)
    assert labels(run)[0] == ("worker", BOTH)
    assert not ToolCall.objects.filter(dispatch__run=run).exclude(labels=BOTH).exists()


@pytest.mark.parametrize(("does", "carried_on"), [([READ], BOTH), ([], NONE)])
def test_what_whoever_sums_up_its_turns_has_read_rides_on_the_summary(ann, does, carried_on):
    agent("summariser", "read")
    agent("worker", "know", summariser="summariser", limits={"context_tokens": 6000, "iterations": 40})
    words = [*[call(("know", {"n": n}), say=f"{n} " + "word " * 600) for n in range(9)], text("Done.")]

    run = start(ann, scripts(worker=words, summariser=[*does, text("In short.")]))
    for _ in range(3):
        run = go_on(run)

    assert ("summariser", carried_on) in labels(run)
    assert ContextView.objects.filter(summary="In short.").exists()
    assert labels(run)[0] == ("worker", carried_on)


class TestAnAnswer:
    """To a question of an agent that then acts on it."""

    IBAN = "DE89370400440532013000"

    @pytest.fixture(autouse=True)
    def clerk(self, cast, ledger):
        taken = {"type": "object", "properties": {"iban": {"type": "string"}}}
        tool("pay", "tests.effect", Effect.KEYED, Risk.LOW, input_schema=taken, sinks={"iban": {"kind": "destination"}})
        agent("clerk", "ask_human", "pay", "blob")

    def asked(self, owner, *, labels=(), reads=False):
        """What it pays to is exactly the answer, which stands nowhere else."""
        turns = [use("ask_human", question="Which account?"), use("pay", iban="{{result:1}}"), text("Paid.")]
        if reads:
            turns.insert(1, use("blob", n=1, size=20))
        return carry_all(start(owner, script(*turns), agent="clerk", input_labels=labels))

    def test_of_whoever_passes_on_what_others_send_vouches_for_nothing(self, ann):
        run = self.asked(ann, labels=["untrusted"])

        decide(request_of(run), ann, "answered", answer=self.IBAN)
        run = carry_all(run)

        assert run.dispatches.get().calls.get(tool="ask_human").labels == "untrusted"
        assert request_of(run).reasons[0] == "“iban” first appeared in an answer that was passed on."

    def test_that_the_agent_had_offered_is_the_agents_word(self, ann):
        """Whoever chooses has not seen where it came from."""
        asks = use("ask_human", question="Which account is theirs?", candidates=["{{result:1}}", "None of these"])
        turns = [use("blob", n=1, size=20), asks, use("pay", iban="{{result:2}}"), text("Paid.")]
        run = carry_all(start(ann, script(*turns), agent="clerk"))

        decide(request_of(run), ann, "answered", answer=request_of(run).content["candidates"][0])
        run = carry_all(run)

        assert request_of(run).reasons[0] == "“iban” first appeared in the result of blob, step 1."

    def test_control_of_another_person_vouches(self, ann, bob):
        run = self.asked(ann, labels=["untrusted"])

        decide(request_of(run), bob, "answered", answer=self.IBAN)
        run = carry_all(run)

        assert run.dispatches.get().calls.get(tool="ask_human").labels == NONE
        assert run.dispatches.get().calls.get(tool="pay").status == "done"

    def test_control_of_whoever_said_the_request_themselves_vouches(self, ann):
        run = self.asked(ann, reads=True)

        decide(request_of(run), ann, "answered", answer=self.IBAN)
        run = carry_all(run)

        assert run.dispatches.get().calls.get(tool="ask_human").labels == NONE
        assert run.dispatches.get().calls.get(tool="pay").status == "done"


@pytest.mark.parametrize(("labels", "vouches"), [(["untrusted"], [False, True]), ([], [True, True])])
def test_a_comment_of_whoever_passes_on_what_others_send_vouches_for_nothing(ann, bob, labels, vouches):
    nodes = plan(node("a", text("x")), node("b", text("y")))
    run = carry_all(start(ann, "The request.", agent=None, plan=nodes, input_labels=labels))

    comments.comment(run.pk, of(run, "a").pk, "To DE89, please.", ann)
    comments.comment(run.pk, of(run, "b").pk, "To DE90, please.", bob)

    said = origins.sources(run.dispatches.latest("number"))
    assert [each.vouches for each in said if "comment" in each.where] == vouches


def rows_read(node):
    """How many rows of nodes are read to tell the labels of all that comes before it, in a table of some size."""
    asked = {"node": node.pk, "roles": lineage._READS_ALL_WITHIN, "not_brought": lineage._NOT_BROUGHT}
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("ANALYZE runs_node, runs_edge")
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {lineage._BEFORE}", asked)
        (told,) = cursor.fetchone()
    return sum(_of_nodes(told[0]["Plan"]))


def _of_nodes(step):
    if step.get("Relation Name") == "runs_node":
        yield step["Actual Loops"] * (step["Actual Rows"] + step.get("Rows Removed by Filter", 0))
    for below in step.get("Plans", []):
        yield from _of_nodes(below)


@pytest.mark.parametrize("again", [False, True])
def test_a_long_chain_is_read_once_to_tell_what_came_before_its_end(ann, bob, again):
    many = 150
    chain = [node("n0"), *[node(f"n{n}", after=(f"n{n - 1}",)) for n in range(1, many)]]
    run = start(ann, "x", agent=None, plan=plan(*chain))
    if again:
        carrier.carry(run.dispatches.get().pk)
        comments.comment(run.pk, of(run, "n0").pk, "Again.", bob)

    assert rows_read(of(run, f"n{many - 1}")) < 20 * many
