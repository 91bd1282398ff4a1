"""A model server that plays the script it finds in the conversation; no state but counters.

`python -m tests.scripted_model --port 0 --log FILE`. The newest user text that holds a script,
as a JSON object anywhere in it, is played:

    {"script": [turn, ...], "loop": false}          the same for everybody
    {"scripts": {"<part of a system prompt>": [turn, ...]}}     the first key found in the system prompt
        in place of the turns, {"<part of the message>": [turn, ...]}: the first key found in what stands around it

Turn n answers the request that has n assistant messages after that text; with `loop` the last turn repeats for ever,
and past the end of a script without it the server answers 400. A turn:

    text, tools [{name, input}], repeat_tools (tools, for ever), blocks (raw content blocks), stop_reason, usage,
    stop_details
    delay_seconds (before the reply), word_delay_seconds (before each streamed piece)
    meets {name, of}        no reply before so many requests that name this meeting are under way together
    by_model {model: {...}} what of the turn is otherwise for this model
    status + retry_after + message + headers + error_type + error_code      an error envelope
    reset | truncate | garbage | hang   reset half way | body ends half way in good order | no JSON | no reply
    times: k    the failure happens to the first k requests of this turn, then the turn is played (absent: always)
    model: m    the failure happens only to requests for model m
    faults: [{...}, ...]    several of these; the first that happens to a request counts

`{{result:K}}` in any string of a turn is the text of the K-th tool result since the script, 1 the first, -1 the newest.
GET /requests the last 1000 bodies, GET /calls the same as {body, began_at, ended_at} by this server's clock (ended: its
reply was ready), GET /count how many came in all, POST /reset forgets them. POST /meet {name, of} comes to a meeting.
"""

import asyncio
import dataclasses
import json
import os
import re
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from orchestrator_site.demo import wire
from orchestrator_site.demo.model_server import protocol
from orchestrator_site.demo.model_server.protocol import Body, Refused, Reply, ToolUse, blocks_of

FAULTS = ("status", "reset", "truncate", "garbage", "hang")
PLACEHOLDER = re.compile(r"\{\{result:(-?\d+)\}\}")
HANG_SECONDS = 3600.0
MEETING_SECONDS = 60.0


# Finding the script


def objects_in(text: str) -> Iterator[dict[str, Any]]:
    """Every outermost JSON object written somewhere in a text."""
    decoder, start = json.JSONDecoder(), 0
    while (start := text.find("{", start)) >= 0:
        try:
            value, start = decoder.raw_decode(text, start)
        except ValueError:
            start += 1
            continue
        if isinstance(value, dict):
            yield value


def without_objects(text: str) -> str:
    decoder, start, kept = json.JSONDecoder(), 0, []
    while (found := text.find("{", start)) >= 0:
        kept.append(text[start:found])
        try:
            _, start = decoder.raw_decode(text, found)
        except ValueError:
            start = found + 1
    return "".join([*kept, text[start:]])


def texts_of(message: Body) -> Iterator[str]:
    return (block["text"] for block in blocks_of(message) if block.get("type") == "text")


def find_script(messages: list[Body]) -> tuple[Body, int]:
    """The newest script and the index of the message that holds it."""
    for index in range(len(messages) - 1, -1, -1):
        if messages[index]["role"] != "user":
            continue
        for text in texts_of(messages[index]):
            for value in objects_in(text):
                if "script" in value or "scripts" in value:
                    return value, index
    raise Refused(400, "No script was found in the conversation.")


def _turns_when(cases: dict[str, list[Body]], told: str) -> list[Body]:
    """By what stands around the JSON objects of a message, which hold the script itself."""
    around = without_objects(told)
    for part, turns in cases.items():
        if part in around:
            return turns
    raise Refused(400, f"None of the cases {sorted(cases)} is found in what was told.")


