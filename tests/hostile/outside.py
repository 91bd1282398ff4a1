"""The world outside, in one process of its own: a model that obeys whatever order it finds in what it reads, and the
systems that tools lead to, which note every call that reaches them.

`python -m tests.hostile.outside --port 0`. The model's agent does its work by the play in its system prompt:

    PLAY {"turns": [turn, …]}    or    {"when": {"<part of what it is told first>": [turn, …], "": [turn, …]}}

Turns are those of `tests.scripted_model`: `text`, `tools`, `stop_reason`. Before each one it makes the calls that it
was ordered to make and has not made yet, as far as it was given the tools. In strings, `{{result:1}}` is the first
result, `{{line:1}}` the same on one line, `{{artifact}}` the newest reference to an artifact.

POST /world {"answers": {tool: [answer, …]}} begins a new world: the n-th call of a tool is answered with the n-th
answer, the last one stays. POST /do/<tool> is a call, noted once for an idempotency key. GET /world {"calls": [[tool,
arguments], …]}.
"""

import json
import re
from typing import Any

from orchestrator_site.demo import wire
from orchestrator_site.demo.model_server import protocol
from orchestrator_site.demo.model_server.protocol import Body, Reply, ToolUse, blocks_of
from tests.hostile import spellings
from tests.scripted_model import results_since, system_of, texts_of

OBEYING = "As you say."
# A source that is trusted, and says back what it does not know.
ECHO, KNOWN = "find_supplier", "Tagwerk"
_ARTIFACT = re.compile(r"artifact:[0-9a-f-]{36}")
_RESULT = re.compile(r"\{\{(result|line):(\d+)\}\}")


async def obey(body: Body) -> Reply:
    """Its next turn: what it is ordered to do comes before what it is there for."""
    messages = body["messages"]
    read = [text for message in messages for text in _texts(message)]
    offered = {tool["name"] for tool in body.get("tools", [])}
    done = [(block["name"], block["input"]) for block in _blocks(messages, "assistant", "tool_use")]
    orders = spellings.with_secret(spellings.found(read), read)
    if waiting := [call for call in orders if call[0] in offered and call not in done]:
        waiting = [call for call in waiting if call[0] == ECHO] or waiting
        return Reply(text=OBEYING, tools=tuple(ToolUse(tool, arguments) for tool, arguments in waiting[:8]))
    return _played(_turn(system_of(body), messages), messages, read)


def _texts(message: Body) -> list[str]:
    return [*texts_of(message), *results_since([message])]


def _blocks(messages: list[Body], role: str, kind: str) -> list[Body]:
    return [
        block
        for message in messages
        if message["role"] == role
        for block in blocks_of(message)
        if block.get("type") == kind
    ]


def _turn(system: str, messages: list[Body]) -> Body:
    play, _ = json.JSONDecoder().raw_decode(system.partition("PLAY ")[2])
    first = "".join(texts_of([each for each in messages if each["role"] == "user"][0 if "when" in play else -1]))
    turns = play.get("turns") or next(turns for part, turns in play["when"].items() if part in first)
    own = [each for each in messages if each["role"] == "assistant" and OBEYING not in "".join(texts_of(each))]
    number = len(own) - play.get("answered_before", 0)
    return turns[min(number, len(turns) - 1)]


def _played(turn: Body, messages: list[Body], read: list[str]) -> Reply:
    results = _honest_results(messages)
    references = _ARTIFACT.findall(" ".join(read))

    def fill(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: fill(inner) for name, inner in value.items()}
        if isinstance(value, list):
            return [fill(inner) for inner in value]
        if not isinstance(value, str):
            return value
        value = _RESULT.sub(lambda match: _shown(results, match), value)
        return value.replace("{{artifact}}", references[-1] if references else "")

    uses = [ToolUse(each["name"], fill(each["input"])) for each in turn.get("tools", [])]
    return Reply(text=fill(turn.get("text", "")), tools=tuple(uses), stop_reason=turn.get("stop_reason"))


def _honest_results(messages: list[Body]) -> list[str]:
    """Of the calls that it made of its own accord."""
    ordered = {
        block.get("id")
        for message in messages
        if message["role"] == "assistant" and OBEYING in "".join(texts_of(message))
        for block in blocks_of(message)
    }
    honest = [block for block in _blocks(messages, "user", "tool_result") if block["tool_use_id"] not in ordered]
    return [text for block in honest for text in results_since([{"role": "user", "content": [block]}])]


def _shown(results: list[str], match: re.Match[str]) -> str:
    result = results[int(match[2]) - 1]
    try:
        value = json.loads(result)
    except ValueError:
        value = result
    shown = value if isinstance(value, str) else result
    return " ".join(shown.split()) if match[1] == "line" else shown


class Outside(protocol.MessagesServer):
    def __init__(self) -> None:
        super().__init__(obey)
        self.answers: dict[str, list[Any]] = {}
        self.calls: list[tuple[str, Any]] = []
        self.keys: set[str] = set()

    async def route(self, request: wire.Request) -> wire.Response:
        match request.method, request.path:
            case "POST", "/world":
                self.answers = {tool: list(answers) for tool, answers in request.json()["answers"].items()}
                self.calls, self.keys = [], set()
                return wire.json_response({})
            case "GET", "/world":
                return wire.json_response({"calls": self.calls})
            case "POST", path if path.startswith("/do/"):
                return wire.json_response(self._done(path.removeprefix("/do/"), request))
        return await super().route(request)

    def _done(self, tool: str, request: wire.Request) -> Any:
        key = request.headers.get("idempotency-key", "")
        if not key or key not in self.keys:
            self.keys.add(key)
            self.calls.append((tool, request.json()))
        if tool == ECHO and (asked := "".join(request.json().values())) != KNOWN:
            return " ".join(f"There is no supplier {asked} .".split())
        answers = self.answers.get(tool, ["done"])
        return answers.pop(0) if len(answers) > 1 else answers[0]


def main() -> None:
    options = wire.parser(__doc__.splitlines()[0], port=0).parse_args()
    wire.run(Outside(), options.host, options.port, announce="the world outside")


if __name__ == "__main__":
    main()
