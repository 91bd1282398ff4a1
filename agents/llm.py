"""The model boundary: the one file that imports `anthropic`. Our values in, `ModelReply` or `ModelFailure` out.

Importing the SDK takes over a second, so workers import this module at their start, and settings, URLs, models and
views never do. Retries are the engine's: the SDK's are off, and every failure comes back as a value.
"""

import json
import logging
import math
import os
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from types import SimpleNamespace
from typing import Any, TypeVar

import anthropic
import httpx2
from anthropic import APIConnectionError, APIStatusError, APITimeoutError
from django.conf import settings

from agents import catalogue, connections, deadlines, wire
from agents.transcripts import to_json
from agents.values import FailureKind, ModelFailure, ModelReply, ModelRequest, Usage
from orchestrator_site.core.own_secrets import PLATFORM_OWN

logger = logging.getLogger(__name__)

# A longer reply is streamed: a connection on which nothing comes for minutes is cut by whoever stands between.
LONGEST_UNSTREAMED_TOKENS = 8192
CONNECT_SECONDS = 5.0
LONGEST_MESSAGE = 240

T = TypeVar("T")
Block = dict[str, Any]
OnText = Callable[[str], None]


def complete(request: ModelRequest, on_text: OnText | None = None) -> ModelReply | ModelFailure:
    """One model call; never raises, and ends within `timeout_seconds`, whatever the server does.

    With `on_text`, which is given the text as it comes, on this thread, or where the reply may be long, it is streamed;
    else it comes whole, which costs half. A reply whose stop reason is not `tool_use` may end in
    a call that was cut short: only `tool_use` promises that every call in it is whole.
    """
    access = _access(request)
    if isinstance(access, ModelFailure):
        return access
    request = _with_supported_schema(request)
    reading = _Reading()
    try:
        client = _sent(lambda timeout: _client(access), request)
        with deadlines.within(request.timeout_seconds):
            if on_text is None and request.max_tokens <= LONGEST_UNSTREAMED_TOKENS:
                return _whole(client, request, reading)
            return _streamed(client, request, on_text, reading)
    except Exception as error:
        return reading.counted(_failure(error, request, access), request.max_tokens)


class _Unsendable(Exception):
    """Our request cannot be written as JSON; nothing was sent."""


class _NotAReply(Exception):
    """The server said 200, and what followed was no whole reply."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code, self.sentence = code, sentence


# What a provider can hold an answer to


def _with_supported_schema(request: ModelRequest) -> ModelRequest:
    if request.output_schema is None:
        return request
    return replace(request, output_schema=_supported(to_json(request.output_schema)))


@lru_cache(maxsize=256)
def _supported(schema: str) -> Mapping[str, Any] | None:
    """The part of a schema, given as JSON, that providers hold an answer to; the rest of it goes into descriptions.

    None where it cannot be said in their terms: the platform checks the answer all the same.
    """
    try:
        return anthropic.transform_schema(_plain(json.loads(schema)))
    except Exception as error:  # the SDK's helper names no errors of its own
        logger.warning("an output schema is not given to the provider: %s", error)
        return None


def _plain(part: Any) -> Any:
    """A list of types becomes the `anyOf` that says the same, and properties come in the order of `required`.

    A model writes them in that order: what it has to think of first stands first. A row keeps no order but a list's.
    """
    if isinstance(part, list):
        return [_plain(inner) for inner in part]
    if not isinstance(part, dict):
        return part
    plain = {name: _plain(inner) for name, inner in part.items()}
    if isinstance(properties := plain.get("properties"), dict):
        first = [name for name in plain.get("required", ()) if name in properties]
        plain["properties"] = {name: properties[name] for name in [*first, *properties]}
    if not isinstance(kinds := plain.get("type"), list):
        return plain
    told = {name: plain.pop(name) for name in ("title", "description", "$defs") if name in plain}
    return told | {"anyOf": [plain | {"type": kind} for kind in kinds]}


# Where, and with which key


@dataclass(frozen=True)
class _Access:
    base_url: str
    key: str

    def __repr__(self) -> str:
        return f"access to {self.base_url}"


def _access(request: ModelRequest) -> _Access | ModelFailure:
    """The installation's key goes to the installation's server alone, never to an endpoint of a model's own."""
    model = request.model
    if model.credential:
        name = model.credential.removeprefix("env:")
        key = "" if name in PLATFORM_OWN else os.environ.get(name, "")
        problem = f"The environment variable {name}, which holds the key of the model {model.name!r}, is not set."
        if name in PLATFORM_OWN:
            problem = f"{name} is the platform's own secret and goes to no model that names it."
    elif model.endpoint and model.endpoint.rstrip("/") != (settings.ANTHROPIC_BASE_URL or "").rstrip("/"):
        key = ""
        problem = f"The model {model.name!r} has an endpoint of its own and needs a credential of its own (env:NAME)."
    else:
        key = settings.ANTHROPIC_API_KEY or ""
        problem = f"ANTHROPIC_API_KEY is not set, and the model {model.name!r} has no credential of its own."
    if not key.strip():
        return ModelFailure(FailureKind.NEXT_ACCESS, "no_key", problem, sent=False)
    return _Access(catalogue.endpoint(model), key.strip())


