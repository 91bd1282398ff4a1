"""Whole months of the log leave the database; the audit stays whole, and what leaves undeclared is found."""

import datetime as dt
import json
from io import StringIO
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.db.utils import Error as DatabaseError
from django.urls import reverse

from benchmarks.multiply import Spread, multiply
from orchestrator_site.core import checkpoints, drops, events, partitions, signing, verify
from orchestrator_site.core.events import PLATFORM
from orchestrator_site.core.ids import new_id
from orchestrator_site.core.models import ChainHead, Event, Observation
from orchestrator_site.core.partitions import Month
from orchestrator_site.offline import verify_export
from runs import cancellation, retention
from runs.models import Run, Step
from runs.retention import NotDroppable
from tests.api import cast as api_cast
from tests.audit.cast import checkpoint, say, verified
from tests.runs.cast import agent, call, carry_all, script, start, text, tool
from tools.values import Effect, Risk

pytestmark = pytest.mark.django_db(transaction=True)

SEPTEMBER, OCTOBER = Month(2025, 9), Month(2025, 10)
COPIES = 5


@pytest.fixture(autouse=True)
def _second_place(tmp_path, settings):
    settings.BATON_CHECKPOINT_DIR = tmp_path / "checkpoints"


@pytest.fixture(autouse=True)
def _months_go():
    """Partitions are made by these tests; the next ones begin without them."""
    yield
    with connection.cursor() as cursor:
        for month in (SEPTEMBER, OCTOBER):
            cursor.execute(f"DROP TABLE IF EXISTS {month.partition}")


def make(month: Month) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT baton_make_event_partition(%s)", [month.begins_at.date()])


def copies(run: Run, month: Month, times: int = COPIES) -> list[Run]:
    before = set(Run.objects.values_list("pk", flat=True))
    multiply(run.pk, times, Spread(f"timestamptz '{month.begins_at.isoformat()}' + n * interval '1 day'"))
    return list(Run.objects.exclude(pk__in=before).order_by("pk"))


def rows_of(month: Month) -> int:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {month.partition}")
        return cursor.fetchone()[0]


@pytest.fixture
def ended(model, ann) -> Run:
    tool("echo", "tests.echo")
    agent("worker", "echo")
    return carry_all(start(ann, script(call(("echo", {"n": 1})), text("Hello."))))


@pytest.fixture
def past(ended) -> list[Run]:
    """Runs of September and of October, every row of them signed."""
    for month in (SEPTEMBER, OCTOBER):
        make(month)
    found = [*copies(ended, SEPTEMBER), *copies(ended, OCTOBER)]
    ChainHead.objects.update(moved=True)
    checkpoint()
    return found


def tamper(sql: str, *values: Any) -> None:
    with transaction.atomic():
        api_cast.tamper(sql, *values)


def kept(archive: Path) -> list[dict[str, Any]]:
    return [dict(record) for record in verify_export.read_lines(archive)]


def audit() -> str:
    out = StringIO()
    call_command("verify_audit", stdout=out)
    return out.getvalue()


def drop_history(*arguments: str) -> str:
    out = StringIO()
    call_command("drop_history", *arguments, stdout=out)
    return out.getvalue()


