"""Runs, dispatches and steps: did all come to their end, with every step and every call the model asked for?"""

import json
from collections.abc import Iterator

from tests.chaos.checker.findings import Verdict
from tests.chaos.checker.material import FINAL_DISPATCH, FINAL_RUN, Material, Row, grouped


def check(material: Material, verdict: Verdict) -> None:
    check_runs(material, verdict)
    check_dispatches(material, verdict)


def check_runs(material: Material, verdict: Verdict) -> None:
    for run in material.runs.values():
        if run["status"] not in FINAL_RUN:
            verdict.say("stuck runs", f"run {run['id']} is {run['status']}: {run['waiting_on']}")
    for dispatch in material.dispatches.values():
        run = material.runs[dispatch["run_id"]]
        if run["status"] in FINAL_RUN and dispatch["status"] not in FINAL_DISPATCH:
            verdict.say("stuck runs", f"dispatch {dispatch['id']} is {dispatch['status']} in a run that has ended")


def check_dispatches(material: Material, verdict: Verdict) -> None:
    by_step = grouped(material.calls.values(), "step_id")
    for dispatch in material.dispatches.values():
        steps = material.steps.get(dispatch["id"], [])
        if [step["number"] for step in steps] != list(range(1, len(steps) + 1)):
            verdict.say("lost", f"dispatch {dispatch['id']} misses a step: {[step['number'] for step in steps]}")
        for step in steps:
            if step["status"] == "asked" and dispatch["status"] in FINAL_DISPATCH:
                verdict.say("lost", f"step {step['number']} of ended dispatch {dispatch['id']} was never settled")
            if step["status"] == "answered":
                _check_step(step, by_step.get(step["id"], []), verdict)
        check_script(material, dispatch, steps, verdict)


def _check_step(step: Row, calls: list[Row], verdict: Verdict) -> None:
    """Every call of the reply has its row, with what the model asked for."""
    asked = [block for block in json.loads(step["reply"]) if block.get("type") == "tool_use"]
    kept = sorted(calls, key=lambda call: call["position"])
    if step["stop_reason"] != "tool_use":
        asked = []
    if [(block["name"], block["input"]) for block in asked] != [
        (call["tool"], json.loads(call["proposed_arguments"])) for call in kept
    ]:
        verdict.say("lost", f"step {step['id']} asked for {len(asked)} calls, and {len(kept)} are kept or differ")


def check_script(material: Material, dispatch: Row, steps: list[Row], verdict: Verdict) -> None:
    """A dispatch that says it finished has played its script to the end, each turn once and in order."""
    turns = script_of(material, dispatch)
    if turns is None:
        return
    answered = [step for step in steps if step["status"] == "answered"]
    played = [
        [block["name"] for block in json.loads(step["reply"]) if block.get("type") == "tool_use"] for step in answered
    ]
    written = [[use["name"] for use in turn.get("tools", [])] for turn in turns]
    if played != written[: len(played)]:
        verdict.say("duplicated", f"dispatch {dispatch['id']} played {played} where {written} was written")
    if dispatch["stop_reason"] == "finished" and len(played) < len(written):
        verdict.say("lost", f"dispatch {dispatch['id']} finished after {len(played)} of {len(written)} turns")


def script_of(material: Material, dispatch: Row) -> list[Row] | None:
    agent = material.slugs.get(dispatch["manifest_id"], "")
    for text in (dispatch["task"], dispatch["briefing"]):
        for value in objects_in(text):
            if "script" in value:
                return value["script"]
            if "scripts" in value:
                return value["scripts"].get(f"You are {agent}.")
    return None


def objects_in(text: str) -> Iterator[Row]:
    decoder, start = json.JSONDecoder(), 0
    while (start := text.find("{", start)) >= 0:
        try:
            value, start = decoder.raw_decode(text, start)
        except ValueError:
            start += 1
            continue
        if isinstance(value, dict):
            yield value
