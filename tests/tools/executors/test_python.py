import json
import os
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from django.db import connection

from tests.tools.executors.conftest import Execute, call_context, python_tool
from tests.waiting import CUT_SECONDS, eventually
from tools import executors
from tools.executors import launcher, processes
from tools.values import Absent, CannotTell, Effect, ErrorKind, Found

pytestmark = pytest.mark.usefixtures("fork_server")


@pytest.fixture(scope="module")
def fork_server() -> str:
    """Its start is no part of any test's time."""
    return launcher.server_identity()


def test_a_trusted_pure_callable_runs_in_the_calling_thread(execute: Execute) -> None:
    assert execute(python_tool("pid", Effect.PURE)).content == str(os.getpid())


def test_a_trusted_callable_whose_tool_has_effects_runs_in_a_child(execute: Execute) -> None:
    assert execute(python_tool("pid", Effect.UNSAFE)).content != str(os.getpid())


def test_a_child_has_a_session_of_its_own_under_the_fork_server_and_no_input(execute: Execute) -> None:
    result = execute(python_tool("group"))

    told = json.loads(result.content)
    assert told["session"] == told["pid"]
    assert told["parent"] == launcher._server().process.pid
    assert told["stdin"] == 0


def test_the_call_is_given_to_callables_that_name_it(execute: Execute) -> None:
    result = execute(python_tool("with_call"), {"number": "B-1"}, key="key-9")

    assert result.content == "B-1 under key-9 of 00000000-0000-0000-0000-000000000001"


def test_a_callable_cannot_change_the_arguments_it_was_given(execute: Execute) -> None:
    arguments = {"items": [1]}

    assert execute(python_tool("spoil", Effect.PURE), arguments).content == "2"
    assert arguments == {"items": [1]}


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("", "The tool failed: ValueError: the order is closed already"),
        ("exit", "The tool failed: SystemExit: enough"),
        ("silent", "The tool failed: Unprintable."),
    ],
)
def test_a_function_that_raises_reports_itself(execute: Execute, kind: str, sentence: str) -> None:
    result = execute(python_tool("raises"), {"kind": kind})

    assert (result.error, result.content, result.sent) == (ErrorKind.RAISED, sentence, True)


@pytest.mark.parametrize(("how", "end"), [("exit", "exit status 3"), ("segfault", "SIGSEGV")])
def test_a_child_that_dies_before_it_reports_is_lost(execute: Execute, how: str, end: str) -> None:
    result = execute(python_tool("dies"), {"how": how})

    assert (result.error, result.sent) == (ErrorKind.LOST, True)
    assert end in result.content


@pytest.mark.parametrize(
    ("name", "arguments", "kind"),
    [
        ("nowhere", {}, ErrorKind.UNKNOWN_TOOL),
        ("with_call", {}, ErrorKind.INVALID_ARGUMENTS),
        ("with_call", {"number": "1", "extra": 1}, ErrorKind.INVALID_ARGUMENTS),
        ("with_call", {"number": "1", "call": "forged"}, ErrorKind.INVALID_ARGUMENTS),
    ],
)
def test_what_fails_before_the_function_was_not_sent(
    execute: Execute, name: str, arguments: dict, kind: ErrorKind
) -> None:
    result = execute(python_tool(name), arguments)

    assert (result.error, result.sent) == (kind, False)


def test_arguments_are_held_against_the_schema_first(execute: Execute) -> None:
    schema = {"type": "object", "properties": {"how": {"enum": ["never"]}}}

    result = execute(python_tool("dies", schema=schema), {"how": "exit"})

    assert (result.error, result.sent) == (ErrorKind.INVALID_ARGUMENTS, False)
    assert result.content.startswith("how: ")


def test_a_hanging_call_frees_its_slot_at_the_deadline_and_its_process_is_gone(
    execute: Execute, tmp_path: Path
) -> None:
    file = tmp_path / "pid"

    result = execute(python_tool("hangs"), {"pid_file": str(file)}, seconds=CUT_SECONDS)

    assert (result.error, result.sent) == (ErrorKind.TIMEOUT, True)
    assert not psutil.pid_exists(int(file.read_text()))


def test_the_deadline_kills_grandchildren_too(execute: Execute, tmp_path: Path) -> None:
    file = tmp_path / "ticks"

    execute(python_tool("appends"), {"path": str(file)}, seconds=CUT_SECONDS)

    assert _stops_growing(file) > 0
    assert _stops_growing(Path(f"{file}.grandchild")) > 0


@pytest.mark.parametrize("then_dies", [False, True])
def test_what_a_call_left_running_is_killed(execute: Execute, tmp_path: Path, then_dies: bool) -> None:
    file = tmp_path / "pid"

    execute(python_tool("leaves_one_behind"), {"pid_file": str(file), "then_dies": then_dies})

    left = int(file.read_text())
    eventually(lambda: not psutil.pid_exists(left) or psutil.Process(left).status() == psutil.STATUS_ZOMBIE)


def test_noise_on_stdout_and_stderr_corrupts_nothing(execute: Execute, capfd: pytest.CaptureFixture) -> None:
    assert execute(python_tool("noisy")).content == "fine"
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize(
    ("what", "sentence"),
    [
        ("nan", "the result.prices[1] is nan"),
        ("bytes", "the result.photo is of type bytes"),
        ("set", "the result is of type set"),
        ("keys", "the result has the key 1, which is not text"),
        ("circle", "contains itself"),
        ("deep", "nested deeper than 100 levels"),
        ("object", "the result.at is of type object"),
    ],
)
def test_a_result_without_json_form_is_refused_by_name(execute: Execute, what: str, sentence: str) -> None:
    result = execute(python_tool("returns"), {"what": what})

    assert (result.error, result.sent) == (ErrorKind.INVALID_RESULT, True)
    assert sentence in result.content


