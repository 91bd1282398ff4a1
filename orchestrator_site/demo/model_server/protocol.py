"""Messages API framing: requests checked, replies as one JSON body or as server-sent events, errors, usage.

What a reply says is not decided here: `serve(mind)` takes a function from the request body to a `Reply`.
"""

import asyncio
import json
import re
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from orchestrator_site.demo.model_server.prompt_cache import PromptCache, cost_of
from orchestrator_site.demo.wire import Request, Response, json_response

Body = dict[str, Any]
TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")

ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    529: "overloaded_error",
}


class Refused(Exception):
    """The server answers with an error envelope instead of a message."""

    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.headers = status, headers or {}


@dataclass(frozen=True)
class ToolUse:
    name: str
    input: dict[str, Any]


@dataclass(frozen=True)
class Reply:
    """One assistant turn: text first, then the calls.

    `blocks` are content blocks sent before the text as they are; `usage` overrides estimated figures.
    """

    text: str = ""
    tools: tuple[ToolUse, ...] = ()
    stop_reason: str | None = None
    usage: dict[str, int] = field(default_factory=dict)
    blocks: tuple[Body, ...] = ()


Mind = Callable[[Body], Awaitable[Reply]]


# Requests


def check(body: Any) -> None:
    """Refuse what the real service would refuse, so that a malformed transcript is found without a key."""
    if not isinstance(body, dict):
        raise Refused(400, "The request body must be an object.")
    _check_head(body)
    _check_tools(body.get("tools") or [])
    _check_output(body.get("output_config") or {})
    _check_messages(body["messages"])


def _check_head(body: Body) -> None:
    if not isinstance(body.get("model"), str) or not body["model"]:
        raise Refused(400, "model: Field required")
    if not isinstance(body.get("max_tokens"), int) or body["max_tokens"] < 1:
        raise Refused(400, "max_tokens: Input should be greater than or equal to 1")
    if not isinstance(body.get("messages"), list) or not body["messages"]:
        raise Refused(400, "messages: at least one message is required")
    if body["messages"][0].get("role") != "user":
        raise Refused(400, "messages: first message must use the user role")


def _check_tools(tools: list[Body]) -> None:
    names = Counter(tool.get("name") for tool in tools)
    for index, tool in enumerate(tools):
        name = tool.get("name")
        if not isinstance(name, str) or not TOOL_NAME.fullmatch(name):
            raise Refused(400, f"tools.{index}.name: String should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'")
        if names[name] > 1:
            raise Refused(400, "tools: Tool names must be unique.")
        if "type" not in tool and (tool.get("input_schema") or {}).get("type") != "object":
            raise Refused(400, f"tools.{index}.input_schema.type: Field required")


def _check_output(config: Body) -> None:
    form = config.get("format")
    if form is None:
        return
    if form.get("type") != "json_schema" or not isinstance(form.get("schema"), dict):
        raise Refused(400, "output_config.format: a json_schema with its schema is needed")
    _check_output_schema(form["schema"], "output_config.format.schema")


# Keywords that the real service does not hold an answer to, and refuses.
UNSUPPORTED = {"minimum", "maximum", "multipleOf", "minLength", "maxLength", "maxItems", "oneOf", "not", "if"}


def _check_output_schema(schema: Any, where: str) -> None:
    if not isinstance(schema, dict):
        raise Refused(400, f"{where}: a schema must be an object")
    if strange := sorted(UNSUPPORTED & schema.keys()):
        raise Refused(400, f"{where}: {', '.join(strange)} not supported")
    if schema.get("type") == "object" and schema.get("additionalProperties") is not False:
        raise Refused(400, f"{where}: for 'object' type, 'additionalProperties' must be explicitly set to false")
    inner = [*schema.get("properties", {}).items(), *schema.get("$defs", {}).items()]
    inner += [("items", schema["items"])] if "items" in schema else []
    inner += [(str(index), each) for index, each in enumerate(schema.get("anyOf", []))]
    for name, each in inner:
        _check_output_schema(each, f"{where}.{name}")


def _check_messages(messages: list[Body]) -> None:
    open_calls: set[str] = set()
    for index, message in enumerate(messages):
        content = blocks_of(message)
        if not content or any(block.get("type") == "text" and not block.get("text") for block in content):
            raise Refused(400, f"messages.{index}: text content blocks must be non-empty")
        results = {block.get("tool_use_id", "") for block in content if block.get("type") == "tool_result"}
        if missing := open_calls - results:
            raise Refused(
                400,
                f"messages.{index}: `tool_use` ids were found without `tool_result` blocks immediately after: "
                f"{', '.join(sorted(missing))}. Each `tool_use` block must have a corresponding `tool_result` block "
                "in the next message.",
            )
        if unknown := results - open_calls:
            raise Refused(
                400,
                f"messages.{index}: unexpected `tool_use_id` found in `tool_result` blocks: {', '.join(sorted(unknown))}.",
            )
        open_calls = {block["id"] for block in content if block.get("type") == "tool_use"}
    if open_calls:
        raise Refused(400, "messages: the last message asks for tools and cannot be continued.")


def blocks_of(message: Body) -> list[Body]:
    """A message's content as blocks, also when it was sent as a plain string."""
    content = message.get("content") or []
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


# Replies