_clients: dict[_Access, anthropic.Anthropic] = {}
_clients_lock = threading.Lock()


def _client(access: _Access) -> anthropic.Anthropic:
    with _clients_lock:
        if access not in _clients:
            # A redirect would carry the prompt to a server that nobody has named.
            http = connections.stacked(anthropic.DefaultHttpxClient(follow_redirects=False))
            _clients[access] = anthropic.Anthropic(
                api_key=access.key, base_url=access.base_url, max_retries=0, http_client=http
            )
        return _clients[access]


def close() -> None:
    """Close every idle connection, at a worker's end; the next call opens new ones."""
    with _clients_lock:
        for client in _clients.values():
            client.close()
        _clients.clear()


# The reply


@dataclass
class _Reading:
    """A reply as far as it came, for what is owed when it does not come to its end."""

    stream: anthropic.MessageStream[None] | None = None
    usage: Usage | None = None  # of a reply that came whole

    def counted(self, failure: ModelFailure, max_tokens: int) -> ModelFailure:
        """With the usage that the server named at the start of its reply; what it wrote since is counted in full."""
        if self.usage is not None:
            return replace(failure, usage=self.usage, is_usage_estimated=False)
        message = self.stream and self.stream._current_snapshot_or_none()
        try:
            usage = _usage(message.usage) if message else Usage()
        except _NotAReply:
            return failure
        if not message or usage.total_tokens <= usage.output_tokens:
            return failure  # no request is without input: this server tells only at the end
        if message.stop_reason is None:
            return replace(failure, usage=replace(usage, output_tokens=max_tokens))
        return replace(failure, usage=usage, is_usage_estimated=False)


def _streamed(
    client: anthropic.Anthropic, request: ModelRequest, on_text: OnText | None, reading: _Reading
) -> ModelReply:
    written: defaultdict[int, str] = defaultdict(str)
    finished = False
    hear = _Ear(on_text)
    with _opened(client, request) as stream:
        reading.stream = stream
        for event in stream:
            if event.type == "text":
                hear(event.text)
            elif event.type == "content_block_delta" and event.delta.type == "input_json_delta":
                written[event.index] += event.delta.partial_json
            elif event.type == "message_stop":
                finished = True
        message = stream._current_snapshot_or_none()
        request_id = stream.request_id or ""
    if message is None:
        raise _NotAReply("garbage", "The model server answered with something that is no model reply.")
    if not finished:
        raise _NotAReply("truncated", "The model's reply broke off before its end.")
    if message.stop_reason == "tool_use":
        _check_calls(message.content, written)
    return ModelReply(
        content=_content(message.content),
        stop_reason=message.stop_reason or "unknown",
        usage=_usage(message.usage),
        model=message.model,
        request_id=request_id,
        stop_details=_stop_details(message.stop_details),
    )