@pytest.mark.parametrize(
    ("what", "content"),
    [
        ("text", 'plain "text"\nas it is'),
        ("nul", "a\ufffdb"),
        ("surrogate", "half \ufffd"),
        ("none", "null"),
        (
            "rich",
            '{"at":"2026-01-02T03:04:00+00:00","b":[1,2.5,true],"big":"1152921504606846976","day":"2026-01-02",'
            '"id":"00000000-0000-0000-0000-000000000007","price":"9.90"}',
        ),
    ],
)
def test_how_a_result_reads(execute: Execute, what: str, content: str) -> None:
    assert execute(python_tool("returns"), {"what": what}).content == content


@pytest.mark.parametrize("what", ["large", "large_list"])
def test_five_megabytes_are_refused_with_size_and_limit(execute: Execute, what: str) -> None:
    result = execute(python_tool("returns"), {"what": what, "size": 5_000_000})

    assert result.error is ErrorKind.TOO_LARGE
    assert result.content.startswith("The result is 5,0")
    assert result.content.endswith("the limit is 64,000 bytes.")


def test_five_megabytes_pass_where_they_are_allowed(execute: Execute) -> None:
    result = execute(python_tool("returns"), {"what": "large", "size": 5_000_000}, limit=5_000_000)

    assert result.ok
    assert len(result.content) == 5_000_000


def test_five_megabytes_of_arguments_arrive(execute: Execute) -> None:
    result = execute(python_tool("with_call"), {"number": "y" * 5_000_000}, limit=6_000_000)

    assert len(result.content) > 5_000_000


@pytest.fixture
def sockets_have_a_timeout() -> Iterator[None]:
    """As in a worker that is told to stop: Celery bounds every socket that is made in the meantime."""
    socket.setdefaulttimeout(5)
    yield
    socket.setdefaulttimeout(None)


@pytest.mark.usefixtures("sockets_have_a_timeout")
def test_a_worker_that_stops_still_makes_the_calls_it_has_in_hand(execute: Execute) -> None:
    """So large that a child which does not wait for all of them has not got them."""
    result = execute(python_tool("with_call"), {"number": "y" * 5_000_000}, limit=6_000_000)

    assert result.ok, result.content


def test_fifty_children_at_once_do_not_mix_up_their_answers(execute: Execute) -> None:
    def one(number: int) -> str:
        return execute(python_tool("with_call"), {"number": str(number)}, key=f"key-{number}").content

    with ThreadPoolExecutor(50) as pool:
        contents = list(pool.map(one, range(50)))

    assert [content.split(" of ")[0] for content in contents] == [f"{n} under key-{n}" for n in range(50)]


def test_children_run_side_by_side(execute: Execute, tmp_path: Path) -> None:
    meeting = {"place": str(tmp_path), "of": 10}

    with ThreadPoolExecutor(10) as pool:
        met = list(pool.map(lambda _: execute(python_tool("meets"), meeting).content, range(10)))

    assert met == ["10"] * 10


@pytest.mark.django_db
def test_a_child_uses_the_workers_database_by_a_connection_of_its_own(execute: Execute) -> None:
    result = execute(python_tool("database"))

    assert json.loads(result.content) == {"name": connection.settings_dict["NAME"], "pool": None}


def test_two_children_do_not_share_their_luck(execute: Execute) -> None:
    assert execute(python_tool("random")).content != execute(python_tool("random")).content


def test_nothing_is_left_open_by_many_calls(execute: Execute) -> None:
    execute(python_tool("pid"))
    before = psutil.Process().num_fds()

    for _ in range(5):
        execute(python_tool("pid"))
        execute(python_tool("dies"), {"how": "exit"})

    assert psutil.Process().num_fds() == before
    assert psutil.Process(launcher._server().process.pid).children() == []


def test_a_killed_fork_server_loses_the_running_call_and_the_next_gets_a_new_one(
    execute: Execute, tmp_path: Path
) -> None:
    server = launcher._server()
    file = tmp_path / "pid"
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(execute, python_tool("hangs"), {"pid_file": str(file)}, seconds=15)
        eventually(lambda: file.exists() and bool(file.read_text()))
        server.process.kill()
        lost = running.result()

    assert (lost.error, lost.sent) == (ErrorKind.LOST, True)
    eventually(lambda: not psutil.pid_exists(int(file.read_text())))
    assert execute(python_tool("pid")).ok
    assert launcher.server_identity() != server.identity
    assert processes.is_dead(server.identity)


@pytest.mark.parametrize(
    ("key", "expected"), [("found-1", Found), ("absent-1", Absent), ("raises-1", CannotTell), ("hangs-1", CannotTell)]
)
def test_a_lookup_answers_or_says_that_it_cannot(key: str, expected: type) -> None:
    answer = executors.lookup(python_tool("verifiable"), call_context(key), 1)

    assert isinstance(answer, expected)
    if isinstance(answer, Found):
        assert answer.result.content == '{"refund":"found-1"}'


def test_a_callable_without_lookup_cannot_tell() -> None:
    answer = executors.lookup(python_tool("meets"), call_context(), 5)

    assert answer == CannotTell("targets.meets has no lookup.")


def _stops_growing(file: Path) -> int:
    size = file.stat().st_size
    time.sleep(0.2)
    assert file.stat().st_size == size
    return size
