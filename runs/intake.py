"""Work enters the system here, whatever door it came by."""

import math
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.contrib.auth.models import User

from agents.models import Agent
from orchestrator_site.core import canonical, events
from runs import budgets, orchestration, routing, states
from runs.errors import BadRequest, NotPossible
from runs.models import Account, Conversation, Routing, Run, ToolCall
from runs.models.runs import MAY_PRIORITISE, PRIORITIES, RETRY_OF
from runs.orchestration import plans
from runs.planning.checking import NotAPlan, Setting
from runs.routing import Judged
from runs.values import UNSTORABLE
from tools import flow
from tools.values import Label

INPUT_LIMIT = 100_000
BUDGET_LIMIT_USD = 1_000_000


def start(
    owner: User,
    input: str,
    *,
    source: str,
    agent: str | None = None,
    conversation: UUID | None = None,
    metadata: dict[str, Any] | None = None,
    budget_usd: Decimal | None = None,
    plan: Mapping[str, Any] | None = None,
    input_labels: Iterable[str] = (),
    priority: int = 0,
    judged: Judged | None = None,
) -> Run:
    """Accept a piece of work and set its first node going. Raises BadRequest naming each wrong field.

    `plan`: {template, parameters}, or a whole plan. `judged`: what `judge` said of it, for callers with a transaction
    open; the others leave it out. `input_labels`: untrusted, sensitive; of an input that is passed on, such as a
    customer's e-mail, and not the words of whoever starts the run.
    """
    faults: dict[str, str] = {}
    named = _agent(agent, faults)
    follows = _conversation(owner, conversation, faults)
    if not input.strip():
        faults["input"] = "Say what is to be done."
    elif len(input) > INPUT_LIMIT:
        faults["input"] = f"It has {len(input):,} characters; the limit is {INPUT_LIMIT:,}."
    elif UNSTORABLE.search(input):
        faults["input"] = "It holds a NUL or half a character, which cannot be kept."
    if budget_usd is not None and not (math.isfinite(budget_usd) and 0 < budget_usd <= BUDGET_LIMIT_USD):
        faults["budget_usd"] = f"A budget is more than zero and at most {BUDGET_LIMIT_USD:,}; leave it out for none."
    if priority not in PRIORITIES:
        faults["priority"] = f"A priority is from {PRIORITIES[0]} to {PRIORITIES[-1]}; 0 where nothing is said."
    elif priority > 0 and not owner.has_perm(MAY_PRIORITISE):
        faults["priority"] = "You may have a run come after others, below 0, and not before them."
    _check_metadata(metadata or {}, faults)
    if not set(input_labels) <= set(Label):
        faults["input_labels"] = f"Choose among {' and '.join(Label)}; leave it out for a person's own words."
    if plan is not None:
        _check_plan(owner, input, named, plan, budget_usd, faults)
    if faults:
        raise BadRequest(faults)
    if named is None and plan is None:
        judged = judged or routing.judge(owner, input, metadata or {}, budget_usd=budget_usd)
        plan = judged.plan
    with events.recording(together=True) as log:
        run = Run.objects.create(
            owner=owner,
            input=input,
            source=source,
            agent=named,
            conversation=follows or Conversation.objects.create(owner=owner),
            metadata=metadata or {},
            labels=flow.joined(*input_labels),
            plan=plan,
            priority=priority,
        )
        log.begins(run.pk, run.created_at)
        if budget_usd is not None:
            budgets.open_account(run, budget_usd)
        log.run(
            run.pk,
            "run_accepted",
            actor=f"user:{owner.get_username()}",
            source=source,
            input_digest=canonical.digest(input),
            agent=agent,
            budget_usd=None if budget_usd is None else str(budget_usd),
        )
        orchestration.begin(log, run, judged)
    return run


