"""The offline verifier: a program by itself, what it makes of good and bad input, and that it hashes as was written."""

import ast
import datetime as dt
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.core.management import CommandError, call_command
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_site.core import audit_export, canonical, events, merkle, signing
from orchestrator_site.core.clock import database_now
from orchestrator_site.core.events import link_hash
from orchestrator_site.core.models import ChainHead, Event
from orchestrator_site.offline import verify_export
from tests.api import cast as api_cast
from tests.api.cast import tamper
from tests.audit.cast import Log, checkpoint, new_chain, say, verified

pytestmark = pytest.mark.django_db

SCRIPT = Path(verify_export.__file__)


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "public.pem"
    with path.open("w") as file:
        call_command("checkpoint_key", stdout=file)
    return path


@pytest.fixture
def exported(log: Log, tmp_path: Path) -> Path:
    path = tmp_path / "export.jsonl"
    call_command("export_audit", str(path), verbosity=0)
    return path


def run(*arguments: Any) -> tuple[int, str]:
    """As somebody would who has this file and Python: not from our folder, and without our paths."""
    done = subprocess.run(
        [sys.executable, "-I", str(SCRIPT), *map(str, arguments)],
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


# -- by itself ---------------------------------------------------------------------------------------------------
def test_it_shares_no_code_with_the_platform():
    tree = ast.parse(SCRIPT.read_text())
    imported = {
        name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in ([node.module or "."] if isinstance(node, ast.ImportFrom) else [each.name for each in node.names])
    }

    assert imported - set(sys.stdlib_module_names) == {"cryptography"}


@given(st.lists(st.text() | st.integers(-(2**53) + 1, 2**53 - 1)))
def test_its_canonical_json_is_the_platforms(values: list[Any]):
    try:
        ours = canonical.dumps(values).encode()
    except canonical.NotCanonical:
        return
    assert verify_export.canonical(values) == ours


_AT = dt.datetime(2026, 11, 21, 10, 30, 0, 123457, tzinfo=dt.UTC)


@given(st.text(), st.text(), st.text(), st.dictionaries(st.text(), st.text() | st.floats(allow_nan=False)))
def test_its_hash_of_a_row_is_the_platforms(type: str, actor: str, previous: str, data: dict[str, Any]):
    try:
        text = canonical.dumps(data)
        ours = link_hash(previous, "platform", 7, type, actor, _AT, text)
    except canonical.NotCanonical:
        return
    row = {"previous": previous, "chain": "platform", "seq": 7, "type": type, "actor": actor, "data": text}
    assert verify_export.row_hash(row | {"at": str(round(_AT.timestamp() * 1_000_000))}) == ours


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 5, 7, 8, 9, 31, 64, 65])
def test_its_tree_is_the_platforms(size: int):
    entries = [(f"run:{number:03}", number, "ab" * 32) for number in range(size)]
    root = merkle.root(entries)

    assert verify_export.merkle_root(entries) == root
    for index, entry in enumerate(entries):
        path = merkle.path(entries, index)
        assert verify_export.climbed(entry, path) == root
        assert verify_export.climbed((entry[0], entry[1] + 1, entry[2]), path) != root


# -- what it says ------------------------------------------------------------------------------------------------
def test_a_whole_log(exported: Path, key: Path, second_place: Path, log: Log):
    code, told = run(exported, "--key", key, "--outside", second_place)

    assert (code, "No fault found." in told) == (0, True), told
    assert f"{sum(log.rows.values())} rows in 8 chains read, {sum(log.covered.values())} covered" in told


def test_an_edited_row_is_named(log: Log, key: Path, tmp_path: Path):
    tamper("UPDATE core_event SET actor = 'user:eve' WHERE chain = %s AND seq = 2", log.chains[3])
    call_command("export_audit", str(tmp_path / "export.jsonl"), verbosity=0)

    code, told = run(tmp_path / "export.jsonl", "--key", key)

    assert code == 1
    assert told.startswith(f"FAULT {log.chains[3]} #2: its content is not what was hashed: edited\n")


