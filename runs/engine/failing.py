"""When no model answers: what a failed call is counted at, when it is tried again, by which model, and who is asked."""

import datetime as dt
import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.conf import settings

from agents import catalogue, pricing, roster
from agents.roster import Roster
from agents.values import FailureKind, ModelFailure, ModelSpec
from approvals import requests
from approvals.models import ApprovalRequest
from orchestrator_site.core import events
from orchestrator_site.core.clock import database_now
from orchestrator_site.core.events import Record
from runs import budgets, leases, lifecycle, states
from runs.engine.waiting import hold_up, wait
from runs.models import Dispatch, Step
from runs.models.pacing import MODEL
from runs.pacing import breakers
from runs.pacing.deeds import Held
from runs.states import StopReason
from runs.values import Continue, Ended, Lease, Outcome, Waiting
from tools.values import Risk

MODEL_KIND = "model"
# Failed tries of a model before the next of the chain is preferred, and before it is asked no more: some five minutes.
TRIES_PER_MODEL = 4
TRIES_IN_ALL = 10
LONGEST_BACKOFF_SECONDS = 60
# A server that names a later moment is asked again after this long.
LONGEST_RETRY_AFTER_SECONDS = 24 * 3600
# A server that said nothing for so long is to blame, however long the agent had.
FAIR_SECONDS = 30
# Many dispatches are told the same moment: each comes somewhat later, and none comes sooner.
LATER_BY = 0.1


# -- which model -------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Choice:
    """The model to ask next, when `due_at` has come; `wait_seconds` is 0 where it has. `held`: its breaker is open."""

    model: ModelSpec
    tries: int = 0
    due_at: dt.datetime | None = None
    wait_seconds: float = 0
    held: Held | None = None


def choose_for(dispatch: Dispatch, failed: Sequence[Step], served: Roster) -> Choice | None:
    """As `choose`; where a breaker wants to be probed, the dispatch takes a probe, or goes on to the next model. No
    transaction is open."""
    probed: set[str] = set()
    while True:
        choice = choose(dispatch.pinned.models, failed, served, probed=probed)
        if choice is None or choice.wait_seconds:
            return choice
        if breakers.lets_through(served, MODEL, choice.model.name, dispatch.pk):
            return choice
        probed.add(choice.model.name)


def choose(
    chain: Sequence[str],
    failed: Sequence[Step],
    served: Roster,
    now: dt.datetime | None = None,
    *,
    probed: Collection[str] = (),
) -> Choice | None:
    """The first model of the chain that has not failed often, need not be waited for long, and has no open breaker;
    else whichever can be asked soonest; None when no model has tries left. `failed` as `failed_tries` gives it, `now`
    by the database; `probed`: those that others probe already.
    """
    if not failed and not breakers.standing(served):
        return next((Choice(model) for name in chain if (model := catalogue.payable(name, served))), None)
    now = now or database_now()
    choices = [choice for name in chain if (choice := _choice(name, failed, served, now, probed))]
    for choice in choices:
        if choice.held is None and choice.tries < TRIES_PER_MODEL and choice.wait_seconds <= LONGEST_BACKOFF_SECONDS:
            return choice
    return min(choices, key=lambda choice: choice.wait_seconds, default=None)


def _choice(
    name: str, failed: Sequence[Step], served: Roster, now: dt.datetime, probed: Collection[str]
) -> Choice | None:
    own = [step for step in failed if step.model == name]
    model = catalogue.payable(name, served)
    if model is None or _access(model) in _useless(failed, served):
        return None
    if len(own) >= TRIES_IN_ALL or any(step.failure != FailureKind.RETRY for step in own):
        return None
    due_at = own[0].retry_at if own else None
    held = None
    if (row := breakers.shut(served, MODEL, name)) and (name in probed or breakers.is_to_be_left(row, now)):
        held = breakers.held(row, now, due_at)
        due_at = held.due_at
    wait_seconds = max(0.0, (due_at - now).total_seconds()) if due_at else 0.0
    return Choice(model, len(own), due_at, wait_seconds, held)


def _useless(failed: Sequence[Step], served: Roster) -> set[tuple[str, str]]:
    """Where, and with which key, no model need be asked."""
    refused = [catalogue.model(step.model, served) for step in failed if step.failure == FailureKind.NEXT_ACCESS]
    return {_access(model) for model in refused if model}


