"""A real backup, work that goes on after it, and the backup put back: nothing is done twice, and doubt is shown.

The outside ledger, which is never restored, is the judge.
"""

import dataclasses
import datetime as dt
import shutil
from collections import Counter
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db.models.functions import Now
from django.test import Client, override_settings

from agents import roster
from approvals.models import ApprovalRequest
from orchestrator_site.core import checkpoints, events, restorations, roles, verify
from orchestrator_site.core import second_place as place
from orchestrator_site.core.events import PLATFORM
from orchestrator_site.core.ids import new_id
from orchestrator_site.core.models import Checkpoint, Event, Restoration
from runs import carrier, intake, leases, reconcile, restored, states, uncertain
from runs.engine import effects
from runs.errors import LostLease, NotPossible
from runs.models import Attempt, Dispatch, Run, ToolCall
from runs.uncertain import Finding
from tests.audit.backup import Backup
from tests.audit.cast import checkpoint, say, verified
from tests.model_fixtures import Process, ScriptedModel
from tests.policies.cast import in_force, rule
from tests.runs import cast
from tests.runs.cast import only_call, request_of
from tests.runs.meanwhile import Vanished
from tests.stack import Stack
from tests.waiting import eventually
from tools.models import Tool
from tools.policies.values import Window
from tools.values import Effect, Risk

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("asks_anew")]


@pytest.fixture
def asks_anew() -> Iterator[None]:
    """Each test begins as a process does that has not looked at the second place yet."""
    restored.forget()
    yield
    restored.forget()