def turns_for(script: Body, system: str, told: str) -> list[Body]:
    if "script" in script:
        return script["script"]
    for part, turns in script["scripts"].items():
        if part in system:
            return turns if isinstance(turns, list) else _turns_when(turns, told)
    raise Refused(400, f"None of the scripts {sorted(script['scripts'])} is meant for this system prompt.")


def turn_at(script: Body, turns: list[Body], number: int) -> Body:
    for turn in turns[: number + 1]:
        if "repeat_tools" in turn:
            return turn
    if number < len(turns):
        return turns[number]
    if script.get("loop") and turns:
        return turns[-1]
    raise Refused(400, f"The script has {len(turns)} turns and was asked for turn {number + 1}.")


# Playing it


def results_since(messages: list[Body]) -> list[str]:
    found = []
    for message in messages:
        for block in blocks_of(message):
            if block.get("type") == "tool_result":
                content = block.get("content") or ""
                found.append(content if isinstance(content, str) else "".join(texts_of({"content": content})))
    return found


def fill(value: Any, results: list[str]) -> Any:
    """The value with every placeholder replaced by the tool result it names."""
    if isinstance(value, dict):
        return {key: fill(inner, results) for key, inner in value.items()}
    if isinstance(value, list):
        return [fill(inner, results) for inner in value]
    if isinstance(value, str):
        return PLACEHOLDER.sub(lambda match: _result(results, int(match[1])), value)
    return value


def _result(results: list[str], number: int) -> str:
    index = number - 1 if number > 0 else number
    try:
        return results[index]
    except IndexError:
        raise Refused(400, f"The script quotes tool result {number}, and there are {len(results)}.") from None


def system_of(body: Body) -> str:
    system = body.get("system") or ""
    return system if isinstance(system, str) else "\n".join(block.get("text", "") for block in system)


def reply_of(turn: Body) -> Reply:
    uses = turn.get("repeat_tools") or turn.get("tools") or []
    return Reply(
        text=turn.get("text", ""),
        tools=tuple(ToolUse(use["name"], use.get("input") or {}) for use in uses),
        stop_reason=turn.get("stop_reason"),
        usage=turn.get("usage") or {},
        blocks=tuple(turn.get("blocks") or ()),
    )


class ScriptedServer(protocol.MessagesServer):
    def __init__(self, log: Path | None = None) -> None:
        super().__init__(self._unused)
        self.log, self.total = log, 0
        self.recent: deque[Body] = deque(maxlen=1000)
        self.meetings: dict[str, asyncio.Barrier] = {}
        self.failed: Counter[tuple[str, str, int]] = Counter()

    async def _unused(self, body: Body) -> Reply:
        raise NotImplementedError

    async def route(self, request: wire.Request) -> wire.Response:
        match request.method, request.path:
            case "GET", "/requests":
                return wire.json_response([call["body"] for call in self.recent])
            case "GET", "/calls":
                return wire.json_response(list(self.recent))
            case "GET", "/count":
                return wire.json_response({"count": self.total})
            case "POST", "/reset":
                self.recent.clear()
                self.failed.clear()
                self.meetings.clear()
                self.total = 0
                return wire.json_response({})
            case "POST", "/meet":
                await self._meet(**request.json())
                return wire.json_response({})
        return await super().route(request)

    async def create(self, body: Body) -> wire.Response:
        call = self._record(body)
        try:
            return await self._play(body)
        finally:
            call["ended_at"] = time.monotonic()

    async def _play(self, body: Body) -> wire.Response:
        protocol.check(body)
        script, start = find_script(body["messages"])
        number = sum(message["role"] == "assistant" for message in body["messages"][start:])
        turn = turn_at(script, turns_for(script, system_of(body), "".join(texts_of(body["messages"][start]))), number)
        turn = fill(turn | turn.get("by_model", {}).get(body["model"], {}), results_since(body["messages"][start:]))
        if "meets" in turn:
            await self._meet(**turn["meets"])
        await asyncio.sleep(turn.get("delay_seconds", 0))
        message = protocol.message_of(body, reply_of(turn), self.cache.usage(body))
        message["stop_details"] = turn.get("stop_details")
        for fault in [*turn.get("faults", ()), turn]:
            if self._fails_now(fault, body, number):
                return await fault_response(fault, body, message)
        return self._respond(body, message, turn.get("word_delay_seconds", 0))

    def _record(self, body: Body) -> Body:
        self.total += 1
        call = {"body": body, "began_at": time.monotonic(), "ended_at": None}
        self.recent.append(call)
        if self.log:
            with self.log.open("a") as log:
                log.write(json.dumps(body) + "\n")
        return call

    async def _meet(self, name: str, of: int) -> None:
        meeting = self.meetings.setdefault(name, asyncio.Barrier(of))
        try:
            async with asyncio.timeout(MEETING_SECONDS):
                await meeting.wait()
        except TimeoutError:
            raise Refused(400, f"The meeting {name} has waited for {of} requests in vain.") from None

    def _fails_now(self, turn: Body, body: Body, number: int) -> bool:
        if not any(turn.get(fault) for fault in FAULTS) or turn.get("model", body["model"]) != body["model"]:
            return False
        key = (body["model"] if "model" in turn else "", system_of(body) + json.dumps(body["messages"][0]), number)
        self.failed[key] += 1
        return "times" not in turn or self.failed[key] <= turn["times"]

    def _respond(self, body: Body, message: Body, delay_seconds: float) -> wire.Response:
        if not body.get("stream"):
            return wire.json_response(message)
        return streaming(protocol.stream_of(message, delay_seconds))


