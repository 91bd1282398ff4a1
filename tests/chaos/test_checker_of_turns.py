"""The checker on people's turns: a run commented on, paused, planned, handed over and given up in parts is clean, and
each way to spoil it is found on its own line."""

import copy
import json
from typing import Any

import pytest

from tests.chaos.checker import LINES, bijection, check, decided, effects, leasing, movers, turns
from tests.chaos.checker.material import Material
from tests.chaos.test_checker import ARGUMENTS, SCRIPT, WORKER, Row, Spoil, at, event, moment, step, well
from tests.chaos.test_checker import SPOILED as SPOILED_OTHERWISE

NOT_PERMITTED = "effects of calls not permitted"
TOLD = 'worker has called unsafe_http_asks with {"amount": 5, "mark": "r1.1"}: done'

# The run has succeeded by then: a person comments on its node, it is done again, and is paused in between.
AGAIN: list[tuple[str, float, str, Row]] = [
    ("node_succeeded", 6, "system", {"node": "n"}),
    ("node_commented", 7, "user:olivia", {"node": "n"}),
    ("run_working", 7, "system", {}),
    ("node_superseded", 7, "system", {"node": "n"}),
    ("node_added", 7, "system", {"node": "n2"}),
    ("dispatch_queued", 7, "system", {"dispatch": "d2"}),
    ("node_working", 7, "system", {"node": "n2"}),
    ("dispatch_working", 8, WORKER, {"dispatch": "d2"}),
    ("step_asked", 8, "system", {"dispatch": "d2", "step": 1}),
    ("step_answered", 9, "system", {"dispatch": "d2", "step": 1}),
    ("tool_call_ruled", 9, "agent:worker", {"dispatch": "d2", "call": "c2"}),
    ("approval_requested", 9, "agent:worker", {"request": "q2"}),
    ("tool_call_awaiting_approval", 9, "system", {"dispatch": "d2", "call": "c2"}),
    ("run_paused", 9, "user:olivia", {}),
    ("dispatch_paused", 9, "system", {"dispatch": "d2"}),
    ("approval_decided", 10, "user:amir", {"request": "q2", "verdict": "approved"}),
    ("tool_call_ready", 10, "user:amir", {"dispatch": "d2", "call": "c2"}),
    ("run_working", 11, "user:olivia", {}),
    ("dispatch_queued", 11, "system", {"dispatch": "d2"}),
    ("dispatch_working", 11, WORKER, {"dispatch": "d2"}),
    ("tool_call_executing", 12, WORKER, {"dispatch": "d2", "call": "c2", "attempt": 1}),
    ("tool_call_done", 13, "system", {"dispatch": "d2", "call": "c2", "attempt": 1, "attempt_status": "succeeded"}),
    ("step_asked", 13, "system", {"dispatch": "d2", "step": 2}),
    ("step_answered", 14, "system", {"dispatch": "d2", "step": 2}),
    ("dispatch_succeeded", 14, "system", {"dispatch": "d2"}),
    ("node_succeeded", 14, "system", {"node": "n2"}),
    ("run_succeeded", 14, "system", {}),
]
PLAN = {"nodes": [{"key": "n", "agent": "worker", "task": json.dumps(SCRIPT)}]}


def node(id: str, **more: Any) -> Row:
    plain = {"run_id": "run", "key": "n", "within_id": None, "superseded": False, "status": "succeeded", "role": ""}
    own = {"agent_id": 1, "task": json.dumps(SCRIPT), "plan_id": None, "reads": [], "output": "", "left_out": False}
    return {"id": id, **plain, **own, **more}