def test_one_run_with_its_proof(log: Log, key: Path, tmp_path: Path):
    """The other runs of its checkpoint stay unnamed."""
    chain, path = log.chains[2], tmp_path / "run.jsonl"
    call_command("export_audit", str(path), run=chain.removeprefix("run:"), verbosity=0)

    code, told = run(path, "--key", key)

    assert code == 0, told
    assert f"{log.rows[chain]} rows in 1 chains read, {log.covered[chain]} covered by a checkpoint" in told
    assert not [other for other in log.chains[1:] if other != chain and other in path.read_text()]


@pytest.mark.parametrize("crime", ["edit", "restamp", "truncate"])
def test_one_run_that_was_changed(crime: str, log: Log):
    from tests.audit import test_attacks

    chain, covered = log.chains[5], log.covered[log.chains[5]]
    only = type("Only", (), {"covered": {chain: covered}, "rows": {chain: log.rows[chain]}})()
    attack = getattr(test_attacks, crime)

    for seed in range(20):
        _, report = test_attacks.after(attack, only, seed, lambda: verified(audit_export.of_chain(chain)))
        assert [fault.chain for fault in report.faults] == [chain]


def test_what_the_api_answers_for_a_run(key: Path, tmp_path: Path):
    scene = api_cast.Scene()
    checkpoint()
    answer = api_cast.caller(scene.shop).get(f"/runs/{scene.run.pk}/audit/")
    (tmp_path / "answer.json").write_bytes(answer.content)

    code, told = run(tmp_path / "answer.json", "--key", key)

    assert answer.json()["covered"] == answer.json()["rows"] == Event.objects.filter(run_id=scene.run.pk).count()
    assert answer.json()["checkpoint"] == 1
    assert code == 0, told
    assert "No fault found." in told


def test_another_ones_key_is_not_believed(exported: Path, tmp_path: Path):
    pem = signing.public_pem(Ed25519PrivateKey.generate().public_key())
    (tmp_path / "other.pem").write_text(pem)

    code, told = run(exported, "--key", tmp_path / "other.pem")

    assert code == 1
    assert "none of those you trust" in told


def test_a_key_that_was_changed_for_another(log: Log, settings: Any, tmp_path: Path, key: Path):
    signing.made(tmp_path / "new.pem")
    settings.BATON_CHECKPOINT_KEY_FILE = str(tmp_path / "new.pem")
    say(log.chains[1], 1)
    checkpoint()
    (tmp_path / "new-public.pem").write_text(signing.public_pem(signing.private_key().public_key()))
    call_command("export_audit", str(tmp_path / "export.jsonl"), verbosity=0)

    both = run(tmp_path / "export.jsonl", "--key", key, "--key", tmp_path / "new-public.pem")
    one = run(tmp_path / "export.jsonl", "--key", key)

    assert (both[0], one[0]) == (0, 1)
    assert "#5" in one[1]


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda text: "", "does not begin as an audit export"),
        (lambda text: "\n".join(text.split("\n")[:-3]), "the file was cut off"),
        (lambda text: "\n".join(text.split("\n")[:2]), "the file was cut off"),
        (lambda text: text + "{", "is no JSON"),
        (lambda text: text + '{"kind":"poem"}', "unknown kind"),
        (lambda text: text + "[]", "is no record"),
        (lambda text: text.replace('"version":1', '"version":2', 1), "does not begin as an audit export of a version"),
        (lambda text: text.replace('"previous"', '"p"'), "not the shape"),
    ],
)
def test_what_is_no_whole_export_cannot_be_read(exported: Path, key: Path, spoil: Any, told: str):
    exported.write_text(spoil(exported.read_text()))

    code, said = run(exported, "--key", key)

    assert (code, told in said) == (2, True), said


def test_what_is_no_key_cannot_be_read(exported: Path, tmp_path: Path, second_place: Path):
    for path in (exported, tmp_path / "none.pem"):
        code, said = run(exported, "--key", path)
        assert (code, "cannot be read" in said) == (2, True), said
    assert run(exported)[0] == 2
    assert run(tmp_path / "none", "--key", exported)[0] == 2


def test_what_is_no_run_is_no_export(log: Log, tmp_path: Path):
    with pytest.raises(CommandError, match="no run's id"):
        call_command("export_audit", str(tmp_path / "x"), run="nonsense")
    with pytest.raises(CommandError, match="no chain"):
        call_command("export_audit", str(tmp_path / "x"), run=new_chain().removeprefix("run:"))
    with pytest.raises(CommandError, match="cannot be written"):
        call_command("export_audit", str(tmp_path / "no" / "folder"))


