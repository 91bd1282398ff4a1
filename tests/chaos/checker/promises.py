"""What people were told, held against the rows: a 201 is one run, a 200 is a decision, and nobody else's are there."""

from collections import Counter

from tests.chaos.checker.findings import Verdict
from tests.chaos.checker.material import Material, Row

BEGINNINGS = {"step_asked", "tool_call_executing", "approval_requested"}


def check(material: Material, verdict: Verdict) -> None:
    check_starts(material, verdict)
    check_decisions(material, verdict)
    check_findings(material, verdict)
    check_cancels(material, verdict)


def check_starts(material: Material, verdict: Verdict) -> None:
    asked = {line["mark"] for line in material.people if line["what"] == "starts"}
    accepted = {
        line["mark"]: line["run"] for line in material.people if line["what"] == "started" and line["status"] == 201
    }
    there = Counter(run["metadata"].get("mark") for run in material.runs.values())
    for mark, run in accepted.items():
        if run not in material.runs:
            verdict.say("lost", f"run {run} ({mark}) was accepted and is not there")
    for mark, count in there.items():
        if mark not in asked:
            verdict.say("effects unaccounted for", f"run {mark} was started by nobody")
        elif count > 1:
            verdict.say("duplicated", f"run {mark} is there {count} times")


def check_decisions(material: Material, verdict: Verdict) -> None:
    """The decisions of people are those that people meant, and what they were told was decided is decided."""
    meant = {
        (line["request"], line["who"], line["body"]["verdict"]) for line in material.people if line["what"] == "decides"
    }
    meant |= {(line["request"], line["who"], "answered") for line in material.people if line["what"] == "answers"}
    for request, decision in material.decisions.items():
        if decision["by_id"] is None:
            continue
        if (request, decision["by_name"], decision["verdict"]) not in meant and decision["verdict"] != "superseded":
            told = f"request {request} was {decision['verdict']} by {decision['by_name']}, who did not mean it"
            verdict.say("effects unaccounted for", told)
    for line in material.people:
        if line["what"] in ("decided", "answered") and line["status"] == 200:
            kept = material.decisions.get(line["request"])
            if kept is None or kept["by_name"] != line["who"]:
                verdict.say("lost", f"{line['who']} was told that request {line['request']} is decided")


def check_findings(material: Material, verdict: Verdict) -> None:
    """What a person was told was noted of a call in doubt is noted, and nothing else is."""
    told = Counter((line["call"], line["finding"]) for line in material.people if _went_well(line, "found"))
    noted = Counter(
        (event["data"]["call"], event["data"]["finding"])
        for events in material.events.values()
        for event in events
        if event["type"] == "uncertain_call_decided"
    )
    for call, finding in told - noted:
        verdict.say("lost", f"olivia was told that call {call} is noted as {finding}")
    for call, finding in noted - told:
        verdict.say("effects unaccounted for", f"call {call} is noted as {finding}, and nobody was told so")


def check_cancels(material: Material, verdict: Verdict) -> None:
    """A cancel that was told is kept, and from its commit on nothing new is begun."""
    for line in material.people:
        if _went_well(line, "cancelled") and not material.runs[line["run"]]["cancel_requested_at"]:
            verdict.say("lost", f"the app was told that run {line['run']} is being cancelled")
    for run, events in material.events.items():
        types = [event["type"] for event in events]
        if "cancel_requested" not in types:
            continue
        later = types[types.index("cancel_requested") :]
        for type in BEGINNINGS & set(later):
            verdict.say("effects of calls not permitted", f"{type} in run {run} after it was cancelled")


def _went_well(line: Row, what: str) -> bool:
    return line["what"] == what and line["status"] == 200