# -- partitions --------------------------------------------------------------------------------------------------
class TestPartitions:
    def test_a_months_runs_lie_in_its_partition(self, past):
        rows = Event.objects.filter(chain=events.run_chain(past[0].pk)).count()

        assert (rows_of(SEPTEMBER), rows_of(OCTOBER)) == (COPIES * rows, COPIES * rows)

    def test_the_platforms_chain_lies_apart(self, db):
        say(PLATFORM, 3)

        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM core_event_platform")
            assert cursor.fetchone()[0] == Event.objects.filter(chain=PLATFORM).count() >= 3

    def test_what_fits_no_month_is_caught(self, db):
        say("run:0d5a7ac9-9f4c-4b0e-8f4e-3f1f7d0c2a11", 2)

        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM core_event_others")
            assert cursor.fetchone()[0] == 2

    def test_what_was_caught_moves_to_its_month_when_that_is_made(self, ended):
        run = copies(ended, SEPTEMBER, 1)[0]

        make(SEPTEMBER)

        assert rows_of(SEPTEMBER) == Event.objects.filter(chain=events.run_chain(run.pk)).count() > 0
        assert verify.chain(events.run_chain(run.pk)) is None

    def test_this_month_and_three_ahead_are_there(self, db):
        assert partitions.make_ahead() == []
        now = Month.of(dt.datetime.now(dt.UTC))
        wanted = [now]
        for _ in range(3):
            wanted.append(wanted[-1].following)

        assert set(wanted) <= set(partitions.months())

    def test_a_missing_month_is_made_by_the_sweep(self, db):
        ahead = partitions.months()[-1]
        with connection.cursor() as cursor:
            cursor.execute(f"DROP TABLE {ahead.partition}")

        assert partitions.make_ahead() == [ahead]
        assert ahead in partitions.months()

    @pytest.mark.parametrize("table", [SEPTEMBER.partition, "core_event_platform", "core_event_others", "core_event"])
    @pytest.mark.parametrize("sql", ["UPDATE {} SET actor = 'x'", "DELETE FROM {}", "TRUNCATE {} CASCADE"])
    def test_no_partition_takes_a_change(self, db, table, sql):
        make(SEPTEMBER)

        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(sql.format(table))

    @pytest.mark.parametrize("month", [SEPTEMBER, Month(2025, 12), Month(2026, 1)])
    def test_chains_are_sorted_by_time(self, month):
        """The edges of a month: its first and last millisecond, and those beside them."""
        first, beyond = (round(each.timestamp() * 1000) for each in (month.begins_at, month.ends_at))

        def chain(milliseconds: int) -> str:
            return events.run_chain(UUID(int=milliseconds << 80 | 7 << 76 | 2 << 62))

        inside = [month.first_chain <= chain(ms) < month.following.first_chain for ms in (first, beyond - 1)]
        outside = [month.first_chain <= chain(ms) < month.following.first_chain for ms in (first - 1, beyond)]
        assert (inside, outside) == ([True, True], [False, False])


# -- the drop ----------------------------------------------------------------------------------------------------
class TestDrop:
    def test_a_month_goes_and_the_audit_is_whole(self, past, tmp_path):
        told = drop_history("--before", "2025-10-01", "--archive", str(tmp_path / "kept"))

        assert f"{COPIES} chains" in told
        assert SEPTEMBER not in partitions.months()
        assert OCTOBER in partitions.months()
        assert not ChainHead.objects.filter(chain__in=[events.run_chain(run.pk) for run in past[:COPIES]]).exists()
        assert "0 faults" in audit()

    def test_what_it_declares(self, past, tmp_path):
        ends = ChainHead.objects.filter(chain__in=[events.run_chain(run.pk) for run in past[:COPIES]])
        wanted = drops.digest(ends.values_list("chain", "seq", "hash"))

        retention.drop(SEPTEMBER, tmp_path)

        assert json.loads(Event.objects.get(chain=PLATFORM, type="history_dropped").data) == {
            "partition": "core_event_2025_09",
            "before": "2025-10-01T00:00:00+00:00",
            "chains": COPIES,
            "digest": wanted,
            "archive": "core_event_2025_09.jsonl",
        }

    def test_the_offline_verifier_accounts_for_it_by_the_archive(self, past, tmp_path):
        retention.drop(SEPTEMBER, tmp_path)

        report = verified(outside=True, archives=[kept(tmp_path / "core_event_2025_09.jsonl")])

        assert (report.faults, report.declared, report.exit_code()) == ([], [], 0)

    def test_without_an_archive_it_is_declared_and_not_proved(self, past):
        retention.drop(SEPTEMBER, None)

        report = verified()

        assert (report.faults, report.exit_code()) == ([], 3)
        assert report.exit_code(known=["drop:core_event_2025_09"]) == 0

    def test_month_after_month(self, past, tmp_path):
        for before in ("2025-10-01", "2025-11-01"):
            drop_history("--before", before, "--archive", str(tmp_path))

        archives = [kept(path) for path in sorted(tmp_path.glob("*.jsonl"))]
        assert len(archives) == 2
        assert verified(archives=archives).exit_code() == 0
        assert "0 faults" in audit()

    def test_both_at_once_go_the_oldest_first(self, past, tmp_path):
        drop_history("--before", "2025-11-15", "--archive", str(tmp_path))

        assert [drop.partition for drop in drops.declared()] == [SEPTEMBER.partition, OCTOBER.partition]
        assert "0 faults" in audit()

    def test_the_runs_stay_with_all_they_did(self, past, tmp_path):
        steps = Step.objects.count()

        retention.drop(SEPTEMBER, tmp_path)

        assert Run.objects.filter(pk__in=[run.pk for run in past]).count() == 2 * COPIES
        assert Step.objects.count() == steps

    def test_a_dry_run_only_tells(self, past):
        assert "2025-09" in drop_history("--before", "2025-10-01", "--dry-run")
        assert SEPTEMBER in partitions.months()

    def test_a_month_that_has_not_ended_stays(self, past):
        assert "No month" in drop_history("--before", "2025-09-30")

    def test_nothing_later_is_dropped_than_today(self, past):
        now = Month.of(dt.datetime.now(dt.UTC))

        assert all(month < now for month in retention.droppable(dt.date(2999, 1, 1)))

    def test_a_day_that_is_none(self, db):
        with pytest.raises(CommandError, match="--before"):
            drop_history("--before", "yesterday")

    def test_whoever_appends_meanwhile_is_not_lost(self, past, ended, tmp_path):
        """Appending to other chains goes on around it, and the number of events says so."""
        say(events.run_chain(ended.pk), 1)
        retention.drop(SEPTEMBER, tmp_path)
        say(events.run_chain(ended.pk), 1)

        assert verify.chain(events.run_chain(ended.pk)) is None


