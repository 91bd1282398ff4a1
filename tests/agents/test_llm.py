"""The model boundary against real servers: the scripted model's process, and sockets that break every rule."""

import itertools
import json
import logging
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any, get_args

import pytest

from agents import llm, wire
from agents.values import FailureKind, ModelFailure, ModelReply, ModelRequest, ModelSpec, Usage
from tests.agents.raw_server import STREAM_HEAD, answering, block, message_end, message_start, response, sse
from tests.waiting import CUT_SECONDS

RETRY, NEXT_MODEL, FATAL = FailureKind.RETRY, FailureKind.NEXT_MODEL, FailureKind.FATAL
NEXT_ACCESS = FailureKind.NEXT_ACCESS
KEY = "sk-test-0123456789"
TEXT = block(0, {"type": "text", "text": ""}, {"type": "text_delta", "text": "Hello"})


@pytest.fixture(autouse=True)
def _a_key(monkeypatch):
    monkeypatch.setenv("TEST_MODEL_KEY", KEY)
    llm.close()
    yield
    llm.close()


def model(endpoint: str, **changes: Any) -> ModelSpec:
    spec = ModelSpec(
        name="small",
        provider_model="claude-small-1",
        endpoint=endpoint,
        credential="env:TEST_MODEL_KEY",
        context_window=200_000,
        output_limit=8192,
        input_price=Decimal(1),
        output_price=Decimal(5),
        cache_read_price=Decimal("0.1"),
        cache_write_price=Decimal("1.25"),
    )
    return replace(spec, **changes)


def request(endpoint: str, *turns: dict[str, Any], **changes: Any) -> ModelRequest:
    asked = {"role": "user", "content": json.dumps({"script": turns})}
    plain = ModelRequest(model(endpoint), "You are a test.", [asked], [], max_tokens=1000, timeout_seconds=10)
    return replace(plain, **changes)


def tool(name: str) -> dict[str, Any]:
    return {"name": name, "description": name, "input_schema": {"type": "object"}}


def reply(answer: ModelReply | ModelFailure) -> ModelReply:
    assert isinstance(answer, ModelReply), answer
    return answer


def failure(answer: ModelReply | ModelFailure) -> ModelFailure:
    assert isinstance(answer, ModelFailure), answer
    return answer


def streamed(asked: ModelRequest) -> ModelReply | ModelFailure:
    return llm.complete(asked, lambda text: None)


# Replies


def test_text_is_handed_on_as_it_comes_and_stored_whole(scripted_model):
    heard: list[str] = []

    answer = reply(llm.complete(request(scripted_model.url, {"text": "One two three."}), heard.append))

    assert heard == ["One ", "two ", "three."]
    assert answer.content == [{"type": "text", "text": "One two three."}]
    assert (answer.stop_reason, answer.model) == ("end_turn", "claude-small-1")


def test_a_listener_that_fails_is_heard_of_and_does_not_cost_the_reply(scripted_model, caplog):
    def fail(text: str) -> None:
        raise RuntimeError("no channel")

    answer = reply(llm.complete(request(scripted_model.url, {"text": "One two."}), fail))

    assert answer.content[0]["text"] == "One two."
    assert [record.levelno for record in caplog.records if record.name == "agents.llm"] == [logging.ERROR]


def test_calls_of_tools_come_with_their_arguments(scripted_model):
    turn = {"text": "Looking.", "tools": [{"name": "search", "input": {"q": "dépôt", "n": [1, 2.5, None]}}]}

    answer = reply(llm.complete(request(scripted_model.url, turn, tools=[tool("search")])))

    assert answer.stop_reason == "tool_use"
    said, call = answer.content
    assert said == {"type": "text", "text": "Looking."}
    assert (call["type"], call["name"], call["input"]) == ("tool_use", "search", {"q": "dépôt", "n": [1, 2.5, None]})
    assert set(call) == {"type", "id", "name", "input"}


