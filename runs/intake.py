"""Work enters the system here, whatever door it came by."""

import math
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.contrib.auth.models import User

from agents.models import Agent
from orchestrator_site.core import canonical, events
from runs import budgets, orchestration, states
from runs.errors import BadRequest, NotPossible
from runs.models import Account, Conversation, Run, ToolCall
from runs.models.runs import RETRY_OF
from runs.values import UNSTORABLE

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
) -> Run:
    """Accept a piece of work and set its first node going. Raises BadRequest naming each wrong field."""
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
    _check_metadata(metadata or {}, faults)
    if faults:
        raise BadRequest(faults)
    with events.recording(together=True) as log:
        run = Run.objects.create(
            owner=owner,
            input=input,
            source=source,
            agent=named,
            conversation=follows or Conversation.objects.create(owner=owner),
            metadata=metadata or {},
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
        orchestration.begin(log, run)
    return run


def retry(run: Run, by: User, *, source: str) -> Run:
    """The same request once more, as a new run, in the conversation where that is one's own.

    Raises NotPossible while it is at work, or when it had effects; BadRequest as `start` does.
    """
    if objection := why_no_retry(run):
        raise NotPossible(objection)
    slug = run.agent.slug if run.agent else None
    budget_usd = Account.objects.filter(run=run).values_list("cap_usd", flat=True).first()
    metadata = run.metadata | {RETRY_OF: str(run.pk)}
    conversation = run.conversation_id if run.owner_id == by.pk else None
    return start(
        by, run.input, source=source, agent=slug, conversation=conversation, metadata=metadata, budget_usd=budget_usd
    )


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