class TestRefused:
    def test_a_run_that_has_not_ended(self, model, ann, bob, ended):
        tool("pay", "tests.echo", Effect.UNSAFE, Risk.HIGH)
        agent("payer", "pay")
        make(SEPTEMBER)
        waits = carry_all(start(ann, script(call(("pay", {})), text("Paid.")), agent="payer"))
        (open_one,) = copies(waits, SEPTEMBER, 1)
        checkpoint()

        with pytest.raises(NotDroppable, match=str(open_one.pk)):
            retention.drop(SEPTEMBER, None)

        cancellation.cancel(open_one.pk, bob)
        assert retention.drop(SEPTEMBER, None).chains == 1

    def test_a_call_in_doubt(self, past):
        with connection.cursor() as cursor:
            cursor.execute(
                """UPDATE runs_toolcall SET status = 'uncertain' WHERE dispatch_id IN
                   (SELECT id FROM runs_dispatch WHERE run_id = %s)""",
                [past[0].pk],
            )

        with pytest.raises(NotDroppable, match="what became of these calls"):
            retention.drop(SEPTEMBER, None)

    def test_an_observer_that_was_not_told(self, past):
        event = Event.objects.filter(chain=events.run_chain(past[0].pk)).latest("seq")
        owed = Observation.objects.create(event=event, observer="mail", due_at=event.at)
        with pytest.raises(NotDroppable, match="mail"):
            retention.drop(SEPTEMBER, None)

        Observation.objects.filter(pk=owed.pk).update(given_up=True)
        retention.drop(SEPTEMBER, None)

        assert not Observation.objects.exists()

    def test_a_chain_that_does_not_verify(self, past):
        """Dropped, it would look as if it had been whole."""
        tamper("UPDATE core_event SET actor = 'user:eve' WHERE chain = %s AND seq = 2", events.run_chain(past[1].pk))

        with pytest.raises(NotDroppable, match="edited"):
            retention.drop(SEPTEMBER, None)
        assert SEPTEMBER in partitions.months()

    def test_a_chain_whose_end_was_cut_off_with_its_head(self, past):
        chain = events.run_chain(past[1].pk)
        last = Event.objects.filter(chain=chain).latest("seq")
        tamper("DELETE FROM core_event WHERE chain = %s AND seq = %s", chain, last.seq)
        tamper(
            "UPDATE core_chainhead SET seq = %s, hash = %s WHERE chain = %s", last.seq - 1, last.previous_hash, chain
        )

        with pytest.raises(NotDroppable, match="cut off"):
            retention.drop(SEPTEMBER, None)

    def test_without_the_key_that_signs(self, past, monkeypatch):
        def unusable():
            raise signing.KeyUnusable("There is no key.")

        monkeypatch.setattr(checkpoints, "make", unusable)

        with pytest.raises(CommandError, match="There is no key"):
            drop_history("--before", "2025-10-01")

    def test_an_archive_that_cannot_be_written(self, past, tmp_path):
        (tmp_path / "file").write_text("")

        with pytest.raises(CommandError, match="--archive"):
            drop_history("--before", "2025-10-01", "--archive", str(tmp_path / "file" / "folder"))
        assert SEPTEMBER in partitions.months()

    def test_rows_that_came_between_the_archive_and_the_drop(self, past, tmp_path, monkeypatch):
        archive = retention._archive

        def meanwhile(month: Month, folder: Path) -> Path:
            path = archive(month, folder)
            say(events.run_chain(past[0].pk), 1)
            return path

        monkeypatch.setattr(retention, "_archive", meanwhile)

        with pytest.raises(NotDroppable, match="appended meanwhile"):
            retention.drop(SEPTEMBER, tmp_path)
        assert "0 faults" in audit()


