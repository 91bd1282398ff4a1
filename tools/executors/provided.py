"""The client that a Python callable gets when it names a parameter `http`: `http.get(url)`, `http.post(url, json=…)`.

Where the callable runs in a child process, the worker opens the connection for it: the rules, the secrets and the
deadline stay with the worker, and the child needs no network at all.
"""

import base64
import binascii
import json as json_text
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tools.egress import client, decoding, live, targets
from tools.egress.rules import Caller
from tools.executors import secrets
from tools.executors.http import TOKEN
from tools.values import Effect, ErrorKind, ToolSpec

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
READING = frozenset({"GET", "HEAD"})
LARGEST_REQUEST_BYTES = 4_000_000
LARGEST_ANSWER_BYTES = 10_000_000
# Ours to write.
RESERVED = frozenset({"host", "connection", "content-length", "transfer-encoding", "accept-encoding", "te", "upgrade"})

Ask = Callable[[dict[str, Any]], dict[str, Any]]


class NoAnswer(Exception):
    """The message is one sentence. A callable that lets it pass ends its call with this `kind`.

    EGRESS_REFUSED, UNREACHABLE, SECRET_MISSING, INVALID_ARGUMENTS; TOO_LARGE, INVALID_RESULT: of an answer that cannot
    be given; LOST: sent, more than a reading, and unanswered.
    """

    def __init__(self, kind: ErrorKind, sentence: str):
        super().__init__(sentence)
        self.kind = kind


@dataclass(frozen=True)
class Answer:
    """Whatever the status. Names of headers are in lower case; `url` is where it came from after redirects."""

    status: int
    headers: Mapping[str, str]
    content: bytes
    url: str

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    @property
    def text(self) -> str:
        return self.content.decode(errors="replace")

    def json(self) -> Any:
        return json_text.loads(self.content)


@dataclass(frozen=True)
class Http:
    """`headers` may hold secrets by reference, "env:NAME" or "Bearer env:NAME"; what comes back has them taken out."""

    ask: Ask

    def get(self, url: str, *, headers: Mapping[str, str] | None = None) -> Answer:
        return self.request("GET", url, headers=headers)

    def post(
        self, url: str, *, json: Any = None, content: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        return self.request("POST", url, json=json, content=content, headers=headers)

    def request(
        self,
        method: str,
        url: str,
        *,
        json: Any = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """`json` becomes the body, or `content` is it. Raises NoAnswer."""
        given = dict(headers or {})
        if json is not None:
            content = json_text.dumps(json).encode()
            given.setdefault("Content-Type", "application/json")
        if len(content or b"") > LARGEST_REQUEST_BYTES:
            raise NoAnswer(ErrorKind.TOO_LARGE, f"A request may carry {LARGEST_REQUEST_BYTES:,} bytes at most.")
        body = None if content is None else base64.b64encode(content).decode()
        told = self.ask({"method": method, "url": url, "headers": given, "body": body})
        if "kind" in told:
            raise NoAnswer(ErrorKind(told["kind"]), told["sentence"])
        return Answer(told["status"], told["headers"], base64.b64decode(told["body"]), told["url"])


@dataclass(frozen=True)
class Provider:
    """The worker's end, for one call of one tool."""

    spec: ToolSpec
    deadline: float  # monotonic seconds

    @classmethod
    def until(cls, spec: ToolSpec, timeout_seconds: float) -> "Provider":
        return cls(spec, time.monotonic() + timeout_seconds)

    def answer(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """JSON in, JSON out; whoever asks is not trusted. Never raises."""
        try:
            return self._answer(asked)
        except NoAnswer as nothing:
            return {"kind": nothing.kind, "sentence": str(nothing)}

    def _answer(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        method, target, headers, content = _read(asked)
        self._check_declared(headers)
        try:
            sent, values = secrets.resolved(headers)
        except secrets.SecretMissing as error:
            raise NoAnswer(ErrorKind.SECRET_MISSING, str(error)) from None
        ours = {"User-Agent": "Baton", "Accept-Encoding": decoding.ACCEPTED}
        request = client.Request(method, target, ours | sent, content)
        answer = self._sent(request, Caller(self.spec.name, frozenset(values.values)))
        if answer.fault:
            raise NoAnswer(ErrorKind.INVALID_RESULT, answer.fault)
        if answer.body is None:
            raise NoAnswer(ErrorKind.TOO_LARGE, f"The answer is larger than {LARGEST_ANSWER_BYTES:,} bytes.")
        return {
            "status": answer.status,
            "headers": values.scrubbed(dict(answer.headers)),
            "body": base64.b64encode(_scrubbed(answer.body, values)).decode(),
            "url": values.scrubbed(answer.url),
        }

    def _check_declared(self, headers: Mapping[str, str]) -> None:
        """Raises NoAnswer. A kill switch of a credential stops the tools that declare it."""
        for name in sorted(secrets.names_in(headers) - secrets.declared(self.spec.config)):
            raise NoAnswer(
                ErrorKind.SECRET_MISSING,
                f'{name} is not among the "credentials" of {self.spec.name}: name it in that setting of the tool.',
            )

    def _sent(self, request: client.Request, caller: Caller) -> client.Answer:
        follow = self.spec.effect is Effect.PURE
        where = f"{request.method} {request.target.url}"
        try:
            return client.send(
                *(request, caller, live.rules()),
                deadline=self.deadline,
                limit_bytes=LARGEST_ANSWER_BYTES,
                follow=follow,
            )
        except client.Refused as refused:
            raise NoAnswer(ErrorKind.EGRESS_REFUSED, str(refused)) from None
        except client.NoAnswer as nothing:
            kind = ErrorKind.LOST if nothing.sent and request.method not in READING else ErrorKind.UNREACHABLE
            raise NoAnswer(kind, f"{where} {nothing}.") from None


def _read(asked: Mapping[str, Any]) -> tuple[str, targets.Target, dict[str, str], bytes | None]:
    """Raises NoAnswer."""
    method, headers, body = asked.get("method"), asked.get("headers"), asked.get("body")
    if method not in METHODS or not isinstance(headers, dict):
        raise NoAnswer(ErrorKind.INVALID_ARGUMENTS, f"method: must be one of {', '.join(METHODS)}.")
    for name, value in headers.items():
        if not _is_header(name, value):
            raise NoAnswer(ErrorKind.INVALID_ARGUMENTS, f"headers: {str(name)[:80]!r} is not a header that may be set.")
    try:
        target = targets.parsed(str(asked.get("url", "")))
        content = None if body is None else base64.b64decode(str(body), validate=True)
    except targets.BadUrl as error:
        raise NoAnswer(ErrorKind.INVALID_ARGUMENTS, f"url: {error}") from None
    except binascii.Error:
        raise NoAnswer(ErrorKind.INVALID_ARGUMENTS, "body: is not base64.") from None
    return str(method), target, headers, content


def _is_header(name: Any, value: Any) -> bool:
    if not isinstance(value, str) or not value.isascii() or not value.isprintable():
        return False
    return isinstance(name, str) and bool(TOKEN.fullmatch(name)) and name.lower() not in RESERVED


def _scrubbed(body: bytes, values: secrets.Secrets) -> bytes:
    if not values.values:
        return body
    try:
        return str(values.scrubbed(body.decode())).encode()
    except UnicodeDecodeError:
        return body