def judge(
    owner: User,
    input: str,
    *,
    agent: str | None = None,
    metadata: dict[str, Any] | None = None,
    budget_usd: Decimal | None = None,
    plan: Mapping[str, Any] | None = None,
    **more: Any,
) -> Judged | None:
    """Ahead of the transaction in which a run is started: whose it is, where it names nobody. Takes what `start` does;
    what is wrong with it is left to `start` to say."""
    if agent or plan is not None or not input.strip() or len(input) > INPUT_LIMIT or UNSTORABLE.search(input):
        return None
    return routing.judge(owner, input, metadata or {}, budget_usd=budget_usd)


def retry(run: Run, by: User, *, source: str, agent: str | None = None, judged: Judged | None = None) -> Run:
    """The same request once more, as a new run, in the conversation where that is one's own. `agent`: who gets it now.

    Raises NotPossible while it is at work, or when it had effects; BadRequest as `start` does.
    """
    if objection := why_no_retry(run):
        raise NotPossible(objection)
    conversation = run.conversation_id if run.owner_id == by.pk else None
    return start(by, run.input, source=source, conversation=conversation, judged=judged, **_as_asked(run, agent))


def _as_asked(run: Run, agent: str | None) -> dict[str, Any]:
    """What it named; a plan that routing led to was not named."""
    was_routed = Routing.objects.filter(run=run).exists()
    return {
        "agent": agent or (run.agent.slug if run.agent else None),
        "metadata": run.metadata | {RETRY_OF: str(run.pk)},
        "budget_usd": Account.objects.filter(run=run).values_list("cap_usd", flat=True).first(),
        "plan": None if agent or was_routed else run.plan,
        "input_labels": run.labels.split(),
        "priority": min(run.priority, 0),
    }


def judge_retry(run: Run, by: User, *, agent: str | None = None) -> Judged | None:
    """As `judge`, ahead of the transaction in which it is tried again."""
    return None if why_no_retry(run) else judge(by, run.input, **_as_asked(run, agent))


def why_no_retry(run: Run) -> str | None:
    """A sentence with the way out; None when the run may be tried again."""
    if not run.is_final:
        return "The run is not finished; cancel it first."
    if ToolCall.objects.with_effect_in(run.pk).exists():
        return "The run had effects that a second one would repeat; start a new one that says what is left."
    if run.restored_at is not None:
        told = "The database was restored from a backup during the run, so nobody knows all of its effects"
        return f"{told}; start a new one that says what is left."
    return None


def _check_plan(
    owner: User,
    input: str,
    agent: Agent | None,
    plan: Mapping[str, Any],
    budget_usd: Decimal | None,
    faults: dict[str, str],
) -> None:
    if agent is not None:
        faults["plan"] = "Name an agent or give a plan, not both."
        return
    try:
        plans.requested(Run(owner=owner, input=input, plan=plan), Setting(remaining_usd=budget_usd))
    except NotAPlan as error:
        faults |= {f"plan.{problem.field}": problem.sentence for problem in error.problems}


def _agent(slug: str | None, faults: dict[str, str]) -> Agent | None:
    if not slug:
        return None
    agent = Agent.objects.at_work().filter(slug=slug).select_related("published__agent").first()
    if agent is None:
        faults["agent"] = f"There is no agent {slug!r} at work."
    return agent


def _conversation(owner: User, conversation: UUID | None, faults: dict[str, str]) -> Conversation | None:
    if conversation is None:
        return None
    own = Conversation.objects.filter(pk=conversation, owner=owner).first()
    if own is None:
        faults["conversation"] = "You have no conversation of this id."
    elif Run.objects.filter(conversation=own, status__in=states.RUN.open).exists():
        faults["conversation"] = "A run of this conversation is still open: answer it, or wait for its end."
        return None
    return own


def _check_metadata(metadata: dict[str, Any], faults: dict[str, str]) -> None:
    try:
        written = canonical.dumps(metadata)
        if len(written) > 10_000:
            faults["metadata"] = "It is larger than 10,000 bytes; keep it to labels and ids."
        elif "\\u0000" in written:
            faults["metadata"] = "It holds a NUL character, which cannot be kept."
    except canonical.NotCanonical as error:
        faults["metadata"] = f"It cannot be kept as JSON: {error}"