class TestUndeclared:
    """Controls: what leaves in any other way is found."""

    def faults(self) -> set[str]:
        with pytest.raises(CommandError):
            audit()
        return {fault.chain for fault in verified().faults}

    def test_a_partition_that_was_simply_dropped(self, past):
        tamper(f"DROP TABLE {SEPTEMBER.partition}")

        assert self.faults() == {events.run_chain(run.pk) for run in past[:COPIES]}

    def test_one_dropped_with_its_heads(self, past):
        tamper(f"DROP TABLE {SEPTEMBER.partition}")
        tamper("DELETE FROM core_chainhead WHERE chain < %s AND chain LIKE 'run:%%'", OCTOBER.first_chain)

        assert self.faults() == {events.run_chain(run.pk) for run in past[:COPIES]}

    def test_a_chain_that_was_taken_out_before_a_declared_drop(self, past, tmp_path):
        """The drop declares one chain less than checkpoints know of the month."""
        hidden = events.run_chain(past[2].pk)
        tamper("DELETE FROM core_event WHERE chain = %s", hidden)
        tamper("DELETE FROM core_chainhead WHERE chain = %s", hidden)
        retention.drop(SEPTEMBER, tmp_path)

        assert hidden in self.faults()

    def test_a_declaration_with_another_digest(self, past):
        retention.drop(SEPTEMBER, None)
        row = Event.objects.get(type="history_dropped")
        tamper("UPDATE core_event SET data = replace(data, %s, %s) WHERE id = %s", "2025_09", "2025_08", row.pk)

        assert PLATFORM in self.faults()


# -- afterwards --------------------------------------------------------------------------------------------------
class TestAfterwards:
    @pytest.fixture
    def gone(self, past, tmp_path) -> Run:
        retention.drop(SEPTEMBER, tmp_path)
        return past[0]

    def test_its_page_says_so(self, gone, client):
        client.force_login(gone.owner)

        html = client.get(reverse("runs:page", args=[gone.pk])).content.decode()

        assert "core_event_2025_09" in html
        assert "core_event_2025_09.jsonl" in html

    def test_the_api_says_so(self, gone, client):
        client.force_login(gone.owner)

        answer = client.get(f"/api/v1/runs/{gone.pk}/events/")

        assert answer.status_code == 410
        assert answer.json()["archive"] == "core_event_2025_09.jsonl"
        assert client.get(f"/api/v1/runs/{gone.pk}/").status_code == 200

    def test_verify_audit_says_so(self, gone):
        with pytest.raises(CommandError, match="core_event_2025_09"):
            call_command("verify_audit", str(gone.pk), stdout=StringIO())

    def test_a_run_that_never_was_is_not_said_to_be_dropped(self, gone):
        assert drops.of_chain(events.run_chain(new_id())) is None