# Failing on purpose


def streaming(stream: AsyncIterator[bytes], kind: str = "text/event-stream") -> wire.Response:
    return wire.Response(200, b"", {"content-type": kind}, stream)


async def fault_response(turn: Body, body: Body, message: Body) -> wire.Response:
    if turn.get("hang"):
        await asyncio.sleep(HANG_SECONDS)
    if turn.get("status"):
        return error_response(turn)
    if turn.get("garbage"):
        return garbage(body)
    return half(body, message, reset=bool(turn.get("reset")))


def error_response(turn: Body) -> wire.Response:
    headers = {"retry-after": str(turn["retry_after"])} if "retry_after" in turn else {}
    response = protocol.error_response(
        turn["status"], turn.get("message", "The script says so."), headers | turn.get("headers", {})
    )
    written = json.loads(response.body)
    written["error"] |= {"type": turn["error_type"]} if "error_type" in turn else {}
    written["error"] |= {"details": {"error_code": turn["error_code"]}} if "error_code" in turn else {}
    return dataclasses.replace(response, body=json.dumps(written).encode())


def garbage(body: Body) -> wire.Response:
    if body.get("stream"):
        return streaming(_pieces([b"event: message_start\ndata: {this is not JSON\n\n"], reset=False))
    return wire.Response(200, b"{this is not JSON", {"content-type": "application/json"})


def half(body: Body, message: Body, *, reset: bool) -> wire.Response:
    if body.get("stream"):
        events = [protocol.encode(kind, data) for kind, data in protocol.frames(message)]
        return streaming(_pieces(events[: max(1, len(events) // 2)], reset=reset))
    written = json.dumps(message).encode()
    return streaming(_pieces([written[: len(written) // 2]], reset=reset), "application/json")


async def _pieces(pieces: list[bytes], *, reset: bool) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece
    if reset:
        # Give the client time to read what was sent: a reset also discards what is still under way.
        await asyncio.sleep(0.02)
        raise wire.Reset


def main() -> None:
    arguments = wire.parser(__doc__.splitlines()[0], port=0)
    arguments.add_argument("--log", type=Path, default=os.environ.get("SCRIPTED_MODEL_LOG"))
    options = arguments.parse_args()
    wire.run(ScriptedServer(options.log), options.host, options.port, announce="scripted model")


if __name__ == "__main__":
    main()
