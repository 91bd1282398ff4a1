"""The form in which a person says what they approve beforehand, and how it is read again.

For each argument `standing:kind:<name>` and `standing:values:<name>`, a value a line; then `standing_scope` (run, agent
or any), `standing_days`, `standing_uses` and `standing_any_version`.
"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass

from approvals.errors import InvalidStanding
from approvals.models import ApprovalRequest
from approvals.standing import Terms
from orchestrator_site.core.clock import database_now
from tools import patterns
from tools.matchers import Matcher

KIND, VALUES = "standing:kind:", "standing:values:"
USES = 10
KIND_WORDS = {
    "equal": "is",
    "at_most": "is at most",
    "between": "is between (two lines)",
    "domain": "is at the host",
    "email": "is the address",
    "account": "is the account",
    "path": "lies at or below",
    "url": "is a URL at or below",
    patterns.ANY: "may be anything",
}


@dataclass(frozen=True)
class Line:
    """One argument: what it may be, as suggested or as typed before."""

    name: str
    kind: str
    values: str

    @property
    def kinds(self) -> list[tuple[str, str]]:
        return list(KIND_WORDS.items())


def lines(request: ApprovalRequest, typed: Mapping[str, str]) -> list[Line]:
    found = []
    for name, matcher in patterns.suggested(request.content["arguments"]).items():
        kind = typed.get(f"{KIND}{name}", matcher.kind)
        found.append(Line(name, kind, typed.get(f"{VALUES}{name}", "\n".join(matcher.values))))
    return found


def read(posted: Mapping[str, str]) -> Terms:
    """Raises InvalidStanding naming each field that cannot be read."""
    faults: dict[str, str] = {}
    days = _number(posted, "standing_days", faults)
    uses = _number(posted, "standing_uses", faults)
    scope = posted.get("standing_scope", "")
    if scope not in ("run", "agent", "any"):
        faults["standing_scope"] = "Choose where it holds: in this run, for this agent, or for any agent."
    if days is not None and days > 10_000:
        faults["standing_days"] = "So many days cannot be counted."
    if faults:
        raise InvalidStanding(faults)
    return Terms(
        pattern={key.removeprefix(KIND): _matcher(posted, key) for key in posted if key.startswith(KIND)},
        this_run=scope == "run",
        any_agent=scope == "any",
        any_version=posted.get("standing_any_version") == "yes",
        expires_at=database_now() + dt.timedelta(days=days) if days else None,
        uses_at_most=uses,
    )


def _matcher(posted: Mapping[str, str], key: str) -> Matcher:
    kind, text = posted[key], posted.get(f"{VALUES}{key.removeprefix(KIND)}", "")
    if kind == patterns.ANY:
        return Matcher(kind, ())
    if kind == "equal" and "\n" in text.strip():
        return Matcher(kind, (text.replace("\r\n", "\n"),))
    return Matcher(kind, tuple(line.strip() for line in text.splitlines() if line.strip()))


def _number(posted: Mapping[str, str], name: str, faults: dict[str, str]) -> int | None:
    text = posted.get(name, "").strip()
    if not text:
        return None
    if not (text.isascii() and text.isdigit()):
        faults[name] = f"{text!r} is not a whole number."
        return None
    return int(text)