def _access(model: ModelSpec) -> tuple[str, str]:
    return model.endpoint, model.credential


def failed_tries(dispatch: Dispatch, steps: Sequence[Step]) -> list[Step]:
    """The failed steps since the last answer, or since a person said to try again; newest first."""
    failed: list[Step] = []
    for step in reversed(steps):
        if step.status == states.ANSWERED or step.number < dispatch.tries_from:
            break
        if step.status == states.FAILED:
            failed.append(step)
    return failed


# -- after one failure -------------------------------------------------------------------------------------------
def record(log: Record, dispatch: Dispatch, step: Step, model: ModelSpec, failure: ModelFailure) -> Outcome:
    """Keep why a call failed and what it is counted at, and wait where that helps. The caller holds the dispatch."""
    if failure.is_outage and _had_its_time(dispatch, step, failure):
        breakers.failed(log, MODEL, model.name, dispatch.pk, failure.code)
    elif "status" in failure.details and not failure.is_outage:
        breakers.worked(log, roster.current(dispatch.epoch), MODEL, model.name, dispatch.pk)
    spent, is_estimate = owed(model, step.reserved_usd, failure)
    failed = failed_tries(dispatch, list(dispatch.steps.defer("reply").order_by("number")))
    tries = 1 + sum(each.model == step.model for each in failed)
    lifecycle.move_step(
        log,
        dispatch,
        step,
        states.FAILED,
        failure=str(failure.kind),
        error=f"{failure.code}: {failure.sentence}"[:500],
        ended_at=dispatch.now,
        retry_at=_retry_at(dispatch.now, failure, tries),
        cost_usd=spent,
        cost_estimated=is_estimate,
    )
    leases.note(dispatch, cost_usd=dispatch.cost_usd + spent, hand_deadline=None)
    outcome = _after(log, dispatch, [step, *failed], failure)
    budgets.settle(log, dispatch, step.reserved_usd, spent, step.allotments)
    return outcome


def _had_its_time(dispatch: Dispatch, step: Step, failure: ModelFailure) -> bool:
    """A call that an agent's own working time cut short says nothing of the server."""
    if failure.code != "timeout" or remaining_seconds(dispatch) > 0:
        return True
    asked_at = Step.objects.values_list("asked_at", flat=True).get(pk=step.pk)
    return (dispatch.now - asked_at).total_seconds() >= FAIR_SECONDS


def owed(model: ModelSpec, reserved_usd: Decimal, failure: ModelFailure) -> tuple[Decimal, bool]:
    """What a failed call is counted at, and whether that is an estimate: all that was reserved, where nothing is known.

    Never more than was reserved.
    """
    if not failure.sent:
        return Decimal(0), False
    if failure.usage is None:
        return reserved_usd, True
    return min(pricing.cost_usd(model, failure.usage), reserved_usd), failure.is_usage_estimated


def _retry_at(now: dt.datetime, failure: ModelFailure, tries: int) -> dt.datetime | None:
    if failure.kind != FailureKind.RETRY:
        return None
    return now + dt.timedelta(seconds=pause_seconds(failure, tries))


def pause_seconds(failure: ModelFailure, tries: int) -> float:
    """Before its model is asked again; `tries` counts this one. Never less than the server said."""
    if failure.retry_after_seconds:
        asked_for = min(failure.retry_after_seconds, LONGEST_RETRY_AFTER_SECONDS)
        return asked_for + random.uniform(0, min(asked_for * LATER_BY, LONGEST_BACKOFF_SECONDS))
    return min(2**tries, LONGEST_BACKOFF_SECONDS) * random.uniform(0.5, 1)


def _after(log: Record, dispatch: Dispatch, failed: Sequence[Step], failure: ModelFailure) -> Outcome:
    if failure.kind == FailureKind.FATAL:
        return _end(log, dispatch, failure.sentence)
    if leases.is_cancelled(dispatch) or remaining_seconds(dispatch) <= 0:
        return Continue()
    choice = choose(dispatch.pinned.models, failed, roster.current(dispatch.epoch), dispatch.now)
    if choice is None or not choice.wait_seconds:
        return Continue()
    return _wait_for_server(log, dispatch, choice, failed)


