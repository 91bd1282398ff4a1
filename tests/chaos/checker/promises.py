"""What people were told, held against the rows: a 201 is one run, a 200 is a decision, and nobody else's are there."""

from collections import Counter

from tests.chaos.checker.findings import Verdict
from tests.chaos.checker.material import Material


def check(material: Material, verdict: Verdict) -> None:
    check_starts(material, verdict)
    check_decisions(material, verdict)


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