def _whole(client: anthropic.Anthropic, request: ModelRequest, reading: _Reading) -> ModelReply:
    """The reply's JSON as it came, by the SDK's own way of sending, with a body that we have written."""
    response = _sent(
        lambda timeout: client.post(
            "/v1/messages",
            cast_to=httpx2.Response,
            content=wire.body(request),
            options={"timeout": timeout, "headers": {"Content-Type": "application/json"}},
        ),
        request,
    )
    try:
        reply = json.loads(response.content, parse_constant=_no_number)
        blocks = [dict(block) for block in reply["content"]]
        usage, stop_reason = SimpleNamespace(**reply["usage"]), reply["stop_reason"] or "unknown"
    except (ValueError, TypeError, KeyError) as error:
        raise _NotAReply("garbage", "The model server answered with something that is no model reply.") from error
    reading.usage = _usage(usage)
    if stop_reason == "tool_use":
        _check_inputs(blocks)
    return ModelReply(
        content=_cleaned(blocks),
        stop_reason=str(stop_reason),
        usage=reading.usage,
        model=str(reply.get("model", "")),
        request_id=response.headers.get("request-id", ""),
        stop_details={name: value for name, value in (reply.get("stop_details") or {}).items() if value is not None},
    )


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def _check_inputs(blocks: Iterable[Block]) -> None:
    for block in blocks:
        if block.get("type") == "tool_use" and not isinstance(block.get("input"), dict):
            raise _NotAReply("garbage", f"The model called {block.get('name')!r} with arguments that are no object.")


def _opened(client: anthropic.Anthropic, request: ModelRequest) -> anthropic.MessageStream[None]:
    """The stream of a request that was sent and answered with a 2xx."""
    return _sent(
        lambda timeout: client.messages.stream(**wire.arguments(request), timeout=timeout).__enter__(), request
    )


def _sent(send: Callable[[httpx2.Timeout], T], request: ModelRequest) -> T:
    """What `send` brings; raises _Unsendable for what went wrong ahead of the sending."""
    seconds = request.timeout_seconds
    try:
        return send(httpx2.Timeout(seconds, connect=min(CONNECT_SECONDS, seconds)))
    except (anthropic.APIError, httpx2.HTTPError, httpx2.InvalidURL):
        raise
    except Exception as error:
        # The SDK wraps whatever goes wrong from the sending on; what comes bare happened before it.
        raise _Unsendable(f"The model call could not be written down ({type(error).__name__}).") from error


class _Ear:
    """Hands text on; a listener that raises is not called again, and does not cost us the reply."""

    def __init__(self, on_text: OnText | None) -> None:
        self._on_text = on_text

    def __call__(self, text: str) -> None:
        if self._on_text is None:
            return
        try:
            self._on_text(text)
        except Exception:
            logger.exception("live text is not handed on any more: its listener failed")
            self._on_text = None


def _check_calls(content: Iterable[Any], written: Mapping[int, str]) -> None:
    """The SDK completes broken JSON as it goes: half an amount would look like a whole one."""
    for index, block in enumerate(content):
        if block.type != "tool_use" or not written.get(index):
            continue
        try:
            whole = isinstance(json.loads(written[index]), dict)
        except ValueError:
            whole = False
        if not whole:
            raise _NotAReply("garbage", f"The model called {block.name!r} with arguments that are not a JSON object.")


def _content(content: Iterable[Any]) -> list[Block]:
    """Plain JSON blocks as the SDK would echo them."""
    dumped = (block.model_dump(mode="json", by_alias=True, exclude_unset=True, warnings=False) for block in content)
    return _cleaned(dumped)


def _cleaned(blocks: Iterable[Block]) -> list[Block]:
    """Without what the API refuses when it is echoed.

    Fields the server did not send stay away; a null inside a citation stays, for there the API asks for it.
    """
    cleaned = []
    for block in blocks:
        plain = {name: value for name, value in block.items() if value is not None}
        if plain.get("type") == "text" and not plain.get("text", "").strip():
            continue  # the API sends blank text at times, and does not take it back
        if plain.get("citations"):
            plain["citations"] = [_without_file_id(citation) for citation in plain["citations"]]
        cleaned.append(plain)
    return cleaned


def _without_file_id(citation: Block) -> Block:
    return {name: value for name, value in citation.items() if name != "file_id"}


def _stop_details(details: Any) -> Block:
    return details.model_dump(mode="json", exclude_none=True, warnings=False) if details is not None else {}


# What a row can count.
MOST_TOKENS = 2**31 - 1


