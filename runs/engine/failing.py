"""When no model answers: what a failed call is counted at, when it is tried again, by which model, and who is asked."""

import datetime as dt
import random
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from django.conf import settings

from agents import catalogue, pricing
from agents.values import FailureKind, ModelFailure, ModelSpec
from approvals import requests
from approvals.models import ApprovalRequest
from orchestrator_site.core import events
from orchestrator_site.core.events import Record
from runs import leases, lifecycle, states
from runs.engine.waiting import wait
from runs.models import Dispatch, Step
from runs.states import StopReason
from runs.values import Continue, Ended, Lease, Outcome, Waiting
from tools.values import Risk

MODEL_KIND = "model"
# Failed tries of one model before the next in the chain is asked.
TRIES_PER_MODEL = 4
LONGEST_BACKOFF_SECONDS = 60
# A server that names a later moment is asked again after this long.
LONGEST_RETRY_AFTER_SECONDS = 24 * 3600
# Many dispatches are told the same moment: each comes somewhat later, and none comes sooner.
LATER_BY = 0.1


# -- which model -------------------------------------------------------------------------------------------------
def choose_model(chain: Sequence[str], failed: Sequence[Step]) -> ModelSpec | None:
    """The first model of the chain that has tries left, and whose key no other model has found useless."""
    refused = [catalogue.model(step.model) for step in failed if step.failure == FailureKind.NEXT_ACCESS]
    useless = {(model.endpoint, model.credential) for model in refused if model}
    for name in chain:
        own = [step for step in failed if step.model == name]
        if len(own) >= TRIES_PER_MODEL or any(step.failure != FailureKind.RETRY for step in own):
            continue
        model = catalogue.model(name)
        if model and (model.endpoint, model.credential) not in useless:
            return model
    return None


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
def owed(model: ModelSpec, reserved_usd: Decimal, failure: ModelFailure) -> tuple[Decimal, bool]:
    """What a failed call is counted at, and whether that is an estimate: all that was reserved, where nothing is known.

    Never more than was reserved.
    """
    if not failure.sent:
        return Decimal(0), False
    if failure.usage is None:
        return reserved_usd, True
    return min(pricing.cost_usd(model, failure.usage), reserved_usd), failure.is_usage_estimated


def after_failure(log: Record, dispatch: Dispatch, step: Step, failure: ModelFailure) -> Outcome:
    """Wait for the server with the slot free, while its model has tries left. The caller holds the dispatch."""
    if failure.kind == FailureKind.FATAL:
        return _end(log, dispatch, failure.sentence)
    if failure.kind != FailureKind.RETRY or leases.is_cancelled(dispatch) or is_out_of_time(dispatch):
        return Continue()
    failed = failed_tries(dispatch, list(dispatch.steps.order_by("number")))
    tries = sum(each.model == step.model for each in failed)
    if tries >= TRIES_PER_MODEL:
        return Continue()
    due_at = dispatch.now + dt.timedelta(seconds=_delay_seconds(failure, tries))
    return wait(log, dispatch, f"the model server: {failure.sentence}", due_at=due_at)


def _delay_seconds(failure: ModelFailure, tries: int) -> float:
    if failure.retry_after_seconds:
        asked_for = min(failure.retry_after_seconds, LONGEST_RETRY_AFTER_SECONDS)
        return asked_for + random.uniform(0, min(asked_for * LATER_BY, LONGEST_BACKOFF_SECONDS))
    return min(2**tries, LONGEST_BACKOFF_SECONDS) * random.uniform(0.5, 1)


def remaining_seconds(dispatch: Dispatch) -> float:
    """Working time that a held dispatch has left; below zero when it is over."""
    return dispatch.manifest.spec().limits.wall_seconds - leases.working_seconds(dispatch)


def is_out_of_time(dispatch: Dispatch) -> bool:
    return remaining_seconds(dispatch) <= 0


# -- when no model is left ---------------------------------------------------------------------------------------
def no_model(lease: Lease, failed: Sequence[Step]) -> Outcome:
    """A person is asked when another try may help; otherwise it ends, with what has to be mended."""
    with events.recording() as log:
        dispatch = leases.hold(lease)
        if leases.is_cancelled(dispatch):
            return Continue()
        if any(step.failure == FailureKind.RETRY for step in failed):
            return _ask_person(log, dispatch, failed)
        return _end(log, dispatch, _cause(failed))


def _ask_person(log: Record, dispatch: Dispatch, failed: Sequence[Step]) -> Waiting:
    if not ApprovalRequest.objects.open().filter(dispatch_id=dispatch.pk, kind=MODEL_KIND).exists():
        requests.ask(
            log,
            kind=MODEL_KIND,
            run_id=dispatch.run_id,
            dispatch_id=dispatch.pk,
            title=f"No model answers {dispatch.manifest.agent.slug}. Try again now?",
            frozen={"dispatch": str(dispatch.pk), "tries_from": failed[0].number + 1, "models": told(failed)},
            risk=Risk.LOW,
            reasons=["Every model of its chain has failed as often as it may."],
            requester_id=dispatch.run.owner_id,
            deadline_seconds=settings.BATON_APPROVAL_SECONDS,
        )
    return wait(log, dispatch, "a person to say whether to try again: no model answers")


def told(failed: Sequence[Step]) -> list[dict[str, Any]]:
    """What each model said last, in the order they were asked: [{model, tries, said}]."""
    by_model: dict[str, list[Step]] = {}
    for step in reversed(failed):
        by_model.setdefault(step.model, []).append(step)
    return [
        {"model": name, "tries": len(own), "said": own[-1].error.partition(": ")[2]} for name, own in by_model.items()
    ]


def _cause(failed: Sequence[Step]) -> str:
    if not failed:
        return "None of its models is in the catalogue: enable one of them, or publish a manifest that names another."
    return " ".join(each["said"] for each in told(failed))


def _end(log: Record, dispatch: Dispatch, cause: str) -> Ended:
    lifecycle.end_dispatch(log, dispatch, StopReason.MODEL_FAILED, cause)
    return Ended(StopReason.MODEL_FAILED)