def test_before_the_first_checkpoint_it_says_that_none_covers_the_log(tmp_path: Path):
    say(new_chain(), 2)

    report = verified()

    assert (report.faults, report.rows_covered, report.newest) == ([], 0, None)


def test_a_second_place_that_is_ahead_of_what_was_exported_later_is_no_fault(log: Log):
    """The export is of yesterday, the second place of today."""
    records = list(audit_export.whole())
    say(log.chains[1], 3)
    checkpoint()

    assert verified(records, outside=True).faults == []


def test_checkpoints_of_another_log_in_the_second_place_are_told(log: Log, second_place: Path):
    """As when somebody emptied the table, so that the numbers began anew."""
    tamper("DELETE FROM core_checkpoint")
    ChainHead.objects.update(moved=True)
    checkpoint()

    faults = verified(outside=True).faults

    assert len(faults) == 1
    assert "another log" in faults[0].what


# -- dropped history ---------------------------------------------------------------------------------------------
def drop(chains: list[str], partition: str = "core_event_2026_10", **changes: Any) -> list[dict[str, Any]]:
    """What retention does: an archive of whole chains, their rows gone, and an event that says which."""
    archive = list(
        audit_export.rows(ChainHead.objects.filter(chain__in=chains), Event.objects.filter(chain__in=chains))
    )
    ends = sorted(ChainHead.objects.filter(chain__in=chains).values_list("chain", "seq", "hash"))
    data: dict[str, Any] = {
        "partition": partition,
        "before": database_now().isoformat(),
        "chains": len(ends),
        "digest": canonical.digest(canonical.dumps([list(end) for end in ends])),
        "archive": f"{partition}.jsonl",
    }
    with events.recording() as log:
        log.platform("history_dropped", **data | changes)
    tamper("DELETE FROM core_event WHERE chain = ANY(%s)", chains)
    tamper("DELETE FROM core_chainhead WHERE chain = ANY(%s)", chains)
    return archive


def test_dropped_chains_are_accounted_for_by_their_archive(log: Log):
    checkpoint()
    archive = drop(log.chains[1:])
    checkpoint()

    report = verified(outside=True, archives=[archive])

    assert (report.faults, report.declared, report.exit_code()) == ([], [], 0)
    assert report.rows == sum(log.rows.values()) + 1


def test_without_its_archive_a_drop_is_declared_and_not_proved(log: Log):
    checkpoint()
    drop(log.chains[1:])
    checkpoint()

    report = verified()

    assert report.faults == []
    assert [each.name for each in report.declared] == ["drop:core_event_2026_10"]
    assert (report.exit_code(), report.exit_code(known=["drop:core_event_2026_10"])) == (3, 0)


def test_a_drop_hides_no_chain_beside_those_it_names(log: Log):
    checkpoint()
    drop(log.chains[1:5])
    tamper("DELETE FROM core_event WHERE chain = %s", log.chains[6])
    tamper("DELETE FROM core_chainhead WHERE chain = %s", log.chains[6])
    checkpoint()

    assert log.chains[6] in {fault.chain for fault in verified().faults}


def test_an_archive_that_was_edited_is_found(log: Log):
    checkpoint()
    archive = drop(log.chains[1:])
    row = next(record for record in archive if record["kind"] == "event" and record["seq"] == 2)
    row["actor"] = "user:eve"
    checkpoint()

    assert (row["chain"], 2) in {(fault.chain, fault.seq) for fault in verified(archives=[archive]).faults}


def test_two_drops_one_after_the_other(log: Log):
    checkpoint()
    first = drop(log.chains[1:], "one")
    time.sleep(0.002)  # a run's id tells its millisecond
    for _ in range(2):
        log.chains.append(new_chain())
        log.rows[log.chains[-1]] = 0
        log.say(log.chains[-1], 2)
    checkpoint()
    second = drop(log.chains[8:], "two")
    checkpoint()

    assert verified(archives=[first, second]).exit_code() == 0
    assert {each.name for each in verified(archives=[second]).declared} == {"drop:one"}
