"""What happened outside, held against the calls: once, with its intent before it, permitted, and as it was approved."""

import json
from collections import defaultdict

from tests.chaos.checker.findings import Verdict
from tests.chaos.checker.material import FINAL_CALL, FINAL_DISPATCH, Effect, Material, Row, key_of, seconds

PERMITTING = {"approved", "modified"}
# What a person reads where a call would do once more what was done in its run.
REPEATS = "The same call already had its effect in this run; this would repeat it."
# Errors that say: it happened, and only its result cannot be given.
HAPPENED_ALL_THE_SAME = {"too_large", "invalid_result"}
# The database stamps an attempt when its transaction begins, the ledger when the effect is made.
CLOCK_GRAIN_SECONDS = 0.005


def check(material: Material, verdict: Verdict) -> None:
    check_effects(material, verdict)
    check_calls(material, verdict)
    check_arguments(material, verdict)


def check_effects(material: Material, verdict: Verdict) -> None:
    by_mark: defaultdict[str, list[Effect]] = defaultdict(list)
    for effects in material.effects.values():
        for effect in effects:
            by_mark[effect.mark].append(effect)
    calls_by_key = {key_of(call): call for call in material.calls.values()}
    for mark, effects in by_mark.items():
        if len(effects) > 1 and not _are_repeated_knowingly(material, effects, calls_by_key):
            told = ", ".join(f"{effect.key} at {effect.at:.3f}" for effect in effects)
            verdict.say("duplicated", f"{effects[0].kind} {mark} happened {len(effects)} times: {told}")
    for key, arrived in material.arrivals.items():
        call = calls_by_key.get(key)
        if call is None:
            verdict.say("effects unaccounted for", f"{key} arrived outside, and no call has it")
            continue
        attempts = material.attempts.get(call["id"], [])
        if arrived > len(attempts):
            verdict.say("effects unaccounted for", f"{key} arrived {arrived} times from {len(attempts)} attempts")
        first = min((seconds(attempt["sent_at"]) for attempt in attempts), default=float("inf"))
        for effect in material.effects.get(key, []):
            if effect.at + CLOCK_GRAIN_SECONDS < first:
                verdict.say("effects unaccounted for", f"{key} happened before its intent was committed")


def _are_repeated_knowingly(material: Material, effects: list[Effect], calls: dict[str, Row]) -> bool:
    """A person had a part of the run done again: every effect of a mark but the first is of another call of the same
    run, which a person approved for itself, having read that it would repeat what was sent before they were asked."""
    if len({effect.key for effect in effects}) < len(effects) or not all(effect.key in calls for effect in effects):
        return False
    first, *others = [calls[effect.key] for effect in sorted(effects, key=lambda effect: effect.at)]
    before = [first]
    for call in others:
        if _run_of(material, call) != _run_of(material, first) or not _is_approved_by_person(material, call):
            return False
        order = _order_of_events(material, call)
        asked = order.get(("approval_requested", call["request_id"]), 0)
        sent = [each for each in before if order.get(("tool_call_executing", each["id"]), asked) < asked]
        alike = [each for each in sent if each["arguments"] == call["proposed_arguments"]]
        if alike and not _was_told_of_repeating(material, call):
            return False
        before.append(call)
    return True


def _run_of(material: Material, call: Row) -> str:
    return material.dispatches[call["dispatch_id"]]["run_id"]


def _is_approved_by_person(material: Material, call: Row) -> bool:
    decision = material.decisions.get(call["request_id"] or "")
    return decision is not None and decision["by_id"] is not None and decision["verdict"] in PERMITTING


def _order_of_events(material: Material, call: Row) -> dict[tuple[str, str], int]:
    """When, in the order of its run, each request was opened, and each call was first sent."""
    order: dict[tuple[str, str], int] = {}
    for event in material.events.get(_run_of(material, call), []):
        if event["type"] in ("approval_requested", "tool_call_executing"):
            about = event["data"].get("request" if event["type"] == "approval_requested" else "call")
            order.setdefault((event["type"], about), event["seq"])
    return order


def _was_told_of_repeating(material: Material, call: Row) -> bool:
    """By the diary of whoever approved it."""
    who = material.decisions[call["request_id"]]["by_name"]
    read = [
        line.get("reasons", ())
        for line in material.people
        if line["what"] == "decides" and (line["request"], line["who"]) == (call["request_id"], who)
    ]
    return any(REPEATS in reasons for reasons in read)


