"""A person says whose a run should have been: the platform learns it, by an exemplar or by a rule."""

import json
from dataclasses import dataclass
from enum import StrEnum

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError

from agents.errors import NotTeachable
from agents.models import Agent
from agents.routing import teaching
from agents.values import no_such
from orchestrator_site.core import events
from runs.errors import BadRequest
from runs.models import Run

# Of characters of a request, in a suggested name and condition.
QUOTED = 60


class Lesson(StrEnum):
    EXEMPLAR = "exemplar"
    RULE = "rule"


@dataclass(frozen=True)
class Taught:
    """What is in force now: `text` is the exemplar, or the rule's condition; `name` the rule's."""

    lesson: Lesson
    agent: str
    text: str
    name: str = ""


def teach(
    run: Run, by: User, *, agent: str, lesson: Lesson, text: str = "", condition: str = "", name: str = ""
) -> Taught:
    """Requests like this run's are that agent's. What is left out is taken from the request. Raises BadRequest."""
    target = _agent(agent)
    with events.recording() as log:
        taught = _taught(run, by, target, lesson, text, condition, name)
        log.run(run.pk, "routing_taught", actor=f"user:{by.get_username()}", agent=agent, lesson=lesson)
    return taught


def _agent(slug: str) -> Agent:
    at_work = Agent.objects.at_work()
    if (agent := at_work.filter(slug=slug).first()) is None:
        raise BadRequest({"agent": no_such("agent at work", slug, at_work.values_list("slug", flat=True))})
    return agent


def _taught(run: Run, by: User, agent: Agent, lesson: Lesson, text: str, condition: str, name: str) -> Taught:
    try:
        if lesson == Lesson.EXEMPLAR:
            row = teaching.teach_exemplar(agent, text or run.input, by, from_run=run.pk)
            return Taught(lesson, agent.slug, row.text)
        condition, name = condition.strip() or condition_like(run.input), name.strip() or name_like(run.input)
        rule = teaching.teach_rule(name, condition, by, agent=agent)
        return Taught(lesson, agent.slug, rule.condition, rule.name)
    except NotTeachable as error:
        raise BadRequest({"text": str(error)}) from error
    except ValidationError as error:
        raise BadRequest({field: " ".join(said) for field, said in error.message_dict.items()}) from error


def condition_like(input: str) -> str:
    """A rule's condition to begin with: it holds for requests with the same first words."""
    return f"text.contains({json.dumps(_first_words(input), ensure_ascii=False)})"


def name_like(input: str) -> str:
    return f"like “{_first_words(input)}”"


def _first_words(input: str) -> str:
    """Of its first line, whole words."""
    line = input.strip().split("\n")[0].strip()
    return line if len(line) <= QUOTED else line[:QUOTED].rsplit(" ", 1)[0].rstrip()