def again() -> Material:
    """The run of `well`, whose one node is done again since a person commented on it."""
    material = well()
    tables = material.tables
    first = tables["runs_dispatch"][0]
    first.update(node_id="n", number=1, origin="run", created_at=at(0))
    second = {"id": "d2", "node_id": "n2", "number": 2, "origin": "route", "created_at": at(7), "briefing": TOLD}
    tables["runs_dispatch"].append(first | second)
    tables["runs_node"] = [node("n", superseded=True), node("n2")]
    tables["runs_edge"] = []
    for each in copy.deepcopy(tables["runs_step"]):
        later = step(each["number"], each["number"], json.loads(each["reply"]), each["stop_reason"])
        tables["runs_step"].append(later | {"id": 10 + each["id"], "dispatch_id": "d2", "asked_at": at(8)})
    call = tables["runs_toolcall"][0]
    call["arguments"] = json.dumps(ARGUMENTS)
    tables["runs_toolcall"].append(call | {"id": "c2", "dispatch_id": "d2", "step_id": 11, "request_id": "q2"})
    tables["runs_attempt"].append(tables["runs_attempt"][0] | {"call_id": "c2", "sent_at": at(12)})
    tables["approvals_approvalrequest"].append({"id": "q2", "status": "approved", "consumed_by_attempt": "c2"})
    tables["approvals_approvalrequest"][1] |= {"call_id": "c2", "dispatch_id": "d2", "frozen": "{}"}
    tables["approvals_decision"].append(tables["approvals_decision"][0] | {"request_id": "q2", "at": at(10)})
    tables["runs_account"][0].update(spent_usd=0.02)
    tables["runs_allotment"][0].update(granted_usd=0.02, spent_usd=0.02, counted_usd=0.02)
    tables["runs_budgetperiod"][0].update(granted_usd=0.02, spent_usd=0.02, cap_usd=0.02)
    tell(material, *AGAIN)
    outside = {"class": "unsafe", "key": "baton-c2", "arguments": ARGUMENTS, "at": moment(12.1)}
    material.ledger += [outside | {"what": "arrived"}, outside | {"what": "effect"}]
    material.people += [
        said("comments", node="n"),
        COMMENTED,
        said("paused", status=200),
        said("resumed", status=200),
        material.people[2] | {"request": "q2", "call": "c2", "reasons": [effects.REPEATS]},
        material.people[3] | {"request": "q2"},
    ]
    return material


def said(what: str, **more: Any) -> Row:
    return {"who": "olivia", "what": what, "run": "run", **more}


COMMENTED = said("commented", node="n", status=200)


def tell(material: Material, *events: tuple[str, float, str, Row]) -> None:
    """More events at the end of the run."""
    rows = material.tables["core_event"]
    rows += [
        event(len(rows) + n, type, second, actor, **data) for n, (type, second, actor, data) in enumerate(events, 1)
    ]


def put(material: Material, after: str, *events: tuple[str, float, str, Row]) -> None:
    """Events right after the last one of this type."""
    rows = material.tables["core_event"]
    index = max(n for n, row in enumerate(rows) if row["type"] == after) + 1
    rows[index:index] = [event(0, type, second, actor, **data) for type, second, actor, data in events]
    material.tables["core_event"] = [row | {"seq": seq} for seq, row in enumerate(rows, start=1)]


def without(material: Material, type: str) -> None:
    rows = [row for row in material.tables["core_event"] if row["type"] != type]
    material.tables["core_event"] = [row | {"seq": seq} for seq, row in enumerate(rows, start=1)]


# -- what people decided of a plan, a handoff, a failed step -------------------------------------------------------
def asked(material: Material, kind: str, request: str, frozen: Row, body: Row) -> None:
    status = body["verdict"]
    material.tables["approvals_approvalrequest"].append({
        "id": request, "kind": kind, "status": status, "frozen": json.dumps(frozen), "run_id": "run",
        "call_id": None, "dispatch_id": None, "consumed_by_attempt": "",
    })  # fmt: skip
    decision = {"request_id": request, "verdict": status, "by_id": 2, "by_name": "ada", "at": at(1), "arguments": None}
    material.tables["approvals_decision"].append(decision)
    tell(material, ("approval_requested", 1, "system", {"request": request}))
    tell(material, ("approval_decided", 1, "user:ada", {"request": request, "verdict": status}))
    about = {"who": "ada", "request": request, "call": None}
    material.people.append(about | {"what": "decides", "kind": kind, "body": body, "saw": frozen, "reasons": []})


