"""A plan is checked before any of it is a row: each fault names its field and the way out."""

from decimal import Decimal
from itertools import pairwise

import pytest

from runs.planning import checking
from runs.planning.checking import NotAPlan, Setting
from tests.runs.cast import agent, model

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def agents(db):
    model("http://127.0.0.1:1")
    for slug in ("worker", "writer", "judge"):
        agent(slug)


def a(key="a", **more):
    return {"key": key, "agent": "worker", "task": "Do it.", **more}


def faults(*nodes, setting=None, **more):
    try:
        checking.read_checked({"nodes": list(nodes), **more}, setting or Setting())
    except NotAPlan as error:
        return [str(problem) for problem in error.problems]
    return []


def test_a_plan_of_every_kind_of_node_is_accepted():
    assert not faults(
        a(),
        a("b", depends_on=["a"], join="any", retry={"tries": 3}, fallback=["writer"], timeout_seconds=60),
        a("c", over={"items": ["1", "2"]}, task="Do {item}.", limit=2, reduce={"how": "vote", "field": "x"}),
        a("d", agents=["worker", "writer"], agent=None, reduce={"how": "merge", "agent": "writer"}),
        {"key": "e", "depends_on": ["c", "d"], "join": "quorum(1)", "reduce": {"how": "concatenate"}},
        judge={"agent": "judge", "bar": 0.9},
        answer=["e"],
    )


@pytest.mark.parametrize(
    ("nodes", "fault"),
    [
        ([a(agent="wroker")], "nodes.0.agent: there is no agent at work named 'wroker'; did you mean 'worker'?"),
        ([a(), a()], "nodes.1.key: the key 'a' is taken; give each node its own."),
        ([a(depends_on=["b"])], "nodes.0.depends_on.0: there is no node named 'b'."),
        ([a(depends_on=["a"])], "nodes.0.depends_on.0: a node cannot wait for itself."),
        ([a(depends_on=["b", "b"]), a("b")], "nodes.0.depends_on: it names a node twice."),
        (
            [a(join="quorum(2)", depends_on=["b"]), a("b")],
            "nodes.0.join: it has 1 parents, so quorum(2) cannot be reached.",
        ),
        ([a(inputs=["b"]), a("b")], "nodes.0.inputs.0: 'b' is no node that comes before 'a': name it in depends_on."),
        ([a(fallback=["nobody"])], "nodes.0.fallback.0: there is no agent at work named 'nobody'."),
        ([a(task=" ")], "nodes.0.task: say what is to be done."),
        ([{"key": "a", "task": "t"}], "nodes.0.agent: say who does it, or how results are reduced."),
        ([{"key": "a", "reduce": {"how": "vote"}}], "nodes.0.depends_on: it reduces the results of others: name them."),
        ([a(over={"items": ["x"]})], "nodes.0.task: write {item} where the item goes."),
        ([a(over={}, task="{item}")], "nodes.0.over: give exactly one of items, result_of and document."),
        ([a(reduce={"how": "merge"})], "nodes.0.reduce: merge needs an agent."),
        ([a(models=["m"], agents=["worker"])], "nodes.0.models: a node goes over agents or over models, not both."),
        ([a(output_schema={"type": "nonsense"})], "nodes.0.output_schema: it is no JSON Schema: "),
        ([a(key="Not a key")], "nodes.0.key: String should match pattern"),
        ([a(surprise=1)], "nodes.0.surprise: Extra inputs are not permitted."),
        ([], "nodes: a plan has at least one."),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_a_fault_names_its_field_and_the_way_out(nodes, fault):
    found = faults(*nodes)

    assert len(found) == 1
    assert found[0].startswith(fault)


def test_a_ring_is_named():
    found = faults(a("a", depends_on=["c"]), a("b", depends_on=["a"]), a("c", depends_on=["b"]), a("free"))

    (said,) = found
    assert said.startswith("nodes: they wait for each other in a ring: ")
    ring = said.partition("ring: ")[2].rstrip(".").split(" → ")
    assert (ring[0], len(ring), set(ring)) == (ring[-1], 4, {"a", "b", "c"})
    waits_for = {"a": "c", "b": "a", "c": "b"}
    assert all(waits_for[after] == before for before, after in pairwise(ring))


def test_shares_have_to_fit_in_what_is_left():
    shares = [a(budget_usd="0.6"), a("b", budget_usd="0.6")]

    assert not faults(*shares, setting=Setting(remaining_usd=Decimal("1.2")))
    assert faults(*shares, setting=Setting(remaining_usd=Decimal("1.1"))) == [
        "nodes: the shares come to 1.2 USD, and 1.1 USD are left that nobody was promised."
    ]


def test_a_run_may_have_so_many_nodes():
    assert not faults(a(), a("b"), setting=Setting(nodes_left=2))
    assert faults(a(), a("b"), setting=Setting(nodes_left=1)) == [
        "nodes: 2 nodes are more than the 1 that the run may have."
    ]


def test_a_later_plan_may_wait_for_what_is_there_and_takes_no_key_twice():
    there = Setting(existing={"old"})

    assert not faults(a(depends_on=["old"], inputs=["old"]), setting=there)
    assert faults(a("old"), setting=there) == ["nodes.0.key: the key 'old' is taken; give each node its own."]


@pytest.mark.parametrize("text", ["no plan", "{", '["a"]', ""])
def test_text_that_is_no_object_is_said_to_be_none(text):
    with pytest.raises(NotAPlan, match="plan: "):
        checking.read(text)


def test_a_plan_is_found_in_a_fence():
    fenced = 'Here it is:\n```json\n{"nodes": [{"key": "a", "agent": "worker", "task": "t"}]}\n```'

    assert [node.key for node in checking.read(fenced).nodes] == ["a"]
