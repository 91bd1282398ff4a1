"""The checker itself: a history in which all is well is clean, and each way to spoil it is found on its own line."""

import ast
import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from orchestrator_site.services.processes import REPOSITORY
from tests.chaos.checker import bijection, check, leasing
from tests.chaos.checker.bijection import LINE as BIJECTION
from tests.chaos.checker.material import Material, seconds
from tests.chaos.checker.money import LINE as MONEY
from tests.chaos.checker.stopping import LINE as STOPPED

Row = dict[str, Any]
ARGUMENTS = {"amount": 5, "mark": "r1.1"}
SCRIPT = {"script": [{"tools": [{"name": "unsafe_http_asks", "input": ARGUMENTS}]}, {"text": "Done."}]}
WORKER = "worker:here:7:ab"


def at(second: float) -> str:
    return f"2026-01-01T00:00:{second:06.3f}+00:00"


def moment(second: float) -> float:
    return seconds(at(second))


def event(seq: int, type: str, second: float, actor: str = "system", **data: Any) -> Row:
    return {
        "seq": seq,
        "type": type,
        "run_id": "run",
        "actor": actor,
        "at": at(second),
        "data": json.dumps(data),
    }


EVENTS: list[tuple[str, float, str, Row]] = [
    ("run_accepted", 0, "user:app", {}),
    ("run_working", 0, "system", {}),
    ("dispatch_queued", 0, "system", {"dispatch": "d", "number": 1}),
    ("dispatch_working", 1, WORKER, {"dispatch": "d"}),
    ("step_asked", 1, "system", {"dispatch": "d", "step": 1}),
    ("step_answered", 2, "system", {"dispatch": "d", "step": 1}),
    ("tool_call_ruled", 2, "agent:worker", {"dispatch": "d", "call": "c"}),
    ("approval_requested", 2, "agent:worker", {"request": "q"}),
    ("tool_call_awaiting_approval", 2, "system", {"dispatch": "d", "call": "c"}),
    ("dispatch_waiting", 2, "system", {"dispatch": "d"}),
    ("run_waiting", 2, "system", {}),
    ("approval_decided", 3, "user:amir", {"request": "q", "verdict": "approved"}),
    ("tool_call_ready", 3, "user:amir", {"dispatch": "d", "call": "c"}),
    ("dispatch_queued", 3, "system", {"dispatch": "d"}),
    ("run_working", 3, "system", {}),
    ("dispatch_working", 4, WORKER, {"dispatch": "d"}),
    ("tool_call_executing", 4, WORKER, {"dispatch": "d", "call": "c", "attempt": 1}),
    ("tool_call_done", 5, "system", {"dispatch": "d", "call": "c", "attempt": 1, "attempt_status": "succeeded"}),
    ("step_asked", 5, "system", {"dispatch": "d", "step": 2}),
    ("step_answered", 6, "system", {"dispatch": "d", "step": 2}),
    ("dispatch_succeeded", 6, "system", {"dispatch": "d"}),
    ("run_succeeded", 6, "system", {}),
]


def step(number: int, fence: int, reply: list[Row], stop_reason: str) -> Row:
    return {
        "id": number,
        "dispatch_id": "d",
        "number": number,
        "fence": fence,
        "status": "answered",
        "stop_reason": stop_reason,
        "reply": json.dumps(reply),
        "reserved_usd": 0.02,
        "cost_usd": 0.005,
        "allotments": [4],
        "asked_at": at(1 if number == 1 else 5),
    }


