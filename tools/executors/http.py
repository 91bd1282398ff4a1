"""Tools that are one HTTP request, described by configuration:

method          GET, POST, PUT, PATCH, DELETE or HEAD
url             a template; placeholders stand only in path and query (`addresses.py`)
query           names of arguments that are sent as name=value
body            "json": the arguments not used in the address, as canonical JSON; "none": GET, HEAD and DELETE without
                this setting
headers         name to literal text, "env:NAME" or "Bearer env:NAME" (any one word before env:)
idempotency_header   header that carries the call's idempotency key
success         the statuses that are a success; default: all of 2xx
lookup          {"method": "GET", "url": ".../{key}"}: 200 is Found, 404 is Absent, anything else CannotTell

Where a tool may connect is said by `tools.egress`: what its url names, as far as that is public, and what rules name.
A pure GET or HEAD follows redirects, each checked as if it were new; every other call takes one for the answer.

What a status says of an effect: 4xx is the target's own no. Every other failure after the first byte was sent (5xx, a
redirect, a 2xx outside `success`, a broken connection, the deadline) leaves it open: LOST, unless the tool is pure.
"""

import dataclasses
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator_site.core import canonical
from tools.egress import client, decoding, hosts, live, rules, targets
from tools.egress.rules import Caller
from tools.executors import addresses, secrets
from tools.executors.results import Unfit, failure, rendered, success
from tools.values import (
    Absent,
    CallContext,
    CannotTell,
    Effect,
    ErrorKind,
    Found,
    Lookup,
    ToolResult,
    ToolSpec,
)

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD")
WITHOUT_BODY = frozenset({"GET", "HEAD", "DELETE"})
SETTINGS = frozenset({"method", "url", "headers", "body", "query", "idempotency_header", "lookup", "success"})
TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
# Ours to write: with one of these a tool's configuration could reframe the request.
RESERVED = frozenset(
    {"host", "connection", "content-length", "transfer-encoding", "content-type", "accept-encoding", "te", "upgrade"}
)
EXCERPT_READ_BYTES = 16_384
EXCERPT_CHARACTERS = 300


class Unsendable(Exception):
    """The request cannot be built; nothing left the platform."""

    def __init__(self, kind: ErrorKind, sentence: str):
        super().__init__(sentence)
        self.kind = kind


@dataclass(frozen=True)
class Request:
    method: str
    address: addresses.Address
    headers: Mapping[str, str]
    content: bytes | None
    secrets: secrets.Secrets
    caller: Caller

    @property
    def target(self) -> str:
        return f"{self.method} {self.address.url}"

    def exchange(self, deadline: float, limit_bytes: int, *, follow: bool = False) -> client.Answer:
        """Raises client.Refused or client.NoAnswer."""
        target = targets.Target(_origin(self.address.template), self.address.target)
        request = client.Request(self.method, target, self.headers, self.content)
        return client.send(
            request, self.caller, live.rules(), deadline=deadline, limit_bytes=limit_bytes, follow=follow
        )


def run(
    spec: ToolSpec,
    arguments: Mapping[str, Any],
    *,
    timeout_seconds: float,
    result_limit_bytes: int,
    call: CallContext,
) -> ToolResult:
    deadline = time.monotonic() + timeout_seconds
    try:
        request = _request(spec, spec.config, arguments, call)
    except Unsendable as error:
        return failure(error.kind, str(error), sent=False)
    try:
        limit = max(result_limit_bytes, EXCERPT_READ_BYTES)
        answer = request.exchange(deadline, limit, follow=spec.effect is Effect.PURE)
    except client.Refused as refused:
        return failure(ErrorKind.EGRESS_REFUSED, request.secrets.scrubbed(str(refused)), sent=refused.sent)
    except client.NoAnswer as nothing:
        return _without_answer(request, nothing, spec.effect)
    if _is_success(spec.config, answer.status):
        return _content(request, answer, result_limit_bytes)
    return _status_failure(request, answer, spec.effect)


def lookup(spec: ToolSpec, call: CallContext, timeout_seconds: float) -> Lookup:
    deadline = time.monotonic() + timeout_seconds
    asked = spec.config.get("lookup")
    if not asked:
        return CannotTell(f"{spec.name} has no lookup.")
    config = {"method": "GET", "url": asked["url"], "headers": spec.config.get("headers", {})}
    try:
        request = _request(spec, config, {"key": call.idempotency_key}, call)
        answer = request.exchange(deadline, max(spec.result_limit_bytes, EXCERPT_READ_BYTES))
    except (Unsendable, client.Refused) as error:
        return CannotTell(str(error))
    except client.NoAnswer as nothing:
        return CannotTell(f"{request.target} {nothing}.")
    match answer.status:
        case 200:
            return Found(_content(request, answer, spec.result_limit_bytes))
        case 404:
            return Absent()
    return CannotTell(_status_failure(request, answer, Effect.PURE).content)