def check_calls(material: Material, verdict: Verdict) -> None:
    for call in material.calls.values():
        key, status = key_of(call), call["status"]
        made = len(material.effects.get(key, []))
        attempts = material.attempts.get(call["id"], [])
        dispatch = material.dispatches[call["dispatch_id"]]
        if status not in FINAL_CALL and dispatch["status"] in FINAL_DISPATCH:
            verdict.say("lost", f"call {call['id']} of an ended dispatch is still {status}")
        if any(attempt["status"] == "sent" for attempt in attempts) and dispatch["status"] in FINAL_DISPATCH:
            verdict.say("lost", f"an attempt of call {call['id']} was never settled")
        if call["tool_version_id"] is None or _is_answered_by_person(material, call):
            if made:
                verdict.say("effects of calls not permitted", f"{key} was answered by a person, and happened")
            continue
        if status == "done":
            if call["effect"] == "pure" and not material.reads[key]:
                verdict.say("done without effect", f"pure {key} was never read")
            if call["effect"] != "pure" and not made:
                verdict.say("done without effect", f"{call['effect']} {key}")
        if status in ("refused", "cancelled") and made:
            verdict.say("effects of calls not permitted", f"{key} is {status}, and happened")
        if status in ("proposed", "ruled", "awaiting_approval", "deferred", "ready") and made and not attempts:
            verdict.say("effects of calls not permitted", f"{key} is {status}, and happened")
        if status == "failed" and made and call["error_kind"] not in HAPPENED_ALL_THE_SAME:
            told = f"{call['effect']} {key} is failed ({call['error_kind']}: {call['result'][:80]}), and happened"
            verdict.say("effects of calls said not to have happened", told)
        if status == "resolved" and call["error_kind"] == "" and not made:
            verdict.say("done without effect", f"{key} was resolved as having happened")
        if status == "done":
            _check_result(call, verdict)
        if made:
            _check_permission(material, call, verdict)
        if call["effect"] == "unsafe" and len(attempts) > 1 + material.repeats[call["id"]]:
            told = (
                f"unsafe {key} has {len(attempts)} attempts, and a person asked for {material.repeats[call['id']]} more"
            )
            verdict.say("effects of calls not permitted", told)


def _check_result(call: Row, verdict: Verdict) -> None:
    """What the model is told is what the outside world answered to this call and no other."""
    mark = json.loads(call["arguments"])["mark"]
    if call["result"] not in (json.dumps({word: mark}, separators=(",", ":")) for word in ("made", "read")):
        verdict.say("done without effect", f"{key_of(call)} ({mark}) was given another result: {call['result'][:80]}")


def _is_answered_by_person(material: Material, call: Row) -> bool:
    decision = material.decisions.get(call["request_id"] or "")
    return decision is not None and decision["verdict"] == "answered"


def _check_permission(material: Material, call: Row, verdict: Verdict) -> None:
    """What asks was permitted by a person, who said so before it happened, and whose word was used up for it."""
    ruled = json.loads(call["ruling"] or "{}").get("verdict")
    if not call["tool"].endswith("_asks") and ruled != "NeedsApproval" and call["request_id"] is None:
        return
    key, request = key_of(call), material.requests.get(call["request_id"] or "")
    decision = material.decisions.get(call["request_id"] or "")
    if request is None or decision is None or decision["verdict"] not in PERMITTING:
        verdict.say("effects of calls not permitted", f"{key} asks, and happened without a person's yes")
        return
    if request["consumed_by_attempt"] != call["id"]:
        verdict.say("effects of calls not permitted", f"{key} happened without using up its approval")
    first = min(effect.at for effect in material.effects[key])
    if seconds(decision["at"]) > first + CLOCK_GRAIN_SECONDS:
        verdict.say("effects of calls not permitted", f"{key} happened before it was permitted")


# -- arguments ---------------------------------------------------------------------------------------------------
def check_arguments(material: Material, verdict: Verdict) -> None:
    """What happened outside is what the model asked for, or what the person saw, or what the person made of it."""
    meant = _arguments_meant_by_people(material)
    for call in material.calls.values():
        effects = material.effects.get(key_of(call), [])
        if not effects:
            continue
        wanted = [json.loads(call["proposed_arguments"])] if call["request_id"] is None else meant.get(call["id"], [])
        for effect in effects:
            if effect.arguments not in wanted:
                told = f"{key_of(call)} happened with {effect.arguments}; permitted was {wanted}"
                verdict.say("arguments not those approved", told)


def _arguments_meant_by_people(material: Material) -> dict[str, list[Row]]:
    """By call, from the people's own diary: what they saw and approved, or wrote in its place."""
    meant: defaultdict[str, list[Row]] = defaultdict(list)
    for line in material.people:
        if line["what"] != "decides" or line["kind"] != "tool_call":
            continue
        body = line["body"]
        decision = material.decisions.get(line["request"])
        if decision is None or decision["verdict"] != body["verdict"]:
            continue
        if body["verdict"] == "approved":
            meant[line["call"]].append(line["saw"]["arguments"])
        elif body["verdict"] == "modified" and json.loads(decision["arguments"]) == body["arguments"]:
            meant[line["call"]].append(body["arguments"])
    return dict(meant)


# -- what is counted and is no fault -----------------------------------------------------------------------------
def uncertain(material: Material) -> tuple[int, int]:
    """How many calls were ever in doubt, and how many of those had happened."""
    ever = {
        event["data"]["call"]
        for events in material.events.values()
        for event in events
        if event["type"] == "tool_call_uncertain"
    }
    return len(ever), sum(bool(material.effects.get(f"baton-{call}")) for call in ever)


def gated(material: Material) -> tuple[int, int]:
    """Calls that passed the gate, and those of them that asked a person."""
    ruled = [call for call in material.calls.values() if call["ruling"]]
    return len(ruled), sum(call["request_id"] is not None for call in ruled)