def wait_for_server(lease: Lease, choice: Choice, failed: Sequence[Step]) -> Outcome:
    """Somebody woke the dispatch before its model may be asked again."""
    with events.recording() as log:
        dispatch = leases.hold(lease)
        if leases.is_stopped(dispatch):
            return Continue()
        return _wait_for_server(log, dispatch, choice, failed)


def _wait_for_server(log: Record, dispatch: Dispatch, choice: Choice, failed: Sequence[Step]) -> Waiting:
    if choice.held is not None:
        return hold_up(log, dispatch, choice.held)
    said = next(step for step in failed if step.model == choice.model.name)
    return wait(log, dispatch, f"the model server: {_sentence(said)}", due_at=choice.due_at)


def remaining_seconds(dispatch: Dispatch) -> float:
    """Working time that a held dispatch has left; below zero when it is over."""
    return dispatch.pinned.limits.wall_seconds - leases.working_seconds(dispatch)


# -- when no model is left ---------------------------------------------------------------------------------------
def no_model(lease: Lease, failed: Sequence[Step]) -> Outcome:
    """A person is asked when another try may help; otherwise it ends, with what has to be mended."""
    with events.recording() as log:
        dispatch = leases.hold(lease)
        if leases.is_stopped(dispatch):
            return Continue()
        unpriced = _unpriced(dispatch)
        if unpriced or any(step.failure == FailureKind.RETRY for step in failed):
            return _ask_person(log, dispatch, failed, unpriced)
        return _end(log, dispatch, _cause(failed))


def _unpriced(dispatch: Dispatch) -> list[str]:
    served = roster.current(dispatch.epoch)
    known = [catalogue.model(name, served) for name in dispatch.pinned.models]
    return [model.name for model in known if model is not None and not model.is_priced]


UNPRICED = "It has no price in the catalogue, so that no budget could hold. Give its prices, 0 where it costs nothing."


def _ask_person(log: Record, dispatch: Dispatch, failed: Sequence[Step], unpriced: Sequence[str]) -> Waiting:
    if not ApprovalRequest.objects.open().filter(dispatch_id=dispatch.pk, kind=MODEL_KIND).exists():
        requests.ask(
            log,
            kind=MODEL_KIND,
            run_id=dispatch.run_id,
            dispatch_id=dispatch.pk,
            title=f"No model answers {dispatch.manifest.agent.slug}. Try again now?",
            frozen={
                "dispatch": str(dispatch.pk),
                "tries_from": failed[0].number + 1 if failed else dispatch.tries_from,
                "models": told(failed) + [{"model": name, "tries": 0, "said": UNPRICED} for name in unpriced],
            },
            risk=Risk.LOW,
            reasons=_why_nobody_answers(failed, unpriced),
            requester_id=dispatch.run.owner_id,
            deadline_seconds=settings.BATON_APPROVAL_SECONDS,
        )
    return wait(log, dispatch, "a person to say whether to try again: no model answers")


def _why_nobody_answers(failed: Sequence[Step], unpriced: Sequence[str]) -> list[str]:
    reasons = ["Every model of its chain has failed as often as it may."] if failed else []
    return reasons + [f"{name} is not asked. {UNPRICED}" for name in unpriced]


def told(failed: Sequence[Step]) -> list[dict[str, Any]]:
    """What each model said last, in the order they were asked: [{model, tries, said}]."""
    by_model: dict[str, list[Step]] = {}
    for step in reversed(failed):
        by_model.setdefault(step.model, []).append(step)
    return [{"model": name, "tries": len(own), "said": _sentence(own[-1])} for name, own in by_model.items()]


def _sentence(step: Step) -> str:
    """What a failed step's error says to people, without its code."""
    return step.error.partition(": ")[2]


def _cause(failed: Sequence[Step]) -> str:
    if not failed:
        return "None of its models is in the catalogue: enable one of them, or publish a manifest that names another."
    return " ".join(each["said"] for each in told(failed))


def _end(log: Record, dispatch: Dispatch, cause: str) -> Ended:
    lifecycle.end_dispatch(log, dispatch, StopReason.MODEL_FAILED, cause)
    return Ended(StopReason.MODEL_FAILED)
