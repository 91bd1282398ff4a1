"""What a kill switch names is begun by nobody, from the moment that its throw was answered until somebody asked for its
release. An intent's own moment is later than the lock that it is committed under."""

from collections.abc import Iterator
from dataclasses import dataclass

from tests.chaos.checker.findings import Verdict
from tests.chaos.checker.material import Material, Row, seconds

LINE = "begun while it was stopped"


@dataclass(frozen=True)
class Stop:
    scope: str
    name: str
    since: float
    until: float

    def names(self, agent: str, tool: str) -> bool:
        return self.scope == "all" or self.name == {"agent": agent, "tool": tool}[self.scope]


def check(material: Material, verdict: Verdict) -> None:
    begun = list(_begun(material))
    for stop in stops(material):
        for agent, tool, at in begun:
            if stop.since < at < stop.until and stop.names(agent, tool):
                told = f"{tool or 'a model call'} of {agent} was begun {at - stop.since:.3f} s after a stop of"
                verdict.say(LINE, f"{told} {stop.scope} {stop.name}".rstrip())


def stops(material: Material) -> Iterator[Stop]:
    thrown: dict[tuple[str, str], float] = {}
    for line in material.people:
        if line["what"] == "stopped" and line["status"] == 200:
            thrown[line["scope"], line["name"]] = line["at"]
        elif line["what"] == "releases" and (line["scope"], line["name"]) in thrown:
            yield Stop(line["scope"], line["name"], thrown.pop((line["scope"], line["name"])), line["at"])


def _begun(material: Material) -> Iterator[tuple[str, str, float]]:
    """(agent, tool, when) of every intent; "" for the tool of a model call."""
    for call_id, attempts in material.attempts.items():
        if call := material.calls.get(call_id):
            for attempt in attempts:
                yield _agent(material, call), call["tool"], seconds(attempt["sent_at"])
    for steps in material.steps.values():
        for step in steps:
            yield _agent(material, step), "", seconds(step["asked_at"])


def _agent(material: Material, row: Row) -> str:
    return material.slugs[material.dispatches[row["dispatch_id"]]["manifest_id"]]