def _usage(usage: Any) -> Usage:
    """Raises _NotAReply for counts that are none."""
    names = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    counts = [getattr(usage, name, None) or 0 for name in names]
    if not all(isinstance(count, int) and 0 <= count <= MOST_TOKENS for count in counts):
        raise _NotAReply("garbage", "The model server counted the tokens of its reply in something that is no number.")
    return Usage(*counts)


# Failures

RETRY_STATUSES = frozenset({408, 409, 429, 499})
FATAL_STATUSES = frozenset({400, 413, 422, 431})
# Refused at the door: the provider has done no work for these.
UNPAID_STATUSES = frozenset({400, 401, 402, 403, 404, 413, 422, 429, 431, 529})
# An error inside a stream comes under status 200, and some causes weigh more than their status.
KIND_BY_TYPE = {
    "authentication_error": FailureKind.NEXT_ACCESS,
    "billing_error": FailureKind.NEXT_ACCESS,
    "permission_error": FailureKind.NEXT_MODEL,
    "not_found_error": FailureKind.NEXT_MODEL,
}
KIND_BY_STATUS = {401: FailureKind.NEXT_ACCESS, 402: FailureKind.NEXT_ACCESS}
# The account behind the key is at an end of its own, under whatever status that comes.
SPENT_CODES = frozenset({
    "contract_spend_limit_reached",
    "enforced_spend_limit_reached",
    "linked_organization_billing_unavailable",
    "linked_organization_spend_limit_reached",
})  # fmt: skip
REFUSED_CODES = frozenset({"organization_on_hold", "cmek_key_disabled"})
# The one error of the provider's own after which it may have worked to the end.
WORKED_ON_TYPES = frozenset({"timeout_error"})
FATAL_TYPES_IN_STREAM = frozenset({"invalid_request_error", "request_too_large"})


def _failure(error: Exception, request: ModelRequest, access: _Access) -> ModelFailure:
    match error:
        case _Unsendable():
            return ModelFailure(FailureKind.FATAL, "unsendable", str(error), sent=False)
        case _NotAReply():
            return ModelFailure(FailureKind.RETRY, error.code, error.sentence)
        case APIStatusError():
            return _refused(error, request, access)
        case APIConnectionError() | httpx2.HTTPError() | httpx2.InvalidURL():
            return _unreached(error, request)
    return _unexpected(error)


def _refused(error: APIStatusError, request: ModelRequest, access: _Access) -> ModelFailure:
    code = str(error.type or f"http_{error.status_code}")
    details = {"status": error.status_code, "request_id": error.request_id, "error_code": error.error_code}
    return ModelFailure(
        kind=_kind(error),
        code=code,
        sentence=_sentence(error, request, access),
        retry_after_seconds=retry_after_seconds(error.response.headers),
        sent=error.status_code not in UNPAID_STATUSES,
        # The provider's own error in place of a reply: nothing was delivered, though no document says it is free.
        usage=Usage() if error.type and error.type not in WORKED_ON_TYPES else None,
        details={name: value for name, value in details.items() if value},
    )


def _kind(error: APIStatusError) -> FailureKind:
    """RETRY only what may pass by itself. An unknown 4xx or a redirect is this server's: another may do better."""
    status = error.status_code
    if _is_spent(error) or error.error_code in REFUSED_CODES:
        return FailureKind.NEXT_ACCESS
    if kind := KIND_BY_TYPE.get(error.type or "") or KIND_BY_STATUS.get(status):
        return kind
    if status < 300:
        return FailureKind.FATAL if error.type in FATAL_TYPES_IN_STREAM else FailureKind.RETRY
    if status in FATAL_STATUSES:
        return FailureKind.FATAL
    if status >= 500 or status in RETRY_STATUSES:
        return FailureKind.NEXT_MODEL if _is_hopeless(error) else FailureKind.RETRY
    return FailureKind.NEXT_MODEL


def _is_hopeless(error: APIStatusError) -> bool:
    return error.response.headers.get("x-should-retry") == "false"


def _is_spent(error: APIStatusError) -> bool:
    """A spend limit is a 429 too, one that no waiting helps against."""
    is_limit = error.status_code == 429 and _is_hopeless(error)
    return is_limit or error.error_code in SPENT_CODES or error.type == "billing_error" or error.status_code == 402