def planned() -> Material:
    """Its node came from a plan that a person had edited."""
    material = again()
    seen = {"plan": "p", "content": {"nodes": []}}
    asked(material, "plan", "pq", seen, {"verdict": "modified", "arguments": {"content": PLAN}})
    material.tables["runs_node"].append(node("root", key="run", agent_id=None))
    tell(material, ("node_succeeded", 15, "system", {"node": "root"}))
    for each in material.tables["runs_node"][:2]:
        each.update(plan_id="p", within_id="root")
    plan = {"id": "p", "run_id": "run", "node_id": "root", "status": "accepted", "request_id": "pq", "content": PLAN}
    material.tables["runs_plan"] = [plan]
    return material


def handed_over() -> Material:
    """Its second dispatch is the target of a handoff that a person has redirected."""
    material = again()
    seen = {"handoff": "h", "target": "closer", "task": json.dumps(SCRIPT)}
    asked(material, "handoff", "hq", seen, {"verdict": "modified", "arguments": {"target": "worker"}})
    handoff = {"id": "h", "status": "accepted", "request_id": "hq", "continued_by_id": "d2"}
    material.tables["runs_handoff"] = [handoff]
    tell(material, ("handoff_accepted", 1, "user:ada", {"handoff": "h"}))
    return material


def failed_step(body: Row) -> Material:
    """What became of another node was a person's to say."""
    material = again()
    asked(material, "node", "nq", {"node": "f", "agent": "closer", "task": "Try."}, body)
    ended: dict[str, Row] = {"answered": {"output": "By hand."}, "rejected": {"status": "skipped", "left_out": True}}
    material.tables["runs_node"].append(node("f", key="f", **ended.get(body["verdict"], {})))
    tell(material, (f"node_{material.nodes['f']['status']}", 15, "system", {"node": "f"}))
    return material


def tried_again() -> Material:
    """By a person's word: the second dispatch is at the node of the first."""
    task = {"agent": "worker", "task": json.dumps(SCRIPT)}
    material = failed_step({"verdict": "modified", "arguments": task})
    material.tables["runs_dispatch"][1].update(origin="retry", node_id="f")
    material.tables["runs_dispatch"][0].update(node_id="f")
    return material


ANSWERED = {"verdict": "answered", "answer": "By hand."}
REJECTED = {"verdict": "rejected", "reason": "No."}


@pytest.mark.parametrize(
    "material",
    [again(), planned(), handed_over(), tried_again(), failed_step(ANSWERED), failed_step(REJECTED)],
    ids=["again", "planned", "handed over", "tried again", "answered", "left out"],
)
def test_turns_in_which_all_is_well_are_clean(material: Material) -> None:
    verdict = check(material)

    assert verdict.is_clean, verdict.findings


def call(material: Material) -> Row:
    return material.tables["runs_toolcall"][1]


def nodes(material: Material) -> list[Row]:
    return material.tables["runs_node"]


def dispatches(material: Material) -> list[Row]:
    return material.tables["runs_dispatch"]


def open_run(material: Material, status: str, waiting_on: str) -> None:
    """It has not ended, and nobody is asked."""
    material.tables["runs_run"][0].update(status=status, waiting_on=waiting_on)


def without_a_retry(material: Material) -> None:
    """The first dispatch, which has acted, is followed at the same node by another one that the machine began."""
    dispatches(material)[1].update(origin="fallback", node_id="n")


def in_another_run(material: Material) -> None:
    material.tables["runs_run"].append(material.tables["runs_run"][0] | {"id": "other"})
    dispatches(material)[1].update(run_id="other")


def with_edge(material: Material) -> None:
    material.tables["runs_edge"] = [{"parent_id": "n", "child_id": "n2"}]