def well() -> Material:
    """A run with one call that asks, approved and done."""
    call = {
        "id": "c",
        "dispatch_id": "d",
        "step_id": 1,
        "position": 0,
        "tool": "unsafe_http_asks",
        "tool_version_id": 3,
        "effect": "unsafe",
        "status": "done",
        "proposed_arguments": json.dumps(ARGUMENTS),
        "arguments": json.dumps(ARGUMENTS),
        "ruling": json.dumps({"verdict": "NeedsApproval"}),
        "request_id": "q",
        "error_kind": "",
        "result": '{"made":"r1.1"}',
    }
    dispatch = {
        "id": "d",
        "run_id": "run",
        "manifest_id": 1,
        "status": "succeeded",
        "stop_reason": "finished",
        "fence": 2,
        "cost_usd": 0.01,
        "task": json.dumps(SCRIPT),
        "briefing": "",
    }
    attempt = {
        "call_id": "c",
        "number": 1,
        "fence": 2,
        "status": "succeeded",
        "sent_at": at(4),
        "late_evidence": "",
    }
    asked = [{"type": "tool_use", "name": "unsafe_http_asks", "input": ARGUMENTS}]
    tables: dict[str, list[Row]] = {
        "agents_agent": [{"id": 1, "slug": "worker"}],
        "agents_manifest": [{"id": 1, "agent_id": 1}],
        "runs_run": [
            {
                "id": "run",
                "status": "succeeded",
                "waiting_on": "",
                "cancel_requested_at": None,
                "metadata": {"mark": "r1"},
            }
        ],
        "runs_dispatch": [dispatch],
        "runs_step": [step(1, 1, asked, "tool_use"), step(2, 2, [{"type": "text", "text": "Done."}], "end_turn")],
        "runs_toolcall": [call],
        "runs_attempt": [attempt],
        "runs_account": [{"run_id": "run", "cap_usd": 1, "spent_usd": 0.01, "reserved_usd": 0}],
        "runs_allotment": [
            {
                "id": 4,
                "run_id": "run",
                "period_id": 5,
                "granted_usd": 0.01,
                "spent_usd": 0.01,
                "reserved_usd": 0,
                "counted_usd": 0.01,
            }
        ],
        "runs_budgetperiod": [
            {"id": 5, "budget_id": 6, "granted_usd": 0.01, "spent_usd": 0.01, "cap_usd": 0.01, "added_usd": 0}
        ],
        "approvals_approvalrequest": [{"id": "q", "status": "approved", "consumed_by_attempt": "c"}],
        "approvals_decision": [
            {"request_id": "q", "verdict": "approved", "by_id": 1, "by_name": "amir", "at": at(3), "arguments": None}
        ],
        "core_event": [
            event(seq, type, second, actor, **data) for seq, (type, second, actor, data) in enumerate(EVENTS, start=1)
        ],
    }
    outside = {"class": "unsafe", "key": "baton-c", "arguments": ARGUMENTS}
    ledger = [{"at": moment(4.1), "what": "arrived", **outside}, {"at": moment(4.1), "what": "effect", **outside}]
    people: list[Row] = [
        {"who": "app", "what": "starts", "mark": "r1"},
        {"who": "app", "what": "started", "mark": "r1", "status": 201, "run": "run"},
        {
            "who": "amir",
            "what": "decides",
            "request": "q",
            "call": "c",
            "kind": "tool_call",
            "body": {"verdict": "approved"},
            "saw": {"arguments": ARGUMENTS},
        },
        {"who": "amir", "what": "decided", "request": "q", "status": 200},
    ]
    return Material(copy.deepcopy(tables), ledger, people, [])


def test_a_history_in_which_all_is_well_is_clean() -> None:
    verdict = check(well())

    assert verdict.is_clean, verdict.findings


Spoil = Callable[[Material], object]


def call(material: Material) -> Row:
    return material.tables["runs_toolcall"][0]


def without_events(material: Material, *types: str) -> None:
    """They were never written: the chain has no gap."""
    kept = [row for row in material.tables["core_event"] if row["type"] not in types]
    material.tables["core_event"] = [row | {"seq": seq} for seq, row in enumerate(kept, start=1)]


def with_claim(material: Material, before: str) -> None:
    """Somebody else claimed the dispatch right before the first event of this type."""
    rows = material.tables["core_event"]
    index = next(index for index, row in enumerate(rows) if row["type"] == before)
    rows.insert(index, event(0, "dispatch_reclaimed", 4.5, "worker:here:8:cd", dispatch="d"))
    material.tables["core_event"] = [row | {"seq": seq} for seq, row in enumerate(rows, start=1)]
    material.tables["runs_dispatch"][0]["fence"] = 3
    material.tables["runs_step"][1]["fence"] = 3


def with_cancel(material: Material, before: str) -> None:
    rows = material.tables["core_event"]
    index = next(index for index, row in enumerate(rows) if row["type"] == before)
    rows.insert(index, event(0, "cancel_requested", 3.9, "user:app"))
    material.tables["core_event"] = [row | {"seq": seq} for seq, row in enumerate(rows, start=1)]
    material.tables["runs_run"][0]["cancel_requested_at"] = at(3.9)


def finding(call: str, finding: str) -> Row:
    return {"who": "olivia", "what": "found", "call": call, "finding": finding, "status": 200}


def stopped(scope: str, name: str, since: float, until: float) -> list[Row]:
    named = {"who": "olivia", "scope": scope, "name": name}
    return [
        named | {"what": "stopped", "status": 200, "at": moment(since)},
        named | {"what": "releases", "at": moment(until)},
    ]


CANCELLED = {"who": "app", "what": "cancelled", "run": "run", "status": 200}