class Scene:
    """Runs in every state that work can be in when a backup is made; each has one call, to a tool of its own."""

    def __init__(self, ann: User, bob: User, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ann, self.bob, self._patch = ann, bob, monkeypatch
        self.mark = f"{new_id()} "
        self.approved = self._run("approved", Effect.UNSAFE, Risk.HIGH)
        cast.decide(request_of(self.approved), bob)
        self.asking = self._run("asking", Effect.UNSAFE, Risk.HIGH)
        self.executing = self._run("executing", Effect.UNSAFE, Risk.HIGH)
        self._die_in_the_middle(self.executing)
        self.keyed = self._run("keyed", Effect.KEYED, Risk.HIGH)
        self._die_in_the_middle(self.keyed)
        self.reading = self._run("reading", Effect.PURE, Risk.HIGH)
        cast.decide(request_of(self.reading), bob)
        self.deferred = self._run("deferred", Effect.UNSAFE, Risk.HIGH)
        self._close_the_window()
        cast.carry_all(self.deferred)
        assert only_call(self.deferred).status == states.DEFERRED
        self.queued = self._run("queued", Effect.KEYED, Risk.LOW, carry=False)
        self.done = self._run("done", Effect.KEYED, Risk.LOW)
        in_doubt = [self.approved, self.asking, self.executing, self.keyed, self.deferred]
        self.runs = [*in_doubt, self.reading, self.queued]

    def _run(self, name: str, effect: Effect, risk: Risk, *, carry: bool = True) -> Run:
        cast.tool(f"act_{name}", "tests.effect", effect, risk)
        cast.agent(name, f"act_{name}")
        turns = cast.script(
            cast.call((f"act_{name}", {"of": self.mark + name, "dedupe": effect == Effect.KEYED})), cast.text("done")
        )
        run = cast.start(self.ann, turns, agent=name)
        return cast.carry_all(run) if carry else run

    def _die_in_the_middle(self, run: Run) -> None:
        """The intent is committed, and its worker gone before it sends anything."""
        cast.decide(request_of(run), self.bob)

        def vanish(*args: Any, **kwargs: Any) -> None:
            raise Vanished

        with self._patch.context() as patched:
            patched.setattr(effects, "send", vanish)
            with pytest.raises(Vanished):
                carrier.carry(run.dispatches.get().pk)
        assert only_call(run).status == states.EXECUTING

    def _close_the_window(self) -> None:
        """A call is approved, and a window that opens seldom defers it at its intent."""
        cast.decide(request_of(self.deferred), self.bob)
        weekday = dt.datetime.now(dt.UTC).weekday()
        self._window(Window("seldom", "UTC", frozenset({(weekday + 3) % 7}), dt.time(3), dt.time(3, 1)))

    def open_the_window(self) -> None:
        self._window(Window("seldom", "UTC", frozenset(range(7)), dt.time(0), dt.time(0)))
        ToolCall.objects.filter(status=states.DEFERRED).update(due_at=Now())
        cast.due_now(self.deferred)
        reconcile.wake_due()

    def _window(self, window: Window) -> None:
        later = rule("later", "defer", tool="act_deferred", window="seldom")
        in_force(later, by=self.ann, second=self.bob, windows=[window])

    def finish(self) -> None:
        """What happens after the backup: a person decides, workers recover, and every run comes to its end."""
        cast.decide(request_of(self.asking), self.bob)
        self.open_the_window()
        Dispatch.objects.filter(status=states.WORKING).update(lease_until=None)
        for run in self.runs:
            cast.carry_all(run)
        for call in ToolCall.objects.uncertain():
            uncertain.resolve(call.pk, Finding.REPEAT, by=self.bob, attests_dead=True)
        for run in self.runs:
            cast.carry_all(run)
            assert Run.objects.get(pk=run.pk).status == states.SUCCEEDED

    def status_of(self) -> dict[str, str]:
        return dict(ToolCall.objects.values_list("tool", "status"))


class Past:
    """A scene, a backup of it, and how the second place stood at the backup and at the end; made once for all tests."""

    def __init__(self, scene: Scene, place: Path, kept: Path) -> None:
        self.scene, self._place, self._kept = scene, place, kept
        checkpoint()
        self.backup = Backup()
        shutil.copytree(place, kept / "at the backup")
        scene.finish()
        say(PLATFORM, 1)
        checkpoint()
        shutil.copytree(place, kept / "at the end")

    def put_back(self, place: Path, seen: str) -> None:
        self.backup.restore()
        shutil.copytree(self._kept / seen, place)


@pytest.fixture(scope="module")
def past(
    django_db_setup: None,
    django_db_blocker: Any,
    scripted_model: ScriptedModel,
    ledger: Process,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Past]:
    folder = tmp_path_factory.mktemp("past")
    with (
        django_db_blocker.unblock(),
        override_settings(BATON_CHECKPOINT_DIR=folder / "place"),
        pytest.MonkeyPatch.context() as patch,
    ):
        restored.forget()
        cast.model(scripted_model.url)
        made = Past(Scene(cast.person("ann"), cast.person("bob", decides=True), patch), folder / "place", folder)
        assert effects_made(ledger, made.scene) == ONCE
    yield made
    made.backup.forget()


@pytest.fixture
def now(past: Past, second_place: Path) -> Scene:
    """Everything as it was when the backup was made, and nothing done since."""
    past.put_back(second_place, "at the backup")
    return past.scene


@pytest.fixture
def back(past: Past, second_place: Path) -> Scene:
    """The work went on to its end after the backup, and was signed; then the backup was restored."""
    past.put_back(second_place, "at the end")
    return past.scene


ONCE = dict.fromkeys(["approved", "asking", "deferred", "done", "executing", "keyed", "queued", "reading"], 1)


def effects_made(ledger: Process, scene: Scene) -> Counter[str]:
    """How often each run had its effect, whatever the key."""
    made = [effect["arguments"].get("of", "") for effect in ledger.get("/effects")]
    return Counter(name.removeprefix(scene.mark) for name in made if name.startswith(scene.mark))


def carry_everything() -> None:
    """What workers do, as long as there is something to do."""
    for _ in range(50):
        reconcile.sweep()
        ready = list(Dispatch.objects.forgotten().values_list("pk", flat=True))
        if not ready:
            return
        for dispatch_id in ready:
            carrier.carry(dispatch_id)
    raise AssertionError("there is work without end")


# -- nothing is done twice ---------------------------------------------------------------------------------------
def test_nothing_that_was_done_after_the_backup_is_done_again_by_the_machine(back: Scene, ledger: Process):
    before = effects_made(ledger, back)

    carry_everything()

    assert effects_made(ledger, back) - before == {"reading": 1}, "reading again is harmless"


def test_control_without_the_mark_it_is_done_again(back: Scene, ledger: Process, monkeypatch: pytest.MonkeyPatch):
    """Teeth: the same backup, and a platform that does not look at its second place."""
    monkeypatch.setattr(restored, "may_carry", lambda: True)
    monkeypatch.setattr(restored, "look", lambda: True)
    before = effects_made(ledger, back)

    carry_everything()

    assert effects_made(ledger, back) - before == {"reading": 1, "approved": 1, "queued": 1}


def test_each_is_brought_up_as_what_is_known_of_it(back: Scene):
    carry_everything()

    assert back.status_of() == {
        "act_approved": states.UNCERTAIN,
        "act_executing": states.UNCERTAIN,
        "act_keyed": states.UNCERTAIN,
        "act_asking": states.AWAITING_APPROVAL,
        "act_deferred": states.DEFERRED,
        "act_queued": states.AWAITING_APPROVAL,
        "act_reading": states.DONE,
        "act_done": states.DONE,
    }
    asked = {request.call_id: request for request in ApprovalRequest.objects.open()}
    assert "restored" in asked[only_call(back.asking).pk].reasons[0]
    assert any("restored" in reason for reason in asked[only_call(back.queued).pk].reasons)
    assert asked[only_call(back.asking).pk].supersedes is not None
    assert "restored" in only_call(back.approved).result
    assert Run.objects.get(pk=back.reading.pk).status == states.SUCCEEDED
    assert Run.objects.get(pk=back.done.pk).restored_at is None, "it had ended before"


def test_what_was_approved_and_waited_for_its_window_is_asked_anew_once(back: Scene, ledger: Process):
    before = effects_made(ledger, back)
    carry_everything()
    old = only_call(back.deferred).request_id

    back.open_the_window()
    carry_everything()

    asked = request_of(back.deferred)
    assert asked.pk != old
    assert any("restored" in reason for reason in asked.reasons)
    assert effects_made(ledger, back)["deferred"] == before["deferred"]
    cast.decide(asked, back.bob)
    carry_everything()
    assert effects_made(ledger, back)["deferred"] == before["deferred"] + 1
    assert Run.objects.get(pk=back.deferred.pk).status == states.SUCCEEDED


def test_control_without_a_restore_it_runs_when_its_window_opens(now: Scene, ledger: Process):
    before = effects_made(ledger, now)

    now.open_the_window()
    carry_everything()

    assert effects_made(ledger, now)["deferred"] == before["deferred"] + 1


def test_people_bring_every_run_to_its_end(back: Scene, ledger: Process):
    """They look, and say: those in doubt happened, but for one; of those asked again one is approved."""
    before = effects_made(ledger, back)
    carry_everything()
    call = only_call(back.executing)
    with pytest.raises(NotPossible, match="may still be alive"):
        uncertain.resolve(call.pk, Finding.REPEAT, by=back.bob)
    uncertain.resolve(call.pk, Finding.REPEAT, by=back.bob, attests_dead=True)
    for other in (back.approved, back.keyed):
        uncertain.resolve(only_call(other).pk, Finding.HAPPENED, by=back.bob, result="It had been done.")
    cast.decide(request_of(back.asking), back.bob)
    cast.decide(request_of(back.queued), back.bob, "rejected", reason="It was done before the restore.")
    back.open_the_window()
    carry_everything()
    cast.decide(request_of(back.deferred), back.bob, "rejected", reason="It was done before the restore.")

    carry_everything()

    assert {Run.objects.get(pk=run.pk).status for run in back.runs} == {states.SUCCEEDED}
    assert effects_made(ledger, back) - before == {"reading": 1, "executing": 1, "asking": 1}


def test_what_is_run_again_on_a_persons_word_is_not_asked_for_once_more(back: Scene):
    """Of a call that needed no approval: who said that it did not happen has been asked."""
    carry_everything()
    call = only_call(back.keyed)
    ToolCall.objects.filter(pk=call.pk).update(request=None)
    tool = Tool.objects.get(name=call.tool)
    tool.risk = Risk.LOW
    tool.save()

    uncertain.resolve(call.pk, Finding.REPEAT, by=back.bob, attests_dead=True)
    carry_everything()

    assert only_call(back.keyed).status == states.DONE


def test_a_run_that_was_restored_is_not_tried_again_as_it_was(back: Scene):
    """Nobody knows all of its effects, also where it has none that is known."""
    carry_everything()
    cast.decide(request_of(back.queued), back.bob, "rejected", reason="No.")
    carry_everything()
    queued, done = Run.objects.get(pk=back.queued.pk), Run.objects.get(pk=back.reading.pk)

    assert queued.is_final
    assert "restored from a backup" in (intake.why_no_retry(queued) or "")
    assert "restored from a backup" in (intake.why_no_retry(done) or "")


def test_a_call_that_was_ready_and_never_known_to_be_sent_is_not_taken_for_dead(back: Scene):
    carry_everything()

    for run in (back.approved, back.executing, back.keyed):
        assert not uncertain.may_repeat(only_call(run))
    with pytest.raises(NotPossible):
        uncertain.resolve(only_call(back.approved).pk, Finding.REPEAT, by=back.bob)


def test_the_pages_show_the_doubt(back: Scene, client: Client):
    carry_everything()
    operator = cast.person("olga")
    operator.groups.set([roles.Group.objects.get(name=roles.OPERATOR)])
    client.force_login(operator)

    doubts = client.get("/uncertain/").content.decode()
    queue = client.get(f"/approvals/{request_of(back.asking).pk}/").content.decode()

    assert doubts.count("The database was restored from a backup.") == 3
    assert "may have been approved, and carried out, since" in queue


# -- how it is found, and held -----------------------------------------------------------------------------------
def test_a_process_that_starts_carries_nothing_before_it_is_marked(back: Scene, monkeypatch: pytest.MonkeyPatch):
    def fail(*args: Any) -> None:
        raise RuntimeError("a run that cannot be marked")

    ready = Dispatch.objects.forgotten().first()
    assert ready is not None
    with monkeypatch.context() as patched:
        patched.setattr(restored, "_mark_run", fail)
        reconcile.sweep()  # it is logged, and tried again
        with pytest.raises(RuntimeError):
            carrier.carry(ready.pk)

    assert restorations.unmarked() is not None
    assert Dispatch.objects.get(pk=ready.pk).fence == ready.fence
    assert checkpoint_is_refused()
    assert carrier.carry(ready.pk)
    assert restorations.unmarked() is None


def checkpoint_is_refused() -> bool:
    """Where the log stands is not known yet."""
    say(PLATFORM, 1)
    return checkpoints.make() is None


def test_a_running_process_finds_it_too(now: Scene, past: Past, ledger: Process):
    """A server that was replaced under it: the next sweep looks."""
    assert restored.may_carry()
    now.finish()
    say(PLATFORM, 1)
    checkpoint()
    before = effects_made(ledger, now)
    past.backup.restore()

    carry_everything()

    assert Restoration.objects.get().marked_at is not None
    assert effects_made(ledger, now) - before == {"reading": 1}


def test_nothing_is_found_where_nothing_was_restored(now: Scene):
    carry_everything()
    say(PLATFORM, 1)
    checkpoint()
    restored.forget()
    carry_everything()

    assert not Restoration.objects.exists()
    assert Run.objects.filter(restored_at__isnull=False).count() == 0


def test_marking_twice_changes_nothing_more(back: Scene):
    carry_everything()
    before = rows_of_everything()

    restored.forget()
    carry_everything()
    out = StringIO()
    call_command("mark_restored", stdout=out)

    assert "Nothing is marked" in out.getvalue()
    assert rows_of_everything() == before
    assert restored.mark() is None


def test_many_that_start_at_once_mark_once(back: Scene):
    def start() -> bool:
        return restored.look()

    assert cast.at_once(start, 6) == [True] * 6

    assert Restoration.objects.count() == 1
    assert Event.objects.filter(type="run_restored").count() == len(back.runs)
    assert Event.objects.filter(chain=PLATFORM, type="database_restored").count() == 1
    assert Event.objects.filter(chain=PLATFORM, type="restore_found").count() == 1


def test_the_clock_of_the_lost_server_may_have_been_ahead(back: Scene):
    Run.objects.update(created_at=Now() + dt.timedelta(hours=1), restored_at=Now() + dt.timedelta(hours=2))

    restored.look()

    assert Event.objects.filter(type="run_restored").count() == len(back.runs)


def test_another_host_may_have_seen_more_of_what_was_lost(back: Scene):
    known = place.copy()
    assert known is not None
    first = restorations.begin(known, by="system")
    more = dataclasses.replace(known, number=known.number + 5, hash="ab" * 32)
    second = restorations.begin(more, by="system")
    carry_everything()

    assert first.pk == second.pk
    assert Checkpoint.objects.latest("number").number == known.number + 6
    assert verified(outside=True).faults == []


def test_marking_that_was_cut_off_goes_on_where_it_was(back: Scene, monkeypatch: pytest.MonkeyPatch):
    marked: list[Any] = []
    mark_run = restored._mark_run

    def vanish_after_two(*given: Any) -> None:
        if len(marked) == 2:
            raise Vanished
        marked.append(given)
        mark_run(*given)

    with monkeypatch.context() as patched:
        patched.setattr(restored, "_mark_run", vanish_after_two)
        with pytest.raises(Vanished):
            restored.look()
    assert restorations.unmarked() is not None
    carry_everything()

    assert Event.objects.filter(type="run_restored").count() == len(back.runs)
    assert Restoration.objects.get().marked_at is not None


def test_a_person_marks_it_where_the_second_place_knows_nothing(
    back: Scene, ledger: Process, second_place: Path, tmp_path: Path
):
    """It was lost with the server."""
    second_place.rename(tmp_path / "lost")
    before = effects_made(ledger, back)
    out = StringIO()

    call_command("mark_restored", stdout=out)
    assert "say --anyway" in out.getvalue()
    call_command("mark_restored", "--anyway", stdout=out)

    assert "Of 7 open runs 3 calls wait" in out.getvalue()
    carry_everything()
    assert effects_made(ledger, back) - before == {"reading": 1}
    assert Restoration.objects.get().found_by == "command:mark_restored"


def rows_of_everything() -> list[Any]:
    return [
        sorted(ToolCall.objects.values_list("pk", "status", "request")),
        sorted(Dispatch.objects.values_list("pk", "status", "fence")),
        sorted(Run.objects.values_list("pk", "restored_at")),
        sorted(Restoration.objects.values_list("pk", "marked_at")),
        roster.database_epoch(),
    ]


# -- those from before -------------------------------------------------------------------------------------------
def test_a_worker_from_before_cannot_write(now: Scene, past: Past):
    """It holds a lease of a past that is gone, under a fence that the restored rows would come to again."""
    lease = leases.claim(now.queued.dispatches.get().pk)
    assert lease is not None
    say(PLATFORM, 1)
    checkpoint()
    past.backup.restore()
    restored.forget()
    carry_everything()

    with pytest.raises(LostLease), events.recording():
        leases.hold(lease)
    assert Dispatch.objects.get(pk=lease.dispatch_id).fence > lease.fence + 1000


def test_an_id_from_before_is_given_to_nobody_else(back: Scene):
    """What a worker brings late names its attempt by number: it must not land on another call's."""
    last = Attempt.objects.latest("pk").pk
    carry_everything()
    cast.decide(request_of(back.asking), back.bob)
    carry_everything()

    assert Attempt.objects.latest("pk").pk > last + 1000


def test_every_process_reads_the_roster_anew(now: Scene, past: Past):
    cast.agent("newcomer")
    remembered = roster.load()
    checkpoint()
    past.backup.restore()
    restored.forget()

    assert roster.database_epoch() < remembered.epoch
    restored.look()

    assert roster.database_epoch() > remembered.epoch
    assert "newcomer" not in roster.current(min_epoch=roster.database_epoch()).entries


# -- the record --------------------------------------------------------------------------------------------------
def test_the_verifier_names_it_as_a_declared_restore(back: Scene):
    lost = place.copy()
    assert lost is not None
    carry_everything()

    report = verified(outside=True)

    restored_to = Restoration.objects.get()
    (declared,) = report.declared
    assert report.faults == []
    assert declared.name == f"restore:{lost.number + 1}"
    assert f"after checkpoint {restored_to.database_number} up to {lost.number} is of a past it lost" in declared.what
    assert (report.exit_code(), report.exit_code(known=[declared.name])) == (3, 0)
    signed = verify.checkpoints()
    assert (signed.faults, len(signed.restores)) == ([], 1)
    assert [fault for _, fault in verify.all_chains(signed.listed) if fault] == []


def test_before_it_is_marked_the_verifier_takes_it_for_a_log_cut_off(back: Scene):
    faults = verified(outside=True).faults

    assert faults
    assert "mark_restored" in faults[0].what


def test_the_platforms_own_record_tells_of_it(back: Scene):
    carry_everything()

    (found,) = Event.objects.filter(chain=PLATFORM, type="restore_found")
    (told,) = Event.objects.filter(chain=PLATFORM, type="database_restored")
    said = events.canonical.loads(told.data)
    assert found.seq < told.seq
    assert (said["runs"], said["uncertain"], said["asked_again"]) == (7, 3, 1)
    assert said["lost_to"] > said["checkpoint"]


def test_numbers_go_on_behind_those_the_second_place_has_seen(back: Scene):
    lost = place.copy()
    assert lost is not None
    carry_everything()

    assert Checkpoint.objects.latest("number").number == lost.number + 1
    assert place.copy() is None


def test_a_second_restore_of_the_same_backup_is_found_too(back: Scene, past: Past, ledger: Process):
    before = effects_made(ledger, back)
    carry_everything()
    say(PLATFORM, 1)
    checkpoint()
    past.backup.restore()
    restored.forget()

    carry_everything()

    assert Restoration.objects.count() == 1, "the first is of the past that was lost again"
    report = verified(outside=True)
    assert report.faults == []
    assert len(report.declared) == 2
    assert effects_made(ledger, back) - before == {"reading": 2}


@pytest.mark.crash
def test_a_real_worker_started_on_a_restored_backup(back: Scene, ledger: Process, stack: Stack, second_place: Path):
    before = effects_made(ledger, back)

    stack.start_worker({"BATON_CHECKPOINT_DIR": str(second_place), "BATON_RECONCILE_SECONDS": "0.5"})
    eventually(lambda: Run.objects.get(pk=back.reading.pk).status == states.SUCCEEDED)
    eventually(lambda: only_call_status(back.queued) == states.AWAITING_APPROVAL)

    assert Restoration.objects.get().marked_at is not None
    assert effects_made(ledger, back) - before == {"reading": 1}


def only_call_status(run: Run) -> str:
    return ToolCall.objects.filter(dispatch__run=run).values_list("status", flat=True).first() or ""