def test_a_reply_is_echoed_as_it_came_and_accepted(scripted_model):
    script = request(scripted_model.url, {"tools": [{"name": "search", "input": {}}]}, {"text": "Done."})
    first = reply(llm.complete(script))
    result = {"type": "tool_result", "tool_use_id": first.content[0]["id"], "content": "found"}
    messages = [*script.messages, {"role": "assistant", "content": first.content}]

    second = llm.complete(replace(script, messages=[*messages, {"role": "user", "content": [result]}]))

    assert reply(second).content == [{"type": "text", "text": "Done."}]
    assert scripted_model.requests()[-1]["messages"][1]["content"] == first.content


def test_usage_keeps_what_the_cache_gave_and_took_apart(scripted_model):
    usage = {
        "input_tokens": 3,
        "output_tokens": 11,
        "cache_read_input_tokens": 1000,
        "cache_creation_input_tokens": 70,
    }

    answer = reply(llm.complete(request(scripted_model.url, {"text": "x", "usage": usage})))

    assert answer.usage == Usage(input_tokens=3, output_tokens=11, cache_read_tokens=1000, cache_write_tokens=70)


def test_an_unknown_stop_reason_passes_through(scripted_model):
    assert reply(llm.complete(request(scripted_model.url, {"text": "x", "stop_reason": "moonrise"}))).stop_reason == (
        "moonrise"
    )


def test_an_unknown_block_passes_through_with_its_nulls():
    strange = {"type": "hologram", "frames": {"first": None, "n": 2}}
    with answering(STREAM_HEAD, message_start(), block(0, strange), message_end("end_turn")) as url:
        answer = reply(streamed(request(url)))

    assert answer.content == [strange]


def test_thinking_keeps_its_signature_and_blank_text_is_left_out():
    thinking = block(
        0,
        {"type": "thinking", "thinking": "", "signature": ""},
        {"type": "thinking_delta", "thinking": "Hm."},
        {"type": "signature_delta", "signature": "c2ln"},
    )
    blank = block(1, {"type": "text", "text": ""})
    with answering(STREAM_HEAD, message_start(), thinking, blank, message_end("end_turn")) as url:
        answer = reply(streamed(request(url)))

    assert answer.content == [{"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}]


def test_a_citation_is_stored_as_the_api_takes_it_back():
    citation = {
        "type": "char_location",
        "cited_text": "x",
        "document_index": 0,
        "document_title": None,
        "file_id": "file_1",
        "start_char_index": 0,
        "end_char_index": 1,
    }
    start = {"type": "text", "text": "", "citations": []}
    cited = block(0, start, {"type": "text_delta", "text": "x"}, {"type": "citations_delta", "citation": citation})
    with answering(STREAM_HEAD, message_start(), cited, message_end("end_turn")) as url:
        answer = reply(streamed(request(url)))

    [stored] = answer.content[0]["citations"]
    assert stored == {name: value for name, value in citation.items() if name != "file_id"}


# The request


def test_breakpoints_stand_on_tools_system_and_the_two_newest_turns():
    use = {"type": "tool_use", "id": "t1", "name": "b", "input": {}}
    messages = [
        {"role": "user", "content": "first"},
        {"role": "assistant", "content": [use]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "r"}]},
    ]
    asked = request("http://m", messages=messages, tools=[tool("a"), tool("b")])

    wired = wire.arguments(asked)

    marks = [path for path, value in walk(wired) if value == {"type": "ephemeral"}]
    assert marks == [
        ("messages", 0, "content", 0, "cache_control"),
        ("messages", 2, "content", 0, "cache_control"),
        ("system", 0, "cache_control"),
        ("tools", 1, "cache_control"),
    ]
    assert "cache_control" not in json.dumps([messages, asked.tools])


# What an answer is held to

VERDICT = {
    "type": "object",
    "properties": {
        "days": {"type": ["integer", "null"], "minimum": 0, "description": "how many"},
        "why": {"type": "string", "maxLength": 200},
        "verdict": {"enum": ["late", "on time"]},
    },
    "required": ["why", "verdict"],
}