def message_of(body: Body, reply: Reply, input_usage: dict[str, int]) -> Body:
    """The whole message, cut to `max_tokens` the way the real service cuts: what does not fit is missing."""
    reply = _cut(reply, body["max_tokens"])
    content = [*reply.blocks, *([{"type": "text", "text": reply.text}] if reply.text else [])]
    content += [
        {"type": "tool_use", "id": f"toolu_{secrets.token_hex(12)}", "name": use.name, "input": use.input}
        for use in reply.tools
    ]
    return {
        "id": f"msg_{secrets.token_hex(12)}",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": content,
        "stop_reason": reply.stop_reason or ("tool_use" if reply.tools else "end_turn"),
        "stop_sequence": None,
        "usage": {**input_usage, "output_tokens": _output_tokens(reply), "service_tier": "standard", **reply.usage},
    }


def _output_tokens(reply: Reply) -> int:
    return cost_of(reply.text) + sum(cost_of(json.dumps(use.input)) + 12 for use in reply.tools) + 3


def _cut(reply: Reply, max_tokens: int) -> Reply:
    if _output_tokens(reply) <= max_tokens:
        return reply
    return Reply(reply.text[: max(1, 4 * (max_tokens - 3))], (), "max_tokens", reply.usage)


def frames(message: Body) -> list[tuple[str, Body]]:
    """The message as stream events, text word by word, in the order the real service sends them."""
    usage = message["usage"]
    opening = {**message, "content": [], "stop_reason": None, "usage": {**usage, "output_tokens": 1}}
    events: list[tuple[str, Body]] = [("message_start", {"message": opening}), ("ping", {})]
    for index, block in enumerate(message["content"]):
        events += _block_frames(index, block)
    closing = {name: message.get(name) for name in ("stop_reason", "stop_sequence", "stop_details")}
    events.append(("message_delta", {"delta": closing, "usage": usage}))
    events.append(("message_stop", {}))
    return events


def _block_frames(index: int, block: Body) -> list[tuple[str, Body]]:
    if block["type"] not in {"text", "tool_use"}:
        return [
            ("content_block_start", {"index": index, "content_block": block}),
            ("content_block_stop", {"index": index}),
        ]
    if block["type"] == "text":
        empty, pieces = {**block, "text": ""}, re.findall(r"\S*\s*", block["text"])
        deltas = [{"type": "text_delta", "text": piece} for piece in pieces if piece]
    else:
        empty, written = {**block, "input": {}}, json.dumps(block["input"], ensure_ascii=False)
        pieces = [written[start : start + 24] for start in range(0, len(written), 24)]
        deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in ("", *pieces)]
    return [
        ("content_block_start", {"index": index, "content_block": empty}),
        *(("content_block_delta", {"index": index, "delta": delta}) for delta in deltas),
        ("content_block_stop", {"index": index}),
    ]


def encode(kind: str, data: Body) -> bytes:
    written = json.dumps({"type": kind, **data}, ensure_ascii=False, separators=(",", ":"))
    return f"event: {kind}\ndata: {written}\n\n".encode()


async def stream_of(message: Body, delay_seconds: float) -> AsyncIterator[bytes]:
    for kind, data in frames(message):
        if kind == "content_block_delta" and delay_seconds:
            await asyncio.sleep(delay_seconds)
        yield encode(kind, data)


def error_response(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    request_id = f"req_{secrets.token_hex(12)}"
    error = {"type": ERROR_TYPES.get(status, "api_error"), "message": message}
    return json_response(
        {"type": "error", "error": error, "request_id": request_id},
        status,
        {"request-id": request_id, **(headers or {})},
    )


# The server


class MessagesServer:
    """Routes the API's paths. `delay_seconds` is the pause before each streamed piece."""

    def __init__(self, mind: Mind, *, delay_seconds: float = 0.0, models: tuple[str, ...] = ()) -> None:
        self.mind, self.delay_seconds, self.models = mind, delay_seconds, models
        self.cache = PromptCache()

    async def __call__(self, request: Request) -> Response:
        try:
            return await self.route(request)
        except Refused as refusal:
            return error_response(refusal.status, str(refusal), refusal.headers)

    async def route(self, request: Request) -> Response:
        match request.method, request.path.rstrip("/"):
            case "GET", "/health":
                return json_response({"status": "ok"})
            case "GET", "/v1/models":
                return json_response(self.list_models())
            case "GET", path if path.startswith("/v1/models/"):
                return json_response(_model_info(path.removeprefix("/v1/models/")))
            case "POST", "/v1/messages/count_tokens":
                return json_response({"input_tokens": self.cache.count(request.json())})
            case "POST", "/v1/messages":
                _check_key(request)
                return await self.create(request.json())
        raise Refused(404, f"Not found: {request.method} {request.path}")

    async def create(self, body: Body) -> Response:
        check(body)
        message = message_of(body, await self.mind(body), self.cache.usage(body))
        headers = {"request-id": f"req_{secrets.token_hex(12)}"}
        if not body.get("stream"):
            return json_response(message, headers=headers)
        headers |= {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"}
        return Response(200, b"", headers, stream_of(message, self.delay_seconds))

    def list_models(self) -> Body:
        entries = [_model_info(model) for model in self.models]
        return {"data": entries, "has_more": False, "first_id": None, "last_id": None}


def _check_key(request: Request) -> None:
    if not (request.headers.get("x-api-key") or request.headers.get("authorization")):
        raise Refused(401, "x-api-key header is required")


def _model_info(model: str) -> Body:
    return {
        "type": "model",
        "id": model,
        "display_name": model,
        "created_at": "2026-01-01T00:00:00Z",
        "lifecycle": "active",
        "max_input_tokens": 200_000,
        "max_tokens": 8192,
    }
