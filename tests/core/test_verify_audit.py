"""The verifier finds what somebody with the database's own rights has done to a chain, and names the row."""

from collections.abc import Callable
from io import StringIO
from uuid import UUID

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction

from orchestrator_site.core import events, verify
from orchestrator_site.core.events import link_hash, run_chain
from orchestrator_site.core.ids import new_id
from orchestrator_site.core.models import ChainHead, Event
from tests.api.cast import tamper

pytestmark = pytest.mark.django_db


@pytest.fixture
def chain() -> str:
    """A run's chain of five events."""
    run_id = new_id()
    for number in range(5):
        with events.recording() as log:
            log.run(run_id, "test_happened", number=number)
    return run_chain(run_id)


def audit(*arguments: str) -> tuple[int, str]:
    out = StringIO()
    try:
        call_command("verify_audit", *arguments, stdout=out, no_color=True)
    except CommandError as failed:
        return failed.returncode, f"{out.getvalue()}{failed}"
    return 0, out.getvalue()


def test_an_untouched_chain_is_found_whole(chain: str):
    assert audit(chain.removeprefix("run:")) == (0, "1 chain walked up to no checkpoint, 0 faults.\n")


def _edit(chain: str) -> None:
    tamper("UPDATE core_event SET data = replace(data, '2', '7') WHERE chain = %s AND seq = 3", chain)


def _delete(chain: str) -> None:
    tamper("DELETE FROM core_event WHERE chain = %s AND seq = 3", chain)


def _insert(chain: str) -> None:
    """A row slipped in between, with a hash of its own that fits the row before it."""
    tamper("UPDATE core_event SET seq = seq + 1000 WHERE chain = %s AND seq >= 3", chain)
    tamper("UPDATE core_event SET seq = seq - 999 WHERE chain = %s AND seq >= 1000", chain)
    before = Event.objects.get(chain=chain, seq=2)
    forged = link_hash(before.hash, chain, 3, "test_happened", "system", before.at, "{}")
    tamper(
        "INSERT INTO core_event (chain, run_id, seq, type, actor, at, data, previous_hash, hash) "
        "VALUES (%s, %s, 3, 'test_happened', 'system', %s, '{}', %s, %s)",
        chain,
        chain.removeprefix("run:"),
        before.at,
        before.hash,
        forged,
    )


def _reorder(chain: str) -> None:
    tamper("UPDATE core_event SET seq = 1000 WHERE chain = %s AND seq = 3", chain)
    tamper("UPDATE core_event SET seq = 3 WHERE chain = %s AND seq = 4", chain)
    tamper("UPDATE core_event SET seq = 4 WHERE chain = %s AND seq = 1000", chain)


def _cut_off(chain: str) -> None:
    tamper("DELETE FROM core_event WHERE chain = %s AND seq >= 3", chain)


def _add(chain: str) -> None:
    """A sixth row that fits the chain, of which the head knows nothing."""
    last = Event.objects.get(chain=chain, seq=5)
    forged = link_hash(last.hash, chain, 6, "test_happened", "system", last.at, "{}")
    tamper(
        "INSERT INTO core_event (chain, run_id, seq, type, actor, at, data, previous_hash, hash) "
        "VALUES (%s, %s, 6, 'test_happened', 'system', %s, '{}', %s, %s)",
        chain,
        chain.removeprefix("run:"),
        last.at,
        last.hash,
        forged,
    )


def _restamp(chain: str) -> None:
    """Every hash from the third row on written anew, so that the rows fit one another, but not the head."""
    _edit(chain)
    previous = Event.objects.get(chain=chain, seq=2).hash
    for row in Event.objects.filter(chain=chain, seq__gte=3).order_by("seq"):
        made = link_hash(previous, chain, row.seq, row.type, row.actor, row.at, row.data)
        tamper("UPDATE core_event SET previous_hash = %s, hash = %s WHERE id = %s", previous, made, row.pk)
        previous = made


@pytest.mark.parametrize(
    ("crime", "row", "told"),
    [
        (_edit, 3, "edited"),
        (_delete, 3, "row 3 is missing"),
        (_insert, 4, "does not follow"),
        (_reorder, 3, "does not follow"),
        (_cut_off, 3, "cut off"),
        (_add, 6, "added outside"),
        (_restamp, 5, "restamped"),
    ],
    ids=lambda value: value.__name__.strip("_") if callable(value) else "",
)
def test_tampering_is_found_and_its_row_is_named(chain: str, crime: Callable[[str], None], row: int, told: str):
    crime(chain)

    code, text = audit(chain.removeprefix("run:"))

    assert code == 1
    assert f"{chain} #{row}: " in text
    assert told in text
    assert "1 chain walked up to no checkpoint, 1 fault." in text


def test_all_chains_are_walked_and_only_the_touched_one_is_named(chain: str):
    with events.recording() as log:
        log.platform("test_happened")
    _edit(chain)

    code, text = audit()

    assert code == 1
    assert text.count("#") == 1
    assert f"{ChainHead.objects.count()} chains walked up to no checkpoint, 1 fault." in text


def test_a_chain_whose_head_is_gone_is_a_fault(chain: str):
    tamper("DELETE FROM core_chainhead WHERE chain = %s", chain)

    assert "no head" in audit()[1]


def test_a_chain_that_grows_while_it_is_read_is_whole(chain: str, monkeypatch: pytest.MonkeyPatch):
    """Its rows are read after the head was; what was appended meanwhile is no fault."""
    run_id = UUID(chain.removeprefix("run:"))
    read = ChainHead.objects.filter

    def grown_since(*args, **kwargs):
        found = list(read(*args, **kwargs))
        with events.recording() as log:
            log.run(run_id, "test_happened")

        class Found:
            def first(self):
                return found[0]

        return Found()

    with monkeypatch.context() as patched:
        patched.setattr(verify.ChainHead.objects, "filter", grown_since)
        fault = verify.chain(chain)

    assert fault is None


def test_what_is_no_run_is_said(chain: str):
    assert "is no run's id" in audit("nonsense")[1]
    assert "There is no chain" in audit(str(new_id()))[1]


@pytest.mark.parametrize(
    "sql", ["UPDATE core_event SET actor = 'x'", "DELETE FROM core_event", "TRUNCATE core_event CASCADE"]
)
def test_the_database_itself_refuses(chain: str, sql: str):
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(sql)