@pytest.mark.parametrize("way", [llm.complete, streamed], ids=["whole", "streamed"])
def test_a_schema_goes_as_far_as_providers_hold_an_answer_to_it(way, scripted_model):
    scripted_model.reset()

    answer = reply(way(request(scripted_model.url, {"text": "{}"}, output_schema=VERDICT)))

    assert answer.content == [{"type": "text", "text": "{}"}]
    (asked,) = scripted_model.requests()
    sent = asked["output_config"]["format"]["schema"]
    assert list(sent["properties"]) == ["why", "verdict", "days"], "in the order of `required`"
    assert sent["properties"]["why"] == {"type": "string", "description": "{maxLength: 200}"}
    days = sent["properties"]["days"]
    assert days["description"] == "how many"
    assert [each["type"] for each in days["anyOf"]] == ["integer", "null"]
    assert sent["additionalProperties"] is False


def test_control_the_server_refuses_a_schema_as_operators_write_it(scripted_model, monkeypatch):
    monkeypatch.setattr(llm, "_with_supported_schema", lambda request: request)

    refused = failure(llm.complete(request(scripted_model.url, {"text": "{}"}, output_schema=VERDICT)))

    assert (refused.kind, refused.code) == (FATAL, "invalid_request_error")


def test_a_schema_that_no_provider_can_be_told_is_left_out_and_said(scripted_model, caplog):
    scripted_model.reset()

    reply(llm.complete(request(scripted_model.url, {"text": "{}"}, output_schema={"not": {"type": "null"}})))

    (asked,) = scripted_model.requests()
    assert "output_config" not in asked
    assert "an output schema is not given to the provider" in caplog.text


def test_a_breakpoint_is_never_put_on_thinking():
    echoed = [{"type": "text", "text": "x"}, {"type": "thinking", "thinking": "y", "signature": "z"}]
    messages = [{"role": "user", "content": "q"}, {"role": "assistant", "content": echoed}]

    wired = wire.arguments(request("http://m", messages=messages))

    assert [sorted(block) for block in wired["messages"][1]["content"]] == [
        ["cache_control", "text", "type"],
        ["signature", "thinking", "type"],
    ]


def test_the_second_turn_reads_what_the_first_one_wrote(scripted_model):
    long = "Be exact. " * 400
    script = request(scripted_model.url, {"text": "One."}, {"text": "Two."}, system=long)
    first = reply(llm.complete(script))
    echoed = {"role": "assistant", "content": first.content}

    second = reply(
        llm.complete(replace(script, messages=[*script.messages, echoed, {"role": "user", "content": "and?"}]))
    )

    assert first.usage.cache_write_tokens > 900
    assert second.usage.cache_read_tokens == first.usage.cache_read_tokens + first.usage.cache_write_tokens


