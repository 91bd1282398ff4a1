"""The cascade: rules, then what agents are like; what neither decides goes up with the candidates to ask about."""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import User

from agents import roster
from agents.roster import Roster
from agents.routing import embedders, fits, rules, table
from agents.routing.embedders import Embedder, EmbedderFailed
from agents.routing.fits import Served
from agents.routing.fitting import Scored
from agents.routing.rules import Rule
from agents.routing.values import Caller, Candidate, Judgement, RoutingRequest
from orchestrator_site.core import roles

logger = logging.getLogger(__name__)

# As many as a question can offer and a person take in.
CANDIDATES = 5
# Of characters: what a request is like is said at its beginning. Rules see all of it.
READ_LIMIT = 4000


@dataclass(frozen=True)
class Book:
    """What is judged by. `at_work`: whom a rule may name; `owns`: by slug, who may be routed to, and what is theirs."""

    rules: Sequence[Rule]
    at_work: frozenset[str]
    owns: Mapping[str, str]
    embedder: Embedder
    fitted: Served | None


def judge(request: RoutingRequest, *, without: Collection[str] = ()) -> Judgement:
    """Whose request this is, as far as rules and likeness can say. `without`: slugs of agents that are out of it.

    Writes nothing; an embedder may be a server, so no transaction may be open. One query while nothing has changed.
    """
    return judge_by(live(roster.today()), request, without=without)


def live(served: Roster) -> Book:
    return served.keep(
        "routing.book",
        lambda: Book(
            rules.live(served),
            frozenset(served.entries),
            {slug: entry.owns for slug, entry in table.targets(served).items()},
            embedders.configured(),
            fits.serving(served),
        ),
    )


def judge_by(
    book: Book,
    request: RoutingRequest,
    *,
    without: Collection[str] = (),
    unusable: Mapping[str, str] = rules.NONE,
) -> Judgement:
    """`unusable`: plan templates that cannot be carried out for this request, each with the reason. No query."""
    by_rule = rules.judge(request, book.rules, book.at_work, without, unusable)
    if (rule := by_rule.decides) is not None:
        line = f"the rule “{rule.name}” matched"
        return Judgement(line, (by_rule.to_json(),), rule.agent, rule.template, "rules")
    return _by_likeness(book, request, without, by_rule.to_json())


def caller(user: User | None) -> Caller:
    """The facts of who started a run; nobody's are empty. One query."""
    if user is None:
        return Caller()
    groups = tuple(sorted(user.groups.values_list("name", flat=True)))
    return Caller(user.get_username(), groups, roles.APP in groups)


# What agents are like


def _by_likeness(
    book: Book, request: RoutingRequest, without: Collection[str], by_rules: Mapping[str, Any]
) -> Judgement:
    open_to = {slug: owns for slug, owns in book.owns.items() if slug not in without}
    scored, trouble = _scored(book, request.text.strip(), open_to)
    word = {
        "stage": "semantic",
        "fit": book.fitted.id if book.fitted else None,
        "epoch": book.fitted.epoch if book.fitted else None,
        "embedder": book.embedder.name,
        "top": [
            {"agent": one.slug, "probability": round(one.probability, 4), "threshold": _rounded(one.threshold)}
            for one in scored[:CANDIDATES]
        ],
        "trouble": trouble,
    }
    if scored and scored[0].is_enough:
        first = scored[0]
        line = f"semantic: {first.slug} {first.probability:.2f} ≥ {first.threshold:.2f}"
        return Judgement(line, (by_rules, word), agent=first.slug, decided_by="semantic")
    return Judgement(_unsure(scored, trouble), (by_rules, word), candidates=_candidates(scored, open_to))


def _scored(book: Book, text: str, open_to: Mapping[str, str]) -> tuple[list[Scored], str]:
    """Likeliest first, and what stood in the way. What is like an agent that is out of it goes to nobody else."""
    if book.fitted is None:
        return [], "no route table is fitted yet"
    try:
        scored = book.fitted.fit.score(text[:READ_LIMIT].rstrip(), book.embedder)
    except EmbedderFailed as failure:
        return [], str(failure)
    except Exception as failure:  # an installation's own class raises whatever it raises
        logger.exception("the embedder %s failed", book.embedder.name)
        return [], f"{book.embedder.name} failed: {type(failure).__name__}: {failure}"
    return [one for one in scored if one.slug in open_to], ""


def _rounded(threshold: float | None) -> float | None:
    return None if threshold is None else round(threshold, 4)


def _unsure(scored: Sequence[Scored], trouble: str) -> str:
    if trouble:
        return f"semantic: nothing to go by: {trouble}"
    if not scored:
        return "nobody at work may be routed to"
    first, *others = scored
    told = f"{first.slug} {first.probability:.2f}"
    if others:
        told = f"between {told} and {others[0].slug} {others[0].probability:.2f}"
    if first.threshold is None:
        return f"unsure {told}; {first.slug} has too few exemplars to be routed to without a question"
    return f"unsure {told}; {first.threshold:.2f} is asked for"


def _candidates(scored: Sequence[Scored], open_to: Mapping[str, str]) -> tuple[Candidate, ...]:
    """The likeliest; where nothing is known of likeness, everybody, if a question can offer them all."""
    if scored:
        return tuple(Candidate(one.slug, open_to[one.slug], round(one.probability, 4)) for one in scored[:CANDIDATES])
    if len(open_to) > CANDIDATES:
        return ()
    return tuple(Candidate(slug, owns) for slug, owns in open_to.items())