def target(config: Mapping[str, Any], arguments: Mapping[str, Any]) -> str:
    """Method and address; the template itself where the arguments do not fit it."""
    method, url = str(config.get("method", "")), str(config.get("url", ""))
    try:
        return f"{method} {addresses.expanded(addresses.parsed(url), arguments, config.get('query', ())).url}"
    except (addresses.BadTemplate, addresses.BadValue):
        return f"{method} {url}"


def foreseen_refusal(name: str, config: Mapping[str, Any]) -> str:
    """Why the tool's own URL is not reached, where it names an address; "" where only a resolver could say."""
    origin = _origin(addresses.parsed(config["url"]))
    if said := rules.refusal_by_name(live.rules(), origin):
        return said
    address = hosts.address(origin.host)
    caller = Caller(name, configured=frozenset({origin}))
    return rules.refusal(live.rules(), caller, origin, [address]) if address is not None else ""


def _request(spec: ToolSpec, config: Mapping[str, Any], arguments: Mapping[str, Any], call: CallContext) -> Request:
    """Raises Unsendable. Checked in full although it was when the tool was saved: a row may have been written since."""
    if mistakes := problems(config, None):
        raise Unsendable(ErrorKind.UNKNOWN_TOOL, f"The tool's configuration is not valid. {' '.join(mistakes)}")
    template = addresses.parsed(config["url"])
    query = config.get("query", ())
    try:
        address = addresses.expanded(template, arguments, query)
        rest = {name: value for name, value in arguments.items() if name not in {*template.names, *query}}
        content = _content_of(config, rest)
    except (addresses.BadValue, canonical.NotCanonical) as error:
        raise Unsendable(ErrorKind.INVALID_ARGUMENTS, str(error)) from None
    headers = {"Accept": "application/json, text/plain;q=0.9, */*;q=0.5", "Accept-Encoding": decoding.ACCEPTED}
    headers["User-Agent"] = "Baton"
    if content is not None:
        headers["Content-Type"] = "application/json"
    try:
        own, values = secrets.resolved(config.get("headers", {}))
    except secrets.SecretMissing as error:
        raise Unsendable(ErrorKind.SECRET_MISSING, str(error)) from None
    taken = {name.lower() for name in own}
    headers = {name: value for name, value in headers.items() if name.lower() not in taken} | own
    if "idempotency_header" in config:
        headers[config["idempotency_header"]] = call.idempotency_key
    caller = Caller(spec.name, frozenset(values.values), frozenset({_origin(template)}))
    return Request(config["method"], address, headers, content, values, caller)


def _origin(template: addresses.Template) -> targets.Origin:
    """Raises targets.BadUrl, of a template that `problems` has not seen."""
    return targets.origin(template.scheme, template.host, template.port)


def _content_of(config: Mapping[str, Any], rest: dict[str, Any]) -> bytes | None:
    if config.get("body", "none" if config["method"] in WITHOUT_BODY else "json") == "json":
        return canonical.dumps(rest).encode()
    if rest:
        # Leaving one out without a word would send something else than was approved.
        raise addresses.BadValue(f"{', '.join(sorted(rest))}: the tool's request has no place for this.")
    return None


def _is_success(config: Mapping[str, Any], status: int) -> bool:
    return status in config["success"] if "success" in config else 200 <= status < 300


def _without_answer(request: Request, nothing: client.NoAnswer, effect: Effect) -> ToolResult:
    sentence = request.secrets.scrubbed(f"{request.target} {nothing}.")
    if not nothing.sent:
        return failure(ErrorKind.UNREACHABLE, sentence, sent=False)
    if effect is Effect.PURE:
        kind = ErrorKind.TIMEOUT if nothing.timed_out else ErrorKind.UNREACHABLE
        return failure(kind, sentence, sent=True)
    return failure(ErrorKind.LOST, f"{sentence} Nobody can say whether it took effect.", sent=True)


def _status_failure(request: Request, answer: client.Answer, effect: Effect) -> ToolResult:
    sentence = f"{request.target} answered {answer.status}"
    if location := answer.header("location"):
        sentence += f", pointing to {location[:EXCERPT_CHARACTERS]}; which is not followed"
    excerpt = " ".join((answer.body or b"")[:EXCERPT_READ_BYTES].decode(errors="replace").split())
    excerpt = request.secrets.scrubbed(excerpt)[:EXCERPT_CHARACTERS]
    sentence = request.secrets.scrubbed(sentence) + (f": {excerpt}" if excerpt else ".")
    if effect is Effect.PURE or 400 <= answer.status < 500:
        told = failure(ErrorKind.HTTP_STATUS, sentence, sent=True)
        return dataclasses.replace(told, said_5xx=answer.status >= 500)
    return failure(ErrorKind.LOST, f"{sentence} (Nobody can say whether it took effect.)", sent=True)


