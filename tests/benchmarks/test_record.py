"""What was measured is kept case by case; and the arithmetic of docs/scaling.md."""

from pathlib import Path

import pytest

from benchmarks import record, scaling
from benchmarks.record import Measured
from benchmarks.report import Section, Target
from benchmarks.scaling import Inputs

INPUTS = Inputs(
    app_ms=6,
    postgres_ms=3,
    redis_ms=0.1,
    wal_bytes=5000,
    image_bytes=1000,
    commits=2,
    kept_bytes=4000,
    event_bytes=2000,
    events=4,
    fsync_ms=2,
    commits_by_64=20_000,
    connections=11,
)


@pytest.fixture(autouse=True)
def _own_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "FIGURES", tmp_path / "figures.json")
    monkeypatch.setattr(record, "README", tmp_path / "README.md")
    record.README.write_text(f"Before.\n{record.BEGIN}\nold figures\n{record.END}\nAfter.\n")


def measured(commit: str, is_met: bool = True) -> Measured:
    section = Section("Table", ("name", "ms"), [("a line", "7")], targets=[Target("quick", "≤ 8 ms", "7 ms", is_met)])
    return Measured(commit, "make bench", "a machine", [section])


def test_a_case_measured_again_replaces_its_own_figures_alone() -> None:
    record.keep({"one": measured("aaa"), "two": measured("bbb")}, ["one", "two", "three"])
    record.keep({"two": measured("ccc", is_met=False)}, ["one", "two", "three"])

    told = record.README.read_text()
    assert told.startswith("Before.\n")
    assert told.endswith("After.\n")
    assert "old figures" not in told
    assert ("aaa" in told, "bbb" in told, "ccc" in told) == (True, False, True)
    assert "| one | quick | ≤ 8 ms | 7 ms | met |" in told
    assert "| two | quick | ≤ 8 ms | 7 ms | **not met** |" in told
    assert "Not measured yet: `three`" in told


def test_a_file_without_its_marks_is_left_alone() -> None:
    record.README.write_text("No marks.\n")

    with pytest.raises(SystemExit, match="marks"):
        record.keep({"one": measured("aaa")}, ["one"])
    assert record.README.read_text() == "No marks.\n"


def test_the_arithmetic() -> None:
    needs = {name: columns for name, *columns in scaling.reckoned(INPUTS, [1000, 10_000])}

    assert needs["calls in flight"] == ["5,000", "50,000"]
    assert needs["cores for workers"] == ["10.0", "100.0"]
    assert needs["worker processes (by cores, or by threads)"] == ["50", "500"]
    assert needs["connections they open"] == ["550", "5,500"]
    assert needs["cores for PostgreSQL"] == ["5.0", "50.0"]
    assert needs["commits a second"] == ["2,000", "20,000"]
    assert needs["to what one connection could flush"] == ["4.0 ×", "40.0 ×"]
    assert needs["to what 64 connections commit here"] == ["0.10 ×", "1.00 ×"]
    assert needs["WAL, MB/s"] == ["5.0", "50.0"]
    assert needs["kept a day, GB"] == ["346", "3,456"]
    assert needs["events a day, million"] == ["346", "3,456"]


def test_the_page_has_its_marks() -> None:
    page = scaling.PAGE.read_text()

    assert scaling.BEGIN in page
    assert scaling.END in page


def test_what_the_page_reckons_with_is_what_the_case_measures() -> None:
    assert {*scaling.MEASURED} | {*scaling.ASSUMED} == {*Inputs.__dataclass_fields__}
