"""The second place: it grows behind the database, survives crashes and crowds, and tells when the database is older."""

import json
from concurrent.futures import ThreadPoolExecutor
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connections

from orchestrator_site.core import checkpoints
from orchestrator_site.core import second_place as place
from orchestrator_site.core.events import PLATFORM
from orchestrator_site.core.models import Checkpoint
from runs import auditing
from tests.api.cast import tamper
from tests.audit.cast import new_chain, say, verified

pytestmark = pytest.mark.django_db


def lines(place: Path) -> list[dict[str, Any]]:
    return [
        json.loads(line) for path in sorted(place.rglob("*.jsonl")) for line in path.read_text().split("\n") if line
    ]


def numbers(place: Path) -> list[int]:
    return [line["number"] for line in lines(place)]


def make(count: int = 1) -> None:
    for _ in range(count):
        say(PLATFORM, 1)
        call_command("checkpoint", stdout=StringIO())


def test_a_line_for_each_checkpoint_as_the_database_has_it(second_place: Path):
    make(3)

    assert numbers(second_place) == [1, 2, 3]
    newest = Checkpoint.objects.get(number=3)
    assert (lines(second_place)[2]["body"], lines(second_place)[2]["signature"]) == (newest.body, newest.signature)
    (file,) = second_place.rglob("*.jsonl")
    assert file.name == f"{newest.at:%Y-%m-%d}.jsonl"
    assert file.parent.name == str(newest.log)
    assert file.stat().st_mode & 0o077 == 0


def test_what_was_made_while_it_was_away_is_copied_later(second_place: Path, tmp_path: Path):
    make(2)
    away = second_place.rename(tmp_path / "away")
    second_place.touch()  # in the place of the folder
    for _ in range(3):
        say(PLATFORM, 1)
        with pytest.raises(CommandError, match="cannot be written"):
            call_command("checkpoint", stdout=StringIO())
    second_place.unlink()
    away.rename(second_place)
    auditing.keep_up()

    assert numbers(second_place) == [1, 2, 3, 4, 5]


def test_a_new_one_begins_with_the_newest(second_place: Path, tmp_path: Path):
    """An old checkpoint copied late would prove nothing."""
    make(3)
    second_place.rename(tmp_path / "lost")
    make(2)

    assert numbers(second_place) == [3, 4, 5]
    assert verified(outside=True).faults == []


def test_a_line_that_a_crash_cut_off_is_written_again(second_place: Path):
    make(3)
    (file,) = second_place.rglob("*.jsonl")
    whole = file.read_text()
    file.write_text(whole[:-40])
    auditing.keep_up()

    kept = [line for line in file.read_text().split("\n") if line]
    assert len(kept) == 4
    assert json.loads(kept[3])["number"] == 3
    with pytest.raises(ValueError):
        json.loads(kept[2])
    assert verified(outside=True).faults == []


@pytest.mark.django_db(transaction=True)
def test_many_that_copy_at_once_write_each_once(second_place: Path):
    make()
    for _ in range(10):
        say(new_chain(), 1)
        checkpoints.make()

    def copy(_: int) -> None:
        try:
            place.copy()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(copy, range(8)))

    assert numbers(second_place) == list(range(1, 12))


def test_a_long_line_is_found_from_the_end(second_place: Path):
    for _ in range(1200):
        say(new_chain(), 1)
    call_command("checkpoint", stdout=StringIO())
    make()

    assert len(lines(second_place)[0]["entries"]) == 1200
    assert second_place_newest() == 2


def second_place_newest() -> int:
    log = Checkpoint.objects.latest("number").log
    known = place._newest(log)
    assert known is not None
    return known.number


def test_a_database_that_lacks_the_newest_is_older(second_place: Path):
    make(3)
    tamper("DELETE FROM core_checkpoint WHERE number > 1")

    known = place.copy()

    assert known is not None
    assert known.number == 3
    with pytest.raises(CommandError, match="mark_restored"):
        call_command("checkpoint", stdout=StringIO())


def test_a_line_that_nobody_signed_is_not_believed(second_place: Path):
    """Whoever can write there could have all work in flight called into doubt."""
    make(2)
    (file,) = second_place.rglob("*.jsonl")
    last = lines(second_place)[-1]
    forged = last | {"number": 99, "body": last["body"].replace('"number":2', '"number":99')}
    with file.open("a") as place_of_ours:
        place_of_ours.write(json.dumps(forged) + "\n")
    known = place.copy()
    make()

    assert known is None
    assert numbers(second_place) == [1, 2, 99, 3]
    assert [(fault.chain, fault.seq) for fault in verified(outside=True).faults] == [("checkpoints", 99)]


def test_a_new_server_whose_clock_is_behind_goes_on_in_the_newest_file(second_place: Path):
    make(2)
    (file,) = second_place.rglob("*.jsonl")
    file.rename(file.with_name("2999-01-01.jsonl"))
    make(2)
    for _ in range(3):
        assert place.copy() is None

    assert [path.name for path in second_place.rglob("*.jsonl")] == ["2999-01-01.jsonl"]
    assert numbers(second_place) == [1, 2, 3, 4]


def test_checkpoints_are_made_also_while_it_cannot_be_written(second_place: Path, caplog: pytest.LogCaptureFixture):
    second_place.touch()  # in the place of the folder
    say(PLATFORM, 1)
    for _ in range(3):
        auditing.keep_up()

    assert Checkpoint.objects.count() == 1
    told = [record for record in caplog.records if "second place" in record.getMessage()]
    assert len(told) == 1


def test_a_database_with_another_past_is_told_too(second_place: Path):
    """It was restored, and went on where nobody looked at this place."""
    make(3)
    tamper("DELETE FROM core_checkpoint WHERE number > 1")
    away = second_place.rename(second_place.with_name("away"))
    make(4)
    for path in second_place.rglob("*"):
        if path.is_file():
            path.unlink()
    (folder,) = second_place.iterdir()
    folder.rmdir()
    second_place.rmdir()
    away.rename(second_place)

    known = place.copy()

    assert known is not None
    assert known.number == 3
    assert Checkpoint.objects.latest("number").number == 5


def test_without_a_key_the_work_goes_on_and_it_is_told_once(settings: Any, caplog: pytest.LogCaptureFixture):
    settings.BATON_CHECKPOINT_KEY_FILE = "/no/such/key"
    say(PLATFORM, 1)
    for _ in range(3):
        auditing.keep_up()

    told = [record.getMessage() for record in caplog.records if "checkpoints fall behind" in record.getMessage()]
    assert len(told) == 1
    assert "/no/such/key is not there" in told[0]
    assert not Checkpoint.objects.exists()