def _content(request: Request, answer: client.Answer, limit_bytes: int) -> ToolResult:
    """The body of a success: JSON where it is JSON, text where it is not, "null" where there is none."""
    try:
        value = request.secrets.scrubbed(_value(answer, limit_bytes))
        return success(rendered(value, limit_bytes))
    except (Unfit, RecursionError) as error:
        kind = error.kind if isinstance(error, Unfit) else ErrorKind.INVALID_RESULT
        said = str(error) if isinstance(error, Unfit) else "The answer is nested too deeply."
        return failure(kind, f"{request.target} answered {answer.status}. {said}", sent=True)


def _value(answer: client.Answer, limit_bytes: int) -> Any:
    """Raises Unfit."""
    if answer.fault:
        raise Unfit(ErrorKind.INVALID_RESULT, answer.fault)
    if answer.body is None or len(answer.body) > limit_bytes:
        size = f"{len(answer.body):,} bytes" if answer.body else _declared(answer)
        raise Unfit(ErrorKind.TOO_LARGE, f"The result is {size}; the limit is {limit_bytes:,} bytes.")
    try:
        text = answer.body.decode()
    except UnicodeDecodeError:
        raise Unfit(ErrorKind.INVALID_RESULT, "The answer is not UTF-8 text.") from None
    if not text.strip():
        return None
    if "json" not in answer.header("content-type"):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


def _declared(answer: client.Answer) -> str:
    length = "" if answer.header("content-encoding") else answer.header("content-length")
    return f"{int(length):,} bytes" if re.fullmatch("[0-9]{1,15}", length) else "more than was read"


def problems(config: Mapping[str, Any], effect: Effect | None) -> list[str]:
    found = [f"{name}: an http tool has no such setting." for name in config if name not in SETTINGS]
    if config.get("method") not in METHODS:
        found.append(f"method: must be one of {', '.join(METHODS)}.")
    if config.get("body", "none") not in ("json", "none"):
        found.append('body: must be "json" or "none".')
    found += _url_problems("url", config.get("url"))
    query = config.get("query", [])
    if not _is_list_of(query, str):
        found.append("query: must be a list of names of arguments.")
    found += _header_problems(config.get("headers", {}))
    header = config.get("idempotency_header", "Idempotency-Key")
    if not isinstance(header, str) or not TOKEN.fullmatch(header) or header.lower() in RESERVED:
        found.append("idempotency_header: must be the name of a header that is not the platform's to write.")
    statuses = config.get("success", [200])
    if not _is_list_of(statuses, int) or not statuses or not all(200 <= status < 600 for status in statuses):
        found.append("success: must be a list of HTTP statuses, like [200, 201].")
    found += _lookup_problems(config.get("lookup"))
    if effect is Effect.KEYED and "idempotency_header" not in config:
        found.append("idempotency_header: a keyed tool needs it.")
    if effect is Effect.VERIFIABLE and not config.get("lookup"):
        found.append("lookup: a verifiable tool needs it.")
    return found


def _url_problems(where: str, url: Any) -> list[str]:
    try:
        _origin(addresses.parsed(url if isinstance(url, str) else ""))
    except (addresses.BadTemplate, targets.BadUrl) as error:
        return [f"{where}: {error}"]
    return []


def _header_problems(headers: Any) -> list[str]:
    if not isinstance(headers, Mapping):
        return ["headers: must map names to texts."]
    found = []
    for name, value in headers.items():
        if not TOKEN.fullmatch(str(name)) or str(name).lower() in RESERVED:
            found.append(f"headers.{name}: is not a header that a tool may set.")
        if not isinstance(value, str) or not value.isascii() or not value.isprintable():
            found.append(f"headers.{name}: must be printable ASCII text.")
            continue
        reference = secrets.REFERENCE.fullmatch(value)
        if not reference and "env:" in value:
            found.append(f'headers.{name}: a secret is written as "env:NAME" or "Bearer env:NAME".')
        if reference and reference["name"] in secrets.PLATFORM_OWN:
            found.append(f"headers.{name}: {reference['name']} is the platform's own secret.")
    return found


def _lookup_problems(lookup: Any) -> list[str]:
    if lookup is None:
        return []
    if not isinstance(lookup, Mapping) or not set(lookup) <= {"method", "url"}:
        return ["lookup: must hold a method and a url."]
    found = _url_problems("lookup.url", lookup.get("url"))
    if lookup.get("method", "GET") != "GET":
        found.append("lookup.method: must be GET.")
    if not found and addresses.parsed(lookup["url"]).names != ["key"]:
        found.append("lookup.url: must hold {key}, and no other placeholder.")
    return found


def _is_list_of(value: Any, kind: type) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(item, kind) for item in value)
