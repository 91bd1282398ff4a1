"""The one way out: every connection that the platform opens for a tool is opened here.

Resolve once, unwrap, check every answer, connect to what was checked; then each redirect again, as if it were new.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from tools.egress import resolving, rules, targets, wire
from tools.egress.hosts import Address
from tools.egress.rules import Caller, Rules
from tools.egress.targets import BadUrl, Target
from tools.egress.wire import Answer, NoAnswer

__all__ = ["Answer", "NoAnswer", "Refused", "Request", "send"]

REDIRECTS = frozenset({301, 302, 303, 307, 308})
MOST_REDIRECTS = 5
REPEATABLE = frozenset({"GET", "HEAD"})
# All that goes on to another host; whatever else a tool sends may be a credential.
HARMLESS = frozenset({"accept", "accept-encoding", "user-agent"})


class Refused(Exception):
    """No connection was opened to this place. The message is one sentence with the address and the way out.

    `sent`: an earlier place was asked already, and pointed here.
    """

    def __init__(self, sentence: str, *, sent: bool = False):
        super().__init__(sentence)
        self.sent = sent


@dataclass(frozen=True)
class Request:
    method: str
    target: Target
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes | None = None


def send(
    request: Request, caller: Caller, allowed: Rules, *, deadline: float, limit_bytes: int, follow: bool = False
) -> Answer:
    """One answer, after redirects where `follow` says so and the method can be repeated.

    A redirect is followed on the same scheme or from http to https, wherever the rules let its own address through; to
    another origin the request's headers, which may be credentials, do not go along. One that is not followed is itself
    the answer. `deadline` in monotonic seconds. Raises Refused or NoAnswer.
    """
    follow = follow and request.method in REPEATABLE
    answer = _once(request, caller, allowed, deadline, limit_bytes)
    for _ in range(MOST_REDIRECTS if follow else 0):
        onward = _onward(request.target, answer)
        if onward is None:
            break
        request, caller = _carried(request, caller, onward)
        try:
            answer = _once(request, caller, allowed, deadline, limit_bytes)
        except Refused as refused:
            raise Refused(f"A redirect led to {onward.url}. {refused}", sent=True) from None
        except NoAnswer as nothing:
            said = f"pointed to {onward.url}, which {nothing}"
            raise NoAnswer(said, sent=True, timed_out=nothing.timed_out) from None
    return answer


def _once(request: Request, caller: Caller, allowed: Rules, deadline: float, limit_bytes: int) -> Answer:
    origin = request.target.origin
    if said := rules.refusal_by_name(allowed, origin):
        raise Refused(said)
    addresses = _resolved(origin.host, deadline)
    if said := rules.refusal(allowed, caller, origin, addresses):
        raise Refused(said)
    return wire.exchange(
        *(request.method, request.target, addresses, request.headers, request.content),
        deadline=deadline,
        limit_bytes=limit_bytes,
    )


def _resolved(host: str, deadline: float) -> tuple[Address, ...]:
    try:
        return resolving.resolved(host, deadline)
    except TimeoutError:
        raise NoAnswer("could not be reached in time", sent=False, timed_out=True) from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise NoAnswer(f"could not be reached ({reason})", sent=False, timed_out=False) from None


def _onward(here: Target, answer: Answer) -> Target | None:
    location = answer.header("location")
    if answer.status not in REDIRECTS or not location:
        return None
    try:
        onward = targets.pointed_to(here, location.encode("latin-1").decode())
    except (BadUrl, UnicodeError):
        return None
    return onward if onward.origin.scheme in (here.origin.scheme, "https") else None


def _carried(request: Request, caller: Caller, onward: Target) -> tuple[Request, Caller]:
    here = request.target.origin
    if here.leads_on_to(onward.origin):
        known = caller.configured | ({onward.origin} if here in caller.configured else set())
        return replace(request, target=onward), replace(caller, configured=known)
    harmless = {name: value for name, value in request.headers.items() if name.lower() in HARMLESS}
    return replace(request, target=onward, headers=harmless), replace(caller, credentials=frozenset())
