"""“Send it elsewhere and teach”: a correction becomes an exemplar or a rule. Each verb is one transaction.

Both record an event on the platform chain and grow the roster's epoch: every process judges by it within a second, and
a worker fits the table anew. `by` is the person who corrected, None the installation itself.
"""

from uuid import UUID

from django.contrib.auth.models import User

from agents.errors import NotTeachable
from agents.models import EXEMPLAR_LENGTH, Agent, Exemplar, RoutingRule
from orchestrator_site.core import canonical, events


def teach_exemplar(agent: Agent, text: str, by: User | None, *, from_run: UUID | None = None) -> Exemplar:
    """From now on a request like this belongs to `agent`; taught to another before, it moves. Raises NotTeachable."""
    text = teachable(text)
    with events.recording() as log:
        row, _ = Exemplar.objects.update_or_create(
            text=text, defaults={"agent": agent, "taught_by": by, "from_run": from_run}
        )
        run = str(from_run) if from_run else None
        log.platform("exemplar_taught", actor=_actor(by), agent=agent.slug, digest=_digest(text), run=run)
    return row


def teachable(text: str) -> str:
    """As it is kept. Raises NotTeachable."""
    text = text.strip()
    if not text:
        raise NotTeachable("There is nothing in the text: write the request as a person would.")
    if len(text) > EXEMPLAR_LENGTH:
        raise NotTeachable(f"The text has {len(text)} characters: shorten it to {EXEMPLAR_LENGTH} that say what it is.")
    return text


def forget_exemplar(exemplar: Exemplar, by: User | None) -> None:
    with events.recording() as log:
        log.platform("exemplar_forgotten", actor=_actor(by), agent=exemplar.agent.slug, digest=_digest(exemplar.text))
        exemplar.delete()


def _digest(text: str) -> str:
    """What people wrote can be forgotten; events cannot, and so they do not hold it."""
    return canonical.digest(canonical.dumps(text))


def teach_rule(
    name: str,
    condition: str,
    by: User | None,
    *,
    agent: Agent | None = None,
    template: str = "",
    priority: int = 100,
) -> RoutingRule:
    """A new rule, in force at once. Raises ValidationError, each column with its sentence."""
    rule = RoutingRule(name=name, condition=condition, agent=agent, template=template, priority=priority, created_by=by)
    return save_rule(rule, by)


def save_rule(rule: RoutingRule, by: User | None) -> RoutingRule:
    """Raises ValidationError, each column with its sentence."""
    with events.recording() as log:
        rule.save()
        log.platform(
            "routing_rule_saved",
            actor=_actor(by),
            rule=rule.name,
            condition=rule.condition,
            target=rule.target,
            priority=rule.priority,
            active=rule.active,
        )
    return rule


def delete_rule(rule: RoutingRule, by: User | None) -> None:
    with events.recording() as log:
        log.platform(
            "routing_rule_deleted", actor=_actor(by), rule=rule.name, condition=rule.condition, target=rule.target
        )
        rule.delete()


def _actor(by: User | None) -> str:
    return f"user:{by.get_username()}" if by else events.SYSTEM
