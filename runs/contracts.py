"""Contracts: a final answer that is not what was agreed goes back to its agent, and ends it when it is so again."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from orchestrator_site.core import json_schema
from orchestrator_site.core.events import SYSTEM, Record
from runs import mail
from runs.models import Dispatch, Step
from runs.states import StopReason
from runs.values import Contract, Finish, GiveUp, NextStep, SendBack

# A sentence for each fault of a value that fits the schema; it may read rows, and no lock is held.
Rules = Callable[[Dispatch, Any], list[str]]

LONGEST_SCHEMA_TOLD = 8000
LONGEST_FAULT = 500
# With the longest schema it is less than a message may have.
FAULTS_CHARACTERS = 6000
# How what goes back begins, where a supervisor's call has brought it.
MISFIT = "The answer is not what was agreed:"

_rules: dict[str, Rules] = {}


def register(name: str, rules: Rules) -> None:
    """Let contracts name rules beyond their schema."""
    _rules[name] = rules


def faults(schema: Mapping[str, Any], text: str) -> list[str]:
    """What keeps a text from being JSON that fits the schema, a sentence each; empty when it does."""
    value, fault = _read(text)
    return [fault] if fault else _misfits(schema, value)


def faults_of(dispatch: Dispatch, contract: Contract, text: str) -> list[str]:
    """As `faults`; of what fits the schema, the faults by the contract's rules."""
    value, fault = _read(text)
    found = [fault] if fault else _misfits(contract.schema, value)
    if not found and contract.rules:
        found = _rules[contract.rules](dispatch, value)
    return [each[:LONGEST_FAULT] for each in found]


def _read(text: str) -> tuple[Any, str]:
    """The value, or why there is none."""
    try:
        return json.loads(text, parse_constant=_no_number), ""
    except (ValueError, RecursionError) as error:
        return None, f"The answer is not JSON alone: {error}."


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def _misfits(schema: Mapping[str, Any], value: Any) -> list[str]:
    try:
        return json_schema.mistakes(schema, value, root="answer", unknown="is not part of the agreed form")
    except json_schema.Unusable as error:
        return [f"The agreed JSON Schema {error}."]


def held_to(dispatch: Dispatch, following: NextStep, returned: int) -> NextStep:
    """The next step, where a final answer is held to the dispatch's contract. `returned`: how often one went back."""
    contract = dispatch.contract
    if contract is None or not isinstance(following, Finish):
        return following
    found = faults_of(dispatch, contract, following.text)
    if not found:
        return following
    if returned < contract.returns:
        return SendBack(tuple(found))
    return GiveUp(StopReason.CONTRACT_VIOLATED, f"Its answer is not what was agreed. {' '.join(found)}")


def told(faults: Sequence[str]) -> list[str]:
    """The first of them, and how many more there are. Pure."""
    first: list[str] = []
    characters = 0
    for fault in faults:
        characters += len(fault)
        if characters > FAULTS_CHARACTERS:
            return [*first, f"and {len(faults) - len(first)} more."]
        first.append(fault)
    return first


def send_back(log: Record, dispatch: Dispatch, step: Step, faults: Sequence[str]) -> None:
    """Return an answer to its agent, with what is wrong with it. The caller holds the dispatch."""
    log.run(dispatch.run_id, "answer_returned", dispatch=str(dispatch.pk), step=step.number, message=faults[0][:200])
    assert dispatch.contract is not None
    mail.post(log, dispatch, _returned(dispatch.contract, faults), sender=SYSTEM)


def _returned(contract: Contract, faults: Sequence[str]) -> str:
    lines = "\n".join(f"- {fault}" for fault in told(faults))
    schema = json.dumps(contract.schema, ensure_ascii=False)
    form = f" of this schema:\n{schema}" if len(schema) <= LONGEST_SCHEMA_TOLD else "."
    return f"Your answer is not what was agreed:\n{lines}\nGive the whole answer again, as JSON alone{form}"