SPOILED: list[tuple[str, str, Spoil]] = [
    ("an accepted run is gone", "lost", lambda m: m.people[1].update(run="another")),
    ("a decision that was told is gone", "lost", lambda m: m.people[3].update(request="another")),
    ("a step is missing", "lost", lambda m: m.tables["runs_step"].pop(0)),
    ("a call of a reply is missing", "lost", lambda m: m.tables["runs_toolcall"].clear()),
    ("a call was kept with other arguments", "lost", lambda m: call(m).update(proposed_arguments="{}")),
    ("a call of an ended dispatch is open", "lost", lambda m: call(m).update(status="ready")),
    ("an attempt was never settled", "lost", lambda m: m.tables["runs_attempt"][0].update(status="sent")),
    ("it ended before its script", "lost", lambda m: m.tables["runs_step"].pop()),
    ("a step costs what no dispatch says", MONEY, lambda m: m.tables["runs_step"][0].update(cost_usd=0.006)),
    ("an account forgot what was spent", MONEY, lambda m: m.tables["runs_account"][0].update(spent_usd=0)),
    ("an account was passed", MONEY, lambda m: m.tables["runs_account"][0].update(cap_usd=0.009)),
    ("a reservation was never settled", MONEY, lambda m: m.tables["runs_allotment"][0].update(reserved_usd=0.02)),
    (
        "an allotment was drawn that no budget knows of",
        MONEY,
        lambda m: m.tables["runs_budgetperiod"][0].update(granted_usd=0),
    ),
    ("a budget was passed", MONEY, lambda m: m.tables["runs_budgetperiod"][0].update(cap_usd=0.009)),
    ("an effect happened twice", "duplicated", lambda m: m.ledger.append(m.ledger[1])),
    ("under another key", "duplicated", lambda m: m.ledger.append(m.ledger[1] | {"key": "baton-x"})),
    ("a start became two runs", "duplicated", lambda m: m.tables["runs_run"].append(m.of("runs_run")[0] | {"id": "2"})),
    (
        "a turn was played twice",
        "duplicated",
        lambda m: m.of("runs_step")[1].update(reply=m.of("runs_step")[0]["reply"]),
    ),
    ("a finding that was told is gone", "lost", lambda m: m.people.append(finding("c", "repeat"))),
    ("a cancel that was told is gone", "lost", lambda m: m.people.append(CANCELLED)),
    ("another call's result", "done without effect", lambda m: call(m).update(result='{"made":"r1.2"}')),
    ("done, and nothing happened", "done without effect", lambda m: m.ledger.pop()),
    ("it arrived without an attempt", "effects unaccounted for", lambda m: m.ledger.append(m.ledger[0])),
    ("it arrived from no call", "effects unaccounted for", lambda m: m.ledger.append(m.ledger[0] | {"key": "baton-x"})),
    ("it happened before its intent", "effects unaccounted for", lambda m: m.ledger[1].update(at=moment(3.5))),
    ("a run nobody started", "effects unaccounted for", lambda m: m.people.pop(0)),
    ("a decision nobody meant", "effects unaccounted for", lambda m: m.people[2].update(who="ada")),
    (
        "a finding nobody made",
        "effects unaccounted for",
        lambda m: m.of("core_event").append(event(25, "uncertain_call_decided", 7, call="c", finding="repeat")),
    ),
    (
        "unsafe, and sent again by the machine",
        "effects of calls not permitted",
        lambda m: m.of("runs_attempt").append(m.of("runs_attempt")[0] | {"number": 2}),
    ),
    ("begun after a cancel", "effects of calls not permitted", lambda m: with_cancel(m, "tool_call_executing")),
    ("refused, and happened", "effects of calls not permitted", lambda m: call(m).update(status="refused")),
    ("cancelled, and happened", "effects of calls not permitted", lambda m: call(m).update(status="cancelled")),
    (
        "rejected, and happened",
        "effects of calls not permitted",
        lambda m: m.of("approvals_decision")[0].update(verdict="rejected"),
    ),
    ("nobody was asked", "effects of calls not permitted", lambda m: call(m).update(request_id=None)),
    (
        "its approval was not used up",
        "effects of calls not permitted",
        lambda m: m.of("approvals_approvalrequest")[0].update(consumed_by_attempt=""),
    ),
    (
        "it happened before the yes",
        "effects of calls not permitted",
        lambda m: m.of("approvals_decision")[0].update(at=at(5)),
    ),
    ("a tool was stopped", STOPPED, lambda m: m.people.extend(stopped("tool", "unsafe_http_asks", 3.9, 4.1))),
    ("an agent was stopped", STOPPED, lambda m: m.people.extend(stopped("agent", "worker", 4.9, 5.1))),
    ("all was stopped", STOPPED, lambda m: m.people.extend(stopped("all", "", 0.9, 1.1))),
    (
        "failed, and happened",
        "effects of calls said not to have happened",
        lambda m: call(m).update(status="failed", error_kind="raised"),
    ),
    (
        "something else happened",
        "arguments not those approved",
        lambda m: m.ledger[1].update(arguments={"amount": 6, "mark": "r1.1"}),
    ),
    (
        "the person saw something else",
        "arguments not those approved",
        lambda m: m.people[2].update(saw={"arguments": {"amount": 6, "mark": "r1.1"}}),
    ),
    ("a zombie recorded a result", leasing.LINE, lambda m: with_claim(m, "tool_call_done")),
    ("a step under an old fence", leasing.LINE, lambda m: m.of("runs_step")[1].update(fence=1)),
    ("a claim without a fence", leasing.LINE, lambda m: m.of("runs_dispatch")[0].update(fence=1)),
    ("a call without its events", BIJECTION, lambda m: without_events(m, "tool_call_done")),
    ("a decision without its event", BIJECTION, lambda m: without_events(m, "approval_decided")),
    ("an approval too few", BIJECTION, lambda m: m.of("approvals_approvalrequest")[0].update(approvers=2)),
    (
        "an assent without its event",
        BIJECTION,
        lambda m: m.tables.update(approvals_assent=[{"id": "a", "request_id": "q", "by_id": 2}]),
    ),
    ("a step without its event", BIJECTION, lambda m: without_events(m, "step_answered")),
    ("an event without its attempt", BIJECTION, lambda m: m.of("runs_attempt").clear()),
    ("an event without its call", BIJECTION, lambda m: m.of("runs_toolcall").clear()),
    ("an event taken out", BIJECTION, lambda m: m.of("core_event").pop(4)),
    ("a move that is none", BIJECTION, lambda m: without_events(m, "tool_call_executing")),
    ("an event of a new type", BIJECTION, lambda m: m.of("core_event").append(event(25, "moon_landed", 7))),
    ("a run that does not end", "stuck runs", lambda m: m.of("runs_run")[0].update(status="waiting")),
    ("a dispatch that does not end", "stuck runs", lambda m: m.of("runs_dispatch")[0].update(status="working")),
]


