from datetime import timedelta

from django.contrib.auth.models import User
from django.utils import timezone

from orchestrator_site.core import events, tokens
from orchestrator_site.core.models import Token
from runs import lifecycle, states
from runs.models import Run
from tests.live.clients import Stream
from tests.live.conftest import Site, allowed, record, signed_in


def bearer(user: User, *scopes: str) -> dict[str, str]:
    _, secret = tokens.create(user, scopes or ["runs:read"], by=None)
    return {"Authorization": f"Bearer {secret}"}


def finish(run: Run) -> None:
    with events.recording() as log:
        lifecycle.move_run(log, run, states.WORKING)
    with events.recording() as log:
        lifecycle.move_run(log, run, states.SUCCEEDED, output="Done.")


def seqs(stream: Stream) -> list[int]:
    """Of all events until the stream ends."""
    return [sent.id for sent in stream.events() if sent.id is not None]


def test_a_stream_tells_everything_and_ends_with_the_run(site: Site, run: Run) -> None:
    record(run, 1)
    stream = site.stream(run, **bearer(run.owner))
    told = stream.events()
    first = [next(told), next(told)]
    finish(run)
    rest = [*told]

    assert stream.answer.headers["Content-Type"] == "text/event-stream"
    assert [(sent.id, sent.type) for sent in first] == [(1, "noted"), (None, "live")]
    assert first[0].data["seq"] == 1
    assert first[0].data["data"] == {"number": 1}
    assert [sent.type for sent in rest if sent.id] == ["run_working", "run_succeeded"]
    assert rest[-1].type == "end"


def test_a_stream_goes_on_after_the_last_event_a_client_has(site: Site, run: Run) -> None:
    record(run, *range(5))
    finish(run)
    session = {"Cookie": f"sessionid={signed_in(run.owner)}"}

    assert seqs(site.stream(run, **session)) == [1, 2, 3, 4, 5, 6, 7]
    assert seqs(site.stream(run, "?after=5", **session)) == [6, 7]
    assert seqs(site.stream(run, "?after=1", **session, **{"Last-Event-ID": "6"})) == [7]
    assert seqs(site.stream(run, "?after=7", **session)) == []


def test_a_stream_refuses_with_a_problem_document(site: Site, run: Run) -> None:
    gone = bearer(run.owner)
    Token.objects.update(expires_at=timezone.now() - timedelta(days=1))

    def refusal(query: str = "", **headers: str) -> tuple[int, str]:
        stream = site.stream(run, query, **headers)
        problem = stream.problem()
        assert problem["status"] == stream.status
        return stream.status, problem["detail"]

    assert refusal() == (401, "Sign in first, or send a token.")
    assert refusal(Authorization="Bearer nonsense") == (401, "There is no such token.")
    assert refusal(**gone)[0] == 401
    assert refusal(**bearer(run.owner, "agents:read"))[0] == 403
    assert refusal(**bearer(allowed("stranger")))[0] == 404
    assert refusal("?after=x", **bearer(run.owner))[0] == 400
    faulty = site.stream(run, **bearer(run.owner), **{"Last-Event-ID": "x"})
    assert faulty.problem()["errors"][0]["field"] == "Last-Event-ID"