def _sentence(error: APIStatusError, request: ModelRequest, access: _Access) -> str:
    """What was said and what mends it; without the key, even where a server quotes it."""
    said = " ".join(str(error.api_message or "").split()).replace(access.key, "***")[:LONGEST_MESSAGE]
    what = f"HTTP {error.status_code}" + (f", {error.error_code or error.type}" if error.type else "")
    reason = said.rstrip(".") or "no reason given"
    told = f"The model server refused the call of {request.model.name!r} ({what}): {reason}."
    way_out = _way_out(error, request)
    return f"{told} {way_out}" if way_out else told


def _way_out(error: APIStatusError, request: ModelRequest) -> str:
    model = request.model
    held = catalogue.key_name(model)
    if _is_spent(error):
        return f"Raise the limit or add credit at the provider of the key in {held}, then retry the run."
    if error.status_code == 401 or error.type == "authentication_error":
        return f"The key is read from {held}: put a valid one there, restart the workers, then retry the run."
    if error.status_code == 403 or error.type == "permission_error":
        return f"Give the key in {held} the right to use {model.provider_model!r}, or name another model in the agent."
    if error.status_code == 404 or error.type == "not_found_error":
        return f"Correct {model.provider_model!r} or the endpoint in the model catalogue, then retry the run."
    if error.status_code == 413 or str(error.type) == "request_too_large":
        return "Shorten the task, or lower the result limits of the agent's tools."
    if _kind(error) == FailureKind.FATAL:
        return "Waiting does not mend this: the agent, its tools or the task have to change."
    return ""


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """From `retry-after-ms`, or `retry-after` as seconds or as a date (measured by the server's own clock)."""
    if (milliseconds := _number(headers.get("retry-after-ms"))) is not None:
        return milliseconds / 1000
    raw = headers.get("retry-after")
    if (seconds := _number(raw)) is not None:
        return seconds
    if (until := _date(raw)) is None:
        return None
    now = _date(headers.get("date")) or datetime.now(UTC)
    return max(0.0, (until - now).total_seconds())


def _number(raw: str | None) -> float | None:
    try:
        value = float(raw or "")
    except ValueError:
        return None
    return max(0.0, value) if math.isfinite(value) else None


def _date(raw: str | None) -> datetime | None:
    try:
        parsed = parsedate_to_datetime(raw or "")
    except ValueError:
        return None
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


# Certain: no byte of ours reached the provider.
NEVER_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)
# Our own catalogue is wrong (an address that is none, a key that no header can carry): waiting does not mend it.
NOT_AN_ADDRESS = (httpx2.UnsupportedProtocol, httpx2.LocalProtocolError, httpx2.InvalidURL)


def _unreached(error: Exception, request: ModelRequest) -> ModelFailure:
    """The network's failures. Their own texts stay out of the sentence: they quote headers at times."""
    wrapped = isinstance(error, APIConnectionError)  # the SDK does so up to the first byte of the reply's body
    cause = error.__cause__ if wrapped and error.__cause__ else error
    name = request.model.name
    if isinstance(cause, NOT_AN_ADDRESS):
        sentence = f"The endpoint or the key of the model {name!r} cannot be used for a request."
        return ModelFailure(FailureKind.NEXT_MODEL, "bad_endpoint", sentence, sent=False)
    sent = not isinstance(cause, NEVER_SENT)
    if isinstance(cause, httpx2.TimeoutException) or isinstance(error, APITimeoutError):
        sentence = f"The model server of {name!r} did not {'finish' if sent else 'answer'} in time."
        return ModelFailure(FailureKind.RETRY, "timeout", sentence, sent=sent)
    if not wrapped:
        return ModelFailure(FailureKind.RETRY, "truncated", "The model's reply broke off before its end.")
    sentence = f"The connection to the model server of {name!r} {'broke' if sent else 'could not be made'}."
    return ModelFailure(FailureKind.RETRY, "connection", sentence, sent=sent)


def _unexpected(error: Exception) -> ModelFailure:
    """What nobody foresaw, mostly a reply that the SDK stumbles over. RETRY: tries are counted, so it stays bounded."""
    logger.exception("a model call failed in a way nobody foresaw")
    sentence = f"The model server's answer could not be read ({type(error).__name__})."
    return ModelFailure(FailureKind.RETRY, "garbage", sentence)