@pytest.mark.parametrize(("line", "spoil"), [pytest.param(line, spoil, id=told) for told, line, spoil in SPOILED])
def test_what_is_spoiled_is_found(line: str, spoil: Spoil) -> None:
    material = well()

    spoil(material)

    assert check(material).count(line) > 0


@pytest.mark.parametrize(
    "stop",
    [
        stopped("tool", "unsafe_http_asks", 4.1, 9),  # after it was sent
        stopped("tool", "unsafe_http_asks", 0, 3.9),  # released before
        stopped("tool", "keyed_http_asks", 0, 9),
        stopped("agent", "closer", 0, 9),
    ],
)
def test_what_was_begun_before_a_stop_or_after_it_or_beside_it_is_clean(stop: list[Row]) -> None:
    material = well()
    material.people.extend(stop)

    assert check(material).is_clean


def test_the_wait_after_a_kill_is_measured_from_the_kill_to_the_next_committed_step() -> None:
    material = well()
    rows = material.of("core_event")
    index = next(index for index, row in enumerate(rows) if row["type"] == "tool_call_done")
    rows.insert(index, event(0, "dispatch_reclaimed", 4.8, "worker:here:8:cd", dispatch="d"))
    material.tables["core_event"] = [row | {"seq": seq} for seq, row in enumerate(rows, start=1)]
    material.nemesis = [
        {"at": moment(4.2), "fault": "kill_worker", "target": "worker-1", "pid": 7, "killed": True, "reported": True}
    ]

    assert leasing.recoveries(material) == {"reported": [pytest.approx(0.8)]}


def test_the_checker_shares_no_code_with_what_it_judges() -> None:
    """Its own process imports nothing of the platform, nor anything that is not in the standard library."""
    import subprocess
    import sys

    asked = (
        "import sys; import tests.chaos.checker;"
        "print({name.split('.')[0] for name in sys.modules} - set(sys.stdlib_module_names) - {'tests', '__main__'})"
    )
    told = subprocess.run([sys.executable, "-S", "-c", asked], capture_output=True, text=True, check=True)

    assert told.stdout.strip() == "set()"


def told_of_runs() -> set[str]:
    """The types of events that the platform appends to the chain of a run, where they are written out."""
    calls = (
        node
        for app in ("runs", "approvals")
        for file in (REPOSITORY / app).rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "run"
    )
    second = (call.args[1] for call in calls if len(call.args) > 1)
    return {type.value for type in second if isinstance(type, ast.Constant) and isinstance(type.value, str)}


def test_every_event_that_the_platform_tells_of_a_run_is_known() -> None:
    told = told_of_runs()

    assert {"worker_stopped", "node_added", "routed"} <= told
    assert {type for type in told if not bijection.is_known(type)} == set()
    assert not bijection.is_known("worker_vanished")