def walk(value: Any, *path: Any) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Every value inside, with its path; keys in alphabetical order."""
    yield path, value
    if isinstance(value, dict):
        for name in sorted(value):
            yield from walk(value[name], *path, name)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from walk(inner, *path, index)


# Failures, each in the order: kind, code, sent, seconds to wait

SCRIPTED = {
    "400": ({"status": 400}, FATAL, "invalid_request_error", False, None),
    "401": ({"status": 401}, NEXT_ACCESS, "authentication_error", False, None),
    "402": ({"status": 402}, NEXT_ACCESS, "api_error", False, None),
    "403": ({"status": 403}, NEXT_MODEL, "permission_error", False, None),
    "404": ({"status": 404}, NEXT_MODEL, "not_found_error", False, None),
    "408": ({"status": 408}, RETRY, "api_error", True, None),
    "409": ({"status": 409}, RETRY, "api_error", True, None),
    "413": ({"status": 413}, FATAL, "request_too_large", False, None),
    "418": ({"status": 418}, NEXT_MODEL, "api_error", True, None),
    "422": ({"status": 422}, FATAL, "api_error", False, None),
    "429": ({"status": 429}, RETRY, "rate_limit_error", False, None),
    "429 in seconds": ({"status": 429, "retry_after": 2.5}, RETRY, "rate_limit_error", False, 2.5),
    "429 with nonsense": ({"status": 429, "retry_after": "soon"}, RETRY, "rate_limit_error", False, None),
    "500": ({"status": 500}, RETRY, "api_error", True, None),
    "503 with a past date": (
        {"status": 503, "retry_after": "Wed, 21 Oct 2015 07:28:00 GMT"},
        RETRY,
        "api_error",
        True,
        0,
    ),
    "529": ({"status": 529}, RETRY, "overloaded_error", False, None),
    "reset half way": ({"text": "a b c", "reset": True}, RETRY, "truncated", True, None),
    "cut half way": ({"text": "a b c", "truncate": True}, RETRY, "truncated", True, None),
    "not JSON": ({"garbage": True}, RETRY, "garbage", True, None),
    "no answer": ({"hang": True}, RETRY, "timeout", True, None),
}


@pytest.mark.parametrize(("turn", "kind", "code", "sent", "wait"), SCRIPTED.values(), ids=list(SCRIPTED))
def test_a_failing_server_is_a_value(scripted_model, turn, kind, code, sent, wait):
    seconds = 0.5 if "hang" in turn else 10

    answer = failure(streamed(request(scripted_model.url, turn, timeout_seconds=seconds)))

    assert (answer.kind, answer.code, answer.sent, answer.retry_after_seconds) == (kind, code, sent, wait)
    assert answer.sentence.endswith(".")
    assert KEY not in repr(answer)


def http_error(status: int, kind: str, headers: dict[str, str] | None = None, **details: Any) -> bytes:
    return response(status, {"type": "error", "error": {"type": kind, "message": "no", "details": details}}, headers)


DATES = {"date": "Wed, 21 Oct 2015 07:28:00 GMT", "retry-after": "Wed, 21 Oct 2015 07:29:30 GMT"}
OPENED, ENDED = STREAM_HEAD + message_start(), message_end("tool_use")
PAGE = b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\nconnection: close\r\n\r\n<html>"


def failing_in_the_stream(kind: str) -> bytes:
    return OPENED + sse("error", error={"type": kind, "message": "no"})


def calling_with(arguments: str) -> bytes:
    start = {"type": "tool_use", "id": "t", "name": "pay", "input": {}}
    return OPENED + block(0, start, {"type": "input_json_delta", "partial_json": arguments}) + ENDED


BUSY, LIMITED = "overloaded_error", "rate_limit_error"


@pytest.mark.parametrize(
    ("turn", "code"),
    [
        ({"text": "a b c", "reset": True}, "connection"),
        ({"text": "a b c", "truncate": True}, "garbage"),
        ({"garbage": True}, "garbage"),
    ],
)
def test_a_reply_that_does_not_come_whole_is_none(scripted_model, turn, code):
    answer = failure(llm.complete(request(scripted_model.url, turn)))

    assert (answer.kind, answer.code, answer.sent) == (RETRY, code, True)


REPLY = {"content": [], "stop_reason": "end_turn", "usage": {"input_tokens": 1, "output_tokens": 2}, "model": "m"}


@pytest.mark.parametrize(
    "changes",
    [
        {"content": "text"},
        {"content": [1]},
        {"content": None},
        {"usage": None},
        {"usage": {"input_tokens": "many"}},
        {"content": [{"type": "tool_use", "name": "pay", "id": "a", "input": "12"}], "stop_reason": "tool_use"},
        {"content": [{"type": "tool_use", "name": "pay", "id": "a"}], "stop_reason": "tool_use"},
    ],
)
def test_a_whole_reply_of_another_shape_is_none(changes):
    with answering(response(200, REPLY | changes)) as url:
        answer = failure(llm.complete(request(url)))

    assert (answer.kind, answer.code, answer.sent) == (RETRY, "garbage", True)


def test_a_whole_reply_that_cannot_be_used_is_counted_at_what_it_says():
    call = {"type": "tool_use", "name": "pay", "id": "a", "input": "12"}
    with answering(response(200, REPLY | {"content": [call], "stop_reason": "tool_use"})) as url:
        answer = failure(llm.complete(request(url)))

    assert (answer.usage, answer.is_usage_estimated) == (Usage(1, 2), False)


def test_control_a_whole_reply_of_that_shape_is_taken_with_what_it_brings():
    blocks = [
        {"type": "text", "text": "Hi.", "citations": None},
        {"type": "text", "text": " "},
        {"type": "new", "n": {"x": None}},
    ]
    with answering(
        response(200, REPLY | {"content": blocks, "stop_details": {"category": "x", "explanation": None}})
    ) as url:
        answer = reply(llm.complete(request(url)))

    assert answer.content == [{"type": "text", "text": "Hi."}, {"type": "new", "n": {"x": None}}]
    assert (answer.usage, answer.stop_details) == (Usage(1, 2), {"category": "x"})


@pytest.mark.parametrize("max_tokens", [8192, 8193])
def test_what_may_be_long_is_streamed(scripted_model, max_tokens):
    reply(llm.complete(request(scripted_model.url, {"text": "x"}, max_tokens=max_tokens)))

    assert bool(scripted_model.requests()[-1].get("stream")) == (max_tokens > llm.LONGEST_UNSTREAMED_TOKENS)


RAW = {
    "by the server's own clock": (http_error(503, "api_error", DATES), RETRY, "api_error", True, 90),
    "in milliseconds": (http_error(529, BUSY, {"retry-after-ms": "250"}), RETRY, BUSY, False, 0.25),
    "a spend limit": (http_error(429, LIMITED, {"x-should-retry": "false"}), NEXT_ACCESS, LIMITED, False, None),
    "billing": (http_error(400, "billing_error"), NEXT_ACCESS, "billing_error", False, None),
    "a redirect": (response(307, {}, {"location": "http://127.0.0.1:1/"}), NEXT_MODEL, "http_307", True, None),
    "an error without a body": (b"HTTP/1.1 502 X\r\ncontent-length: 0\r\n\r\n", RETRY, "http_502", True, None),
    "overload in the stream": (failing_in_the_stream(BUSY), RETRY, BUSY, True, None),
    "our fault in the stream": (
        failing_in_the_stream("invalid_request_error"), FATAL, "invalid_request_error", True, None
    ),
    "a login page": (PAGE, RETRY, "garbage", True, None),
    "nothing at all": (b"", RETRY, "connection", True, None),
    "an end in good order, too early": (OPENED + TEXT, RETRY, "truncated", True, None),
    "half a call that claims to be whole": (calling_with('{"amount": 12'), RETRY, "garbage", True, None),
    "a call with a list": (calling_with("[1]"), RETRY, "garbage", True, None),
}  # fmt: skip


@pytest.mark.parametrize(("sent_back", "kind", "code", "sent", "wait"), RAW.values(), ids=list(RAW))
def test_a_server_that_breaks_the_rules_is_a_value(sent_back, kind, code, sent, wait):
    with answering(sent_back) as url:
        answer = failure(streamed(request(url)))

    assert (answer.kind, answer.code, answer.sent, answer.retry_after_seconds) == (kind, code, sent, wait)


def usage(**counts: int) -> bytes:
    """The start of a reply whose server names its usage."""
    return STREAM_HEAD + message_start(input_tokens=70, cache_read_input_tokens=900, **counts)


CUT_SHORT = Usage(input_tokens=70, output_tokens=1000, cache_read_tokens=900)
WHOLE = Usage(input_tokens=70, output_tokens=3, cache_read_tokens=900)
BROKEN_CALL = block(
    0, {"type": "tool_use", "id": "t", "name": "pay", "input": {}}, {"type": "input_json_delta", "partial_json": "[1]"}
)
LATE = sse("error", error={"type": BUSY, "message": "no"})
# What was sent back, what the call is counted at (None: all that was reserved), and whether that is an estimate.
COUNTED = {
    "a reply that broke off": (usage() + TEXT, CUT_SHORT, True),
    "an error in the middle of a reply": (usage() + TEXT + LATE, CUT_SHORT, True),
    "an error before the reply began": (STREAM_HEAD + LATE, Usage(), True),
    "a reply cut after its last word": (usage() + TEXT + ENDED.split(b"event: message_stop")[0], WHOLE, False),
    "a whole reply with a broken call": (usage() + BROKEN_CALL + ENDED, WHOLE, False),
    "a reply that names no input at its start": (STREAM_HEAD + message_start(input_tokens=0) + TEXT, None, True),
    "counts that are no numbers": (usage(output_tokens=-1) + TEXT, None, True),
    "counts beyond reason": (usage(cache_creation_input_tokens=2**40) + TEXT, None, True),
    "an error of the provider's own": (http_error(500, "api_error"), Usage(), True),
    "a time-out of the provider's own": (http_error(504, "timeout_error"), None, True),
    "a gateway's error": (response(502, {"oops": 1}), None, True),
    "nothing": (b"", None, True),
}


@pytest.mark.parametrize(("sent_back", "counted", "is_estimated"), COUNTED.values(), ids=list(COUNTED))
def test_a_failed_call_is_counted_by_what_the_server_said_of_it(sent_back, counted, is_estimated):
    with answering(sent_back) as url:
        answer = failure(streamed(request(url)))

    assert (answer.sent, answer.usage, answer.is_usage_estimated) == (True, counted, is_estimated)


CODES = {
    "enforced_spend_limit_reached": (429, "rate_limit_error", NEXT_ACCESS),
    "contract_spend_limit_reached": (429, "rate_limit_error", NEXT_ACCESS),
    "linked_organization_spend_limit_reached": (402, "billing_error", NEXT_ACCESS),
    "organization_on_hold": (400, "invalid_request_error", NEXT_ACCESS),
    "ramp_limit_exceeded": (429, "rate_limit_error", RETRY),
    "cmek_key_unreachable": (503, "api_error", RETRY),
    "a_code_nobody_has_heard_of": (429, "rate_limit_error", RETRY),
}


@pytest.mark.parametrize(("code", "told"), CODES.items(), ids=list(CODES))
def test_a_code_that_names_the_cause_weighs_more_than_the_status(code, told):
    status, kind, expected = told
    with answering(http_error(status, kind, error_code=code)) as url:
        answer = failure(llm.complete(request(url)))

    assert (answer.kind, answer.details["error_code"]) == (expected, code)
    assert f"(HTTP {status}, {code})" in answer.sentence


def test_the_sdk_knows_the_codes_that_are_told_apart_here():
    from anthropic.types.shared import error_details

    known = {
        code for name in vars(error_details) if name.endswith("ErrorDetails") for code in _codes(error_details, name)
    }

    assert known >= llm.SPENT_CODES | llm.REFUSED_CODES


def _codes(module: Any, name: str) -> tuple[str, ...]:
    fields = getattr(getattr(module, name), "model_fields", {})
    return get_args(fields["error_code"].annotation) if "error_code" in fields else ()


def test_what_a_refusal_is_about_comes_with_it(scripted_model):
    why = {"type": "refusal", "category": "cyber", "explanation": "No."}

    answer = reply(llm.complete(request(scripted_model.url, {"stop_reason": "refusal", "stop_details": why})))

    assert answer.stop_details == why


DRIPS = {
    "pings": (STREAM_HEAD, sse("ping")),
    "text": (OPENED, sse("content_block_delta", index=0, delta={"type": "text_delta", "text": "x"})),
    "headers": (b"HTTP/1.1 200 OK\r\n", b"x"),
    "an error's body": (b"HTTP/1.1 500 X\r\ncontent-length: 10000\r\n\r\n", b"x"),
}


@pytest.mark.parametrize(("start", "drop"), DRIPS.values(), ids=list(DRIPS))
def test_a_server_that_drips_for_ever_is_cut_at_the_deadline(start, drop):
    if drop.startswith(b"event: content"):
        start += sse("content_block_start", index=0, content_block={"type": "text", "text": ""})
    with answering(start, drip=itertools.repeat(drop)) as url:
        answer = failure(streamed(request(url, timeout_seconds=CUT_SECONDS)))

    assert (answer.kind, answer.code, answer.sent) == (RETRY, "timeout", True)


def test_the_last_wait_is_given_only_what_is_left():
    with answering(STREAM_HEAD, drip=itertools.repeat(sse("ping")), drip_seconds=3.6) as url:
        began = time.monotonic()
        answer = failure(streamed(request(url, timeout_seconds=4)))

    assert answer.code == "timeout"
    assert time.monotonic() - began < 7, "with all of it for each wait it would be 7.6 s"


def test_a_server_that_is_not_there_did_no_work():
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    answer = failure(llm.complete(request(f"http://127.0.0.1:{port}")))

    assert (answer.kind, answer.code, answer.sent) == (RETRY, "connection", False)


@pytest.mark.parametrize("endpoint", ["ftp://127.0.0.1/", "http://[::1", "nowhere"])
def test_an_endpoint_that_is_no_address_is_the_catalogues_fault(endpoint):
    answer = failure(llm.complete(request(endpoint)))

    assert (answer.kind, answer.code, answer.sent) == (NEXT_MODEL, "bad_endpoint", False)


def test_what_cannot_be_written_as_json_is_our_fault(scripted_model):
    messages = [{"role": "user", "content": [{"type": "text", "text": object()}]}]

    answer = failure(llm.complete(request(scripted_model.url, messages=messages)))

    assert (answer.kind, answer.code, answer.sent) == (FATAL, "unsendable", False)


# Keys


def test_a_missing_key_is_named_by_its_variable(monkeypatch):
    monkeypatch.delenv("TEST_MODEL_KEY")

    answer = failure(llm.complete(request("http://127.0.0.1:1")))

    assert (answer.kind, answer.code, answer.sent) == (NEXT_ACCESS, "no_key", False)
    assert "TEST_MODEL_KEY" in answer.sentence


def test_without_a_credential_of_its_own_a_model_uses_the_installations(scripted_model, settings):
    settings.ANTHROPIC_API_KEY, settings.ANTHROPIC_BASE_URL = None, scripted_model.url
    asked = request("", {"text": "Here."}, model=model("", credential=""))

    assert "ANTHROPIC_API_KEY is not set" in failure(llm.complete(asked)).sentence
    settings.ANTHROPIC_API_KEY = "sk-of-the-installation"
    assert reply(llm.complete(asked)).content == [{"type": "text", "text": "Here."}]


def test_the_installations_key_is_not_sent_to_a_models_own_endpoint(settings):
    settings.ANTHROPIC_API_KEY = "sk-of-the-installation"

    answer = failure(llm.complete(request("", model=model("http://127.0.0.1:1", credential=""))))

    assert (answer.kind, answer.code) == (NEXT_ACCESS, "no_key")
    assert "needs a credential of its own" in answer.sentence


def test_a_key_that_a_server_quotes_is_blotted_out():
    body = {"type": "error", "error": {"type": "authentication_error", "message": f"invalid key {KEY}"}}
    with answering(response(401, body)) as url:
        answer = failure(llm.complete(request(url)))

    assert KEY not in repr(answer)
    assert "invalid key ***" in answer.sentence
    assert "TEST_MODEL_KEY" in answer.sentence


def test_a_key_that_no_header_can_carry_stays_out_of_the_sentence(monkeypatch, scripted_model):
    key = "sk-with\na-newline"
    monkeypatch.setenv("TEST_MODEL_KEY", key)

    answer = failure(llm.complete(request(scripted_model.url, {"text": "x"})))

    assert answer.sent is False
    assert key not in repr(answer)


def test_one_client_serves_all_calls_to_one_server(scripted_model):
    for _ in range(2):
        reply(llm.complete(request(scripted_model.url, {"text": "x"})))

    assert len(llm._clients) == 1
