import pytest

from tests.tools import targets  # noqa: F401  registers the callables
from tests.tools.executors.conftest import Execute, python_tool
from tools import executors
from tools.executors import python
from tools.values import Effect, ErrorKind, ExecutorKind, ToolSpec

HTTP = {"method": "POST", "url": "http://shop.example/refunds"}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({}, None),
        ({"headers": {"Authorization": "Bearer env:KEY"}, "query": ["a"], "success": [200]}, None),
        ({"lookup": {"method": "GET", "url": "http://shop.example/refunds/{key}"}}, None),
        ({"method": "post"}, "method"),
        ({"url": None}, "url"),
        ({"url": "http://{host}/"}, "url"),
        ({"body": "form"}, "body"),
        ({"query": "a"}, "query"),
        ({"timeout": 3}, "timeout"),
        ({"headers": ["A"]}, "headers"),
        ({"headers": {"A B": "x"}}, "headers.A B"),
        ({"headers": {"Host": "evil"}}, "headers.Host"),
        ({"headers": {"Transfer-Encoding": "chunked"}}, "headers.Transfer-Encoding"),
        ({"headers": {"A": "x\r\nB: y"}}, "headers.A"),
        ({"headers": {"A": "key=env:KEY"}}, "headers.A"),
        ({"headers": {"A": "env:SECRET_KEY"}}, "headers.A"),
        ({"idempotency_header": "Content-Length"}, "idempotency_header"),
        ({"success": []}, "success"),
        ({"success": [99]}, "success"),
        ({"lookup": {"url": "http://shop.example/{id}"}}, "lookup.url"),
        ({"lookup": {"method": "POST", "url": "http://shop.example/{key}"}}, "lookup.method"),
        ({"lookup": "http://shop.example/{key}"}, "lookup"),
    ],
)
def test_a_mistake_in_an_http_tool_names_its_field(change: dict, field: str | None) -> None:
    sentences = executors.validate_config("http", HTTP | change)

    assert [sentence.split(": ")[0] for sentence in sentences] == ([field] if field else [])


@pytest.mark.parametrize(
    ("config", "effect", "field"),
    [
        ({"callable": "targets.echo"}, None, None),
        ({"callable": "os.system"}, None, "callable"),
        ({}, None, "callable"),
        ({"callable": "targets.echo", "shell": "x"}, None, "shell"),
        ({"callable": "targets.echo"}, Effect.VERIFIABLE, "callable"),
        ({"callable": "targets.verifiable"}, Effect.VERIFIABLE, None),
        ({"callable": "targets.echo"}, Effect.KEYED, "callable"),
        ({"callable": "targets.with_call"}, Effect.KEYED, None),
    ],
)
def test_a_mistake_in_a_python_tool_names_its_field(config: dict, effect: Effect | None, field: str | None) -> None:
    sentences = executors.validate_config(ExecutorKind.PYTHON, config, effect)

    assert [sentence.split(": ")[0] for sentence in sentences] == ([field] if field else [])


def test_effect_classes_need_their_settings() -> None:
    assert executors.validate_config("http", HTTP, Effect.KEYED) == ["idempotency_header: a keyed tool needs it."]
    assert executors.validate_config("http", HTTP, Effect.VERIFIABLE) == ["lookup: a verifiable tool needs it."]


def test_a_platform_tool_is_not_run_here(execute: Execute) -> None:
    result = execute(ToolSpec("ask", 1, "", {"type": "object"}, ExecutorKind.PLATFORM))

    assert (result.error, result.sent) == (ErrorKind.UNKNOWN_TOOL, False)


def test_a_mistake_of_our_own_is_a_value_and_the_worst_is_assumed(
    execute: Execute, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(python, "keywords", lambda *_: 1 / 0)

    result = execute(python_tool("pid"))

    assert (result.error, result.sent) == (ErrorKind.LOST, True)
    assert "ZeroDivisionError" in result.content


def test_endpoints_of_python_tools() -> None:
    assert executors.endpoint(python_tool("pid"), {}) == "python:targets.pid"