def with_route(material: Material) -> None:
    material.tables["runs_route"] = [{"id": 1, "node_id": "n"}]
    put(material, "node_added", ("routed", 7, "system", {"node": "n"}))


def with_late_step(material: Material) -> None:
    """The first dispatch asks once more after its node was taken back."""
    material.tables["runs_step"].append(step(3, 2, [], "end_turn") | {"id": 9})
    put(material, "node_superseded", ("step_asked", 7, "system", {"dispatch": "d", "step": 3}))


SPOILED: list[tuple[str, str, Spoil]] = [
    ("repeated, and nobody was told that it is", "duplicated", lambda m: m.people[-2].update(reasons=["A person."])),
    ("repeated, and told to somebody else", "duplicated", lambda m: m.people[-2].update(who="ada")),
    ("repeated without a question", "duplicated", lambda m: call(m).update(request_id=None)),
    ("repeated by the clock", "duplicated", lambda m: m.tables["approvals_decision"][1].update(by_id=None)),
    ("repeated in another run", "duplicated", in_another_run),
    ("repeated under the same key", "duplicated", lambda m: m.ledger.append(m.ledger[-1])),
    ("repeated by no call", "duplicated", lambda m: m.ledger[-1].update(key="baton-x")),
    ("another try by the machine", NOT_PERMITTED, without_a_retry),
    ("asked at a node that was taken back", NOT_PERMITTED, with_late_step),
    (
        "begun at a node that was taken back",
        NOT_PERMITTED,
        lambda m: put(m, "node_superseded", ("dispatch_queued", 7, "system", {"dispatch": "d"})),
    ),
    ("it comes after what was taken back", turns.MADE_OF, with_edge),
    ("it was told of what was taken back", turns.MADE_OF, lambda m: nodes(m)[1].update(reads=["n"])),
    ("a decision leads to what was taken back", turns.MADE_OF, with_route),
    ("it was not told what was done", "lost", lambda m: dispatches(m)[1].update(briefing="")),
    ("a comment that was told is gone", "lost", lambda m: without(m, "node_commented")),
    ("a comment nobody made", "effects unaccounted for", lambda m: m.people.remove(COMMENTED)),
    ("a pause that was told is gone", "lost", lambda m: m.people.append(said("paused", status=200))),
    ("a pause nobody asked for", "effects unaccounted for", lambda m: m.people.remove(said("paused", status=200))),
    ("a resume that was told is gone", "lost", lambda m: m.people.append(said("resumed", status=200))),
    (
        "a follow-up in another conversation",
        "lost",
        lambda m: (m.people[0].update(conversation="k"), m.tables["runs_run"][0].update(conversation_id="l")),
    ),
    (
        "a model was asked in a pause",
        turns.PAUSED_LINE,
        lambda m: put(m, "dispatch_paused", ("step_asked", 9, "system", {"dispatch": "d2", "step": 2})),
    ),
    (
        "what was decided in a pause was sent in it",
        turns.PAUSED_LINE,
        lambda m: put(
            m, "tool_call_ready", ("tool_call_executing", 10, WORKER, {"dispatch": "d2", "call": "c2", "attempt": 1})
        ),
    ),
    (
        "written after its dispatch was paused",
        leasing.LINE,
        lambda m: put(m, "dispatch_paused", ("step_asked", 9, "system", {"dispatch": "d2", "step": 2})),
    ),
    ("a run at work again without a comment", bijection.LINE, lambda m: without(m, "node_commented")),
    (
        "a node at work again without a comment",
        bijection.LINE,
        lambda m: tell(m, *[(type, 15, "system", {"node": "n2"}) for type in ("node_working", "node_succeeded")]),
    ),
    ("taken back without its event", bijection.LINE, lambda m: nodes(m)[1].update(superseded=True)),
    ("taken back by its event alone", bijection.LINE, lambda m: nodes(m)[0].update(superseded=False)),
    ("a run that nobody moves", movers.LINE, lambda m: open_run(m, "waiting", "its next step")),
    ("a run that nobody resumes", movers.LINE, lambda m: open_run(m, "paused", "a person to resume it")),
]  # fmt: skip


