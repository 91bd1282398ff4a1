"""The live table of routes: who may be routed to by what requests are like, and what each is known by."""

from collections import defaultdict

from agents.models import Exemplar
from agents.roster import Entry, Roster
from agents.routing.fitting import RouteTable, RouteTexts
from agents.values import AgentKind


def targets(served: Roster) -> dict[str, Entry]:
    """Every agent at work but the routers, which pass on what they get, and those whose manifest opts out.

    Judges, summarisers and aggregators opt out: they are given work by the platform, not by people.
    """
    return {
        slug: entry
        for slug, entry in sorted(served.entries.items())
        if entry.spec.routable and entry.kind != AgentKind.ROUTER
    }


def live(served: Roster) -> RouteTable:
    """Read once an epoch."""
    return served.keep("routing.table", lambda: _read(served))


def _read(served: Roster) -> RouteTable:
    """What people taught goes before what a manifest says: a text that was taught elsewhere is taken away from it."""
    taught, owner = defaultdict(list), {}
    for text, slug in Exemplar.objects.values_list("text", "agent__slug").order_by("id"):
        taught[slug].append(text)
        owner[text] = slug
    return RouteTable(
        tuple(
            RouteTexts(
                slug,
                f"{entry.spec.title}: {entry.owns}",
                (*(text for text in entry.spec.exemplars if text not in owner), *taught[slug]),
            )
            for slug, entry in targets(served).items()
        )
    )