@pytest.mark.parametrize(("line", "spoil"), [pytest.param(line, spoil, id=told) for told, line, spoil in SPOILED])
def test_a_spoiled_turn_is_found(line: str, spoil: Spoil) -> None:
    material = again()

    spoil(material)

    assert check(material).count(line) > 0


def test_what_other_arguments_were_sent_with_before_needs_no_word_of_repeating() -> None:
    """A person had edited the first of the two: the second is asked about, and is not the same call."""
    material = again()
    material.tables["runs_toolcall"][0]["arguments"] = json.dumps(ARGUMENTS | {"amount": 6})
    material.people[-2].update(reasons=["A person always confirms this tool."])

    assert check(material).count("duplicated") == 0


@pytest.mark.parametrize(
    "moved",
    [
        lambda m: m.tables["approvals_approvalrequest"].append({"id": "q3", "run_id": "run", "status": "open"}),
        lambda m: call(m).update(status="uncertain"),
        lambda m: dispatches(m)[1].update(status="queued"),
        lambda m: dispatches(m)[1].update(status="waiting", due_at=at(20)),
        lambda m: dispatches(m)[1].update(unheeded=True),
        lambda m: nodes(m)[1].update(status="ready"),
    ],
    ids=["a person is asked", "in doubt", "queued", "due", "unheeded", "ready"],
)
def test_a_run_that_somebody_moves_is_merely_open(moved: Spoil) -> None:
    material = again()
    open_run(material, "waiting", "somebody")

    moved(material)

    assert check(material).count(movers.LINE) == 0
    assert check(material).count("stuck runs") > 0


OF_DECISIONS: list[tuple[str, Material, str, Spoil]] = [
    ("another plan", planned(), decided.LINE, lambda m: m.tables["runs_plan"][0].update(content={"nodes": []})),
    ("a plan nobody saw", planned(), decided.LINE, lambda m: m.tables["runs_plan"][0].update(request_id="other")),
    ("another task in a plan", planned(), decided.LINE, lambda m: nodes(m)[1].update(task="Else.")),
    ("another agent in a plan", planned(), decided.LINE, lambda m: nodes(m)[1].update(agent_id=2)),
    ("a node of no plan", planned(), decided.LINE, lambda m: nodes(m)[1].update(key="x")),
    ("a node of a plan is missing", planned(), "lost", lambda m: nodes(m)[1].update(plan_id=None)),
    ("a node of a plan stands twice", planned(), "duplicated", lambda m: nodes(m)[0].update(superseded=False)),
    ("another target", handed_over(), decided.LINE, lambda m: m.people[-1]["body"].update(arguments={"task": "x"})),
    ("another task", handed_over(), decided.LINE, lambda m: dispatches(m)[1].update(task="Else.")),
    ("accepted by nobody", handed_over(), decided.LINE, lambda m: m.people.pop()),
    ("it was not tried again", tried_again(), "lost", lambda m: dispatches(m)[1].update(origin="run")),
    ("it was tried with another task", tried_again(), "lost", lambda m: dispatches(m)[1].update(task="Else.")),
    ("another result", failed_step(ANSWERED), decided.LINE, lambda m: nodes(m)[2].update(output="By itself.")),
    ("not left out", failed_step(REJECTED), decided.LINE, lambda m: nodes(m)[2].update(left_out=False)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("material", "line", "spoil"),
    [pytest.param(material, line, spoil, id=told) for told, material, line, spoil in OF_DECISIONS],
)
def test_what_is_not_as_people_decided_is_found(material: Material, line: str, spoil: Spoil) -> None:
    spoil(material)

    assert check(material).count(line) > 0


def test_every_line_is_spoiled_at_least_once() -> None:
    assert {line for _, line, _ in [*SPOILED_OTHERWISE, *SPOILED]} == set(LINES)
