#!/usr/bin/env python3
"""Verify an exported audit log without the platform that wrote it. Needs Python 3.11 and `cryptography`, nothing else.

    python verify_export.py export.jsonl --key public.pem [--outside FOLDER] [--archive FILE …] [--known NAME …]

export    what `manage.py export_audit` wrote, or the answer of GET /api/v1/runs/{id}/audit/
--key     the public key (`manage.py checkpoint_key`), kept by you since before the log was in doubt; again for more
--outside the second place of the checkpoints: a folder, or one of its files
--archive export files of partitions that were dropped from the database
--known   a declared restore or drop that you know of, as this program names it: restore:121, drop:core_event_2026_10

It names the first bad row of every chain that has one. What a checkpoint covers cannot be changed, taken out, added to
or restamped without being found; rows younger than the newest checkpoint are checked by their own hashes alone.

Exit: 0 whole · 1 a fault was found · 2 it cannot be read · 3 whole, but a restore or drop was declared that you did not
say you know of. The log cannot tell a restore from somebody who had the database put back to hide something: you can.
"""

import argparse
import base64
import datetime as dt
import hashlib
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

Record = Mapping[str, Any]

FORMAT, CHECKPOINT, VERSION = "baton audit export", "baton checkpoint", 1
ALL, PLATFORM = "all", "platform"
# In a fault's place where a run's chain stands otherwise: then the number is a checkpoint's.
CHECKPOINTS = "checkpoints"
# An event is stamped before its transaction commits. What is older than this must be in a checkpoint.
LONGEST_COMMIT = dt.timedelta(minutes=10)
WHOLE, FAULTY, UNREADABLE, DECLARED = 0, 1, 2, 3


class Unreadable(Exception):
    """This is no export, no key or no archive; the message says what is wrong with it."""


class Fault(NamedTuple):
    """`seq` is the first row of the chain that cannot be trusted."""

    chain: str
    seq: int
    what: str

    def __str__(self) -> str:
        return f"{self.chain} #{self.seq}: {self.what}"


class Declaration(NamedTuple):
    """Something that is missing, and of which the platform itself says why."""

    name: str
    what: str


class Listed(NamedTuple):
    """Where a checkpoint says that a chain stood."""

    seq: int
    hash: str
    number: int


@dataclass(frozen=True)
class Checkpoint:
    """One whose signature by a trusted key was checked, and whose entries are those that were signed."""

    number: int
    log: str
    at: dt.datetime
    previous: str
    hash: str
    entries: Sequence[tuple[str, int, str]]
    restored: Sequence[Record]

    @property
    def follows(self) -> int:
        """The number of the one before it in the same past."""
        return min([entry["back_to"] for entry in self.restored], default=self.number - 1)


@dataclass
class Report:
    """What came of it. `rows_covered` of `rows` are held by a checkpoint."""

    faults: list[Fault] = field(default_factory=list)
    declared: list[Declaration] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    chains: int = 0
    rows: int = 0
    rows_covered: int = 0
    newest: Checkpoint | None = None

    def exit_code(self, known: Iterable[str] = ()) -> int:
        if self.faults:
            return FAULTY
        return DECLARED if {each.name for each in self.declared} - set(known) else WHOLE


# -- bytes -------------------------------------------------------------------------------------------------------
def canonical(value: Any) -> bytes:
    """RFC 8785 of what is hashed here: lists of texts and whole numbers."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def row_hash(row: Record) -> str:
    return sha256(canonical([row[name] for name in ("previous", "chain", "seq", "type", "actor", "at", "data")]))


def leaf(entry: Sequence[Any]) -> bytes:
    return hashlib.sha256(b"\x00" + canonical(list(entry))).digest()


def joined(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def merkle_root(entries: Sequence[Sequence[Any]]) -> str:
    row = [leaf(entry) for entry in entries] or [hashlib.sha256().digest()]
    while len(row) > 1:
        odd = row[-1:] if len(row) % 2 else []
        row = [joined(left, right) for left, right in zip(row[::2], row[1::2], strict=False)] + odd
    return row[0].hex()


def climbed(entry: Sequence[Any], path: Iterable[Sequence[str]]) -> str:
    """The root that an entry leads to past these neighbours."""
    here = leaf(entry)
    for side, neighbour in path:
        there = bytes.fromhex(neighbour)
        here = joined(there, here) if side == "left" else joined(here, there)
    return here.hex()


# -- checkpoints -------------------------------------------------------------------------------------------------
def key_name(key: Ed25519PublicKey) -> str:
    return sha256(key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw))[:16]


def checked(record: Record, keys: Mapping[str, Ed25519PublicKey]) -> Checkpoint | str:
    """The checkpoint, or what is wrong with it."""
    body = record["body"]
    said = json.loads(body)
    if (said.get("kind"), said.get("version")) != (CHECKPOINT, VERSION):
        return "it is no checkpoint of a version this program knows"
    key = keys.get(said["key"])
    if key is None:
        return f"it is signed with the key {said['key']}, which is none of those you trust"
    try:
        key.verify(base64.b64decode(record["signature"], validate=True), body.encode())
    except (InvalidSignature, ValueError):
        return "its signature does not fit what it says: changed, or signed with another key"
    if said["number"] != record["number"]:
        return f"it was signed as checkpoint {said['number']}"
    entries = [(str(chain), int(seq), str(digest)) for chain, seq, digest in record["entries"]]
    if not _is_signed_list(entries, record.get("path"), said):
        return "the heads it lists are not those that were signed"
    return Checkpoint(
        number=said["number"],
        log=said["log"],
        at=dt.datetime.fromisoformat(said["at"]),
        previous=said["previous"],
        hash=sha256(body.encode()),
        entries=entries,
        restored=said.get("restored", []),
    )


def _is_signed_list(entries: Sequence[Sequence[Any]], path: Any, said: Record) -> bool:
    """All the heads that were signed, or one of them with its path; a path without an entry shows none."""
    if path is None:
        return len(entries) == said["chains"] and merkle_root(entries) == said["root"]
    return not entries or (len(entries) == 1 and climbed(entries[0], path) == said["root"])


class History:
    """The checkpoints of an export and of its second place, put in order."""

    def __init__(self, header: Record, keys: Mapping[str, Ed25519PublicKey], report: Report) -> None:
        self._header, self._keys, self._report = header, keys, report
        self._export: dict[int, Checkpoint] = {}
        self._outside: dict[int, list[Checkpoint]] = {}
        self._is_whole = header["scope"] == ALL
        # Those declared, each with the number of the checkpoint that declares it; known when all are read.
        self._restores: list[tuple[int, Record]] = []

    def read(self, record: Record) -> None:
        """One of the export."""
        found = self._checked(record, "")
        if found is None:
            return
        if found.number in self._export:
            self._fault(found.number, "it is there twice")
        self._export[found.number] = found

    def read_outside(self, record: Record) -> None:
        found = self._checked(record, "in the second place: ")
        if found is None or found.log != self._log(found):
            return
        same = self._outside.setdefault(found.number, [])
        if all(each.hash != found.hash for each in same):
            same.append(found)

    def expectations(self) -> dict[str, list[Listed]]:
        """Where each chain must have stood, oldest first. Faults of the checkpoints themselves go to the report."""
        self._restores = self._declared_restores()
        self._tell_restores()
        self._check_order()
        trusted = self._trusted()
        found: dict[str, list[Listed]] = {}
        for checkpoint in trusted:
            for chain, seq, digest in checkpoint.entries:
                found.setdefault(chain, []).append(Listed(seq, digest, checkpoint.number))
        self._report.newest = trusted[-1] if trusted else None
        return found

    def _checked(self, record: Record, where: str) -> Checkpoint | None:
        try:
            found = checked(record, self._keys)
        except (KeyError, ValueError, TypeError) as error:
            found = f"it cannot be read ({type(error).__name__}: {error})"
        if isinstance(found, str):
            self._fault(record.get("number", 0), where + found)
            return None
        return found

    def _log(self, found: Checkpoint) -> str:
        """The log of this export; another one in the same second place is told of once, as a fault."""
        own = self._header["log"]
        if found.log != own:
            told = f"the second place holds checkpoints of another log, {found.log}: this one was begun anew, or it is"
            fault = Fault(CHECKPOINTS, 1, f"{told} not this database's; name its own folder if you know why")
            if fault not in self._report.faults:
                self._report.faults.append(fault)
        return str(own)

    def _fault(self, number: int, what: str) -> None:
        self._report.faults.append(Fault(CHECKPOINTS, number, what))

    def _all(self) -> Iterator[Checkpoint]:
        yield from self._export.values()
        for same in self._outside.values():
            yield from same

    def _declared_restores(self) -> list[tuple[int, Record]]:
        found = {(each.number, json.dumps(entry)): entry for each in self._all() for entry in each.restored}
        return sorted(((number, entry) for (number, _), entry in found.items()), key=lambda each: each[0])

    def _is_lost(self, checkpoint: Checkpoint) -> bool:
        """It belongs to a past that a declared restore left behind."""
        return any(
            entry["back_to"] < checkpoint.number <= entry["lost_to"] and checkpoint.number < number
            for number, entry in self._restores
        )

    def _tell_restores(self) -> None:
        for number, entry in self._restores:
            back, lost_to = entry["back_to"], entry["lost_to"]
            lost = [each for each in self._all() if back < each.number <= lost_to and each.number < number]
            chains = {chain for each in lost for chain, _, _ in each.entries}
            told = f"the database was restored from a backup ({entry['by']}, {entry['at']}): "
            told += f"what was signed after checkpoint {back} up to {lost_to} is of a past it lost"
            told += f", with the newest rows of {len(chains)} chains" if lost else ""
            self._report.declared.append(Declaration(f"restore:{number}", told))

    def _check_order(self) -> None:
        if not self._is_whole:
            return
        before: Checkpoint | None = None
        for number in sorted(self._export):
            each = self._export[number]
            if self._is_lost(each):
                self._fault(number, "a restore is declared to have lost it, and it is here")
                continue
            self._check_follows(each, before)
            before = each
        self._check_tail(before.number if before else 0)

    def _check_follows(self, each: Checkpoint, before: Checkpoint | None) -> None:
        missing = (before.number if before else 0) + 1
        if each.follows != missing - 1:
            self._fault(missing, f"it is missing: the next one here is {each.number}")
        elif each.previous != (before.hash if before else ""):
            self._fault(each.number, "it does not follow the one before it: put in, or made anew")

    def _check_tail(self, newest: int) -> None:
        if newest != self._header["newest_checkpoint"]:
            self._fault(
                newest + 1, f"it is missing: the export says that {self._header['newest_checkpoint']} is newest"
            )

    def _trusted(self) -> list[Checkpoint]:
        """One of each number; where the export and the second place differ, the second place is believed."""
        made_at = dt.datetime.fromisoformat(self._header["made_at"])
        newest, found = self._header["newest_checkpoint"], dict(self._export)
        for number in sorted(self._outside):
            for each in self._outside[number]:
                if self._is_lost(each) or each.at > made_at:
                    continue
                self._compare(each, newest)
                found[number] = each
        return [found[number] for number in sorted(found) if not self._is_lost(found[number])]

    def _compare(self, outside: Checkpoint, newest: int) -> None:
        own = self._export.get(outside.number)
        if own is not None and own.hash != outside.hash:
            self._fault(outside.number, "it is not the one that the second place holds: made anew")
        elif own is None and outside.number > newest:
            told = f"the second place holds checkpoint {outside.number} of {outside.at}, and the export ends before it"
            self._fault(outside.number, f"{told}: cut off, or a restore that was not marked (manage.py mark_restored)")


# -- rows --------------------------------------------------------------------------------------------------------
class Chain:
    """One chain, row by row. After its first fault the rest of it says nothing more."""

    def __init__(self, name: str, listed: Sequence[Listed]) -> None:
        self.name, self._listed = name, list(listed)
        self.seq, self.hash = 0, ""
        self.covered = 0
        self.fault: Fault | None = None
        self._uncovered_at: str | None = None

    def take(self, row: Record) -> None:
        if self.fault is None and (what := self._wrong(row)):
            seq, sentence = what
            self.fault = Fault(self.name, seq, sentence)
        if self.fault is None:
            self.seq, self.hash = row["seq"], row["hash"]
            self._pass_checkpoints(row)

    def _wrong(self, row: Record) -> tuple[int, str] | None:
        expected = self.seq + 1
        if row["seq"] > expected:
            return expected, f"row {expected} is missing; the next row found is {row['seq']}"
        if row["seq"] < expected:
            return row["seq"], "its number is there twice"
        if row["run_id"] != _run_of(self.name):
            return expected, f"it is filed under the run {row['run_id']}: edited"
        if row["previous"] != self.hash:
            return expected, "it does not follow the row before it: inserted, reordered or restamped"
        if row_hash(row) != row["hash"]:
            return expected, "its content is not what was hashed: edited"
        return None

    def _pass_checkpoints(self, row: Record) -> None:
        while self._listed and self._listed[0].seq <= self.seq:
            listed = self._listed.pop(0)
            if listed.hash != self.hash or listed.seq != self.seq:
                first, last = self.covered + 1, listed.seq
                told = f"rows {first} to {last} are not those that checkpoint {listed.number} signed: restamped"
                self.fault = Fault(self.name, first, told)
                return
            self.covered, self._uncovered_at = self.seq, None
        if self.covered < self.seq and self._uncovered_at is None:
            self._uncovered_at = row["at"]

    def end(self, head: Record | None, newest: Checkpoint | None, *, is_archived: bool = False) -> Fault | None:
        if self.fault is None:
            self.fault = self._missing() or (None if is_archived else self._of_head(head)) or self._hidden(newest)
        return self.fault

    def _missing(self) -> Fault | None:
        if not self._listed:
            return None
        last = self._listed[-1]
        told = f"checkpoint {last.number} signed {last.seq} rows and {self.seq} are here: cut off"
        return Fault(self.name, self.seq + 1, told)

    def _of_head(self, head: Record | None) -> Fault | None:
        if head is None:
            return Fault(self.name, self.seq, "the chain has no head")
        if head["seq"] > self.seq:
            told = f"the head knows {head['seq']} rows and {self.seq} are here: cut off"
            return Fault(self.name, self.seq + 1, told)
        if head["seq"] < self.seq:
            told = f"the head knows {head['seq']} rows and {self.seq} are here: added outside"
            return Fault(self.name, head["seq"] + 1, told)
        if head["hash"] != self.hash:
            return Fault(self.name, self.seq, "the head holds another hash: the chain was restamped")
        return None

    def _hidden(self, newest: Checkpoint | None) -> Fault | None:
        if newest is None or self._uncovered_at is None:
            return None
        at = dt.datetime.fromtimestamp(int(self._uncovered_at) / 1_000_000, dt.UTC)
        if at >= newest.at - LONGEST_COMMIT:
            return None
        told = f"it says it is of {at}, and no checkpoint up to {newest.number} of {newest.at} lists it: "
        return Fault(self.name, self.covered + 1, f"{told}added later, or hidden from the checkpoints")


def _run_of(chain: str) -> str | None:
    return chain.removeprefix("run:") if chain.startswith("run:") else None


# -- dropped history ---------------------------------------------------------------------------------------------
class Drop(NamedTuple):
    """A `history_dropped` event: this many chains whose runs began before a moment, and a digest over their ends."""

    partition: str
    before_ms: int
    chains: int
    digest: str
    archive: str


def read_drop(row: Record) -> Drop:
    data = json.loads(row["data"])
    before = dt.datetime.fromisoformat(data["before"])
    return Drop(
        data["partition"], int(before.timestamp() * 1000), data["chains"], data["digest"], data.get("archive", "")
    )


def began_ms(chain: str) -> int | None:
    """When a run's chain began, out of its UUIDv7; None for another chain."""
    digits = chain.removeprefix("run:").replace("-", "")
    return int(digits[:12], 16) if chain.startswith("run:") and len(digits) == 32 else None


def account_for(
    absent: Mapping[str, Listed], archived: Mapping[str, tuple[int, str]], drops: Iterable[Drop], report: Report
) -> set[str]:
    """The absent chains that declared drops explain, each drop by exactly the chains it names."""
    explained: set[str] = set()
    waiting = {chain: (listed.seq, listed.hash) for chain, listed in absent.items()} | dict(archived)
    for drop in sorted(drops, key=lambda each: each.before_ms):
        own = sorted(chain for chain in waiting if (began := began_ms(chain)) is not None and began < drop.before_ms)
        digest = sha256(canonical([[chain, *waiting[chain]] for chain in own]))
        if (len(own), digest) == (drop.chains, drop.digest):
            explained.update(own)
            report.notes.append(f"{drop.partition}: {drop.chains} chains were dropped, and are accounted for")
            if not all(chain in archived for chain in own):
                told = f"{drop.chains} chains were dropped into the archive {drop.archive!r}; give it by --archive"
                report.declared.append(Declaration(f"drop:{drop.partition}", told))
        elif own:
            told = f"{drop.partition} was dropped with {drop.chains} chains, and what is missing here is not just that"
            report.notes.append(f"{told}: {len(own)} chains")
        for chain in own:
            del waiting[chain]
    return explained


# -- the whole ---------------------------------------------------------------------------------------------------
def verify(
    records: Iterable[Record],
    keys: Iterable[Ed25519PublicKey],
    *,
    outside: Iterable[Record] = (),
    archives: Iterable[Iterable[Record]] = (),
) -> Report:
    """Raises Unreadable. Records are read once, in their order, and not kept."""
    report = Report()
    stream = iter(records)
    header = next(stream, {})
    if (header.get("kind"), header.get("version")) != (FORMAT, VERSION):
        raise Unreadable("it does not begin as an audit export of a version that this program knows")
    history = History(header, {key_name(key): key for key in keys}, report)
    for record in outside:
        history.read_outside(record)
    rows = _checkpoints_first(stream, history)
    expectations = history.expectations()
    only = header["scope"]
    if only != ALL:
        expectations = {chain: listed for chain, listed in expectations.items() if chain == only}
    here = _Walk(expectations, report)
    here.walk(rows)
    there = _Walk(expectations, report, is_archived=True)
    for archive in archives:
        there.walk(record for record in archive if record.get("kind") in ("event", "end"))
    _account_for_absent(expectations, here, there, report)
    return report


def _checkpoints_first(stream: Iterator[Record], history: History) -> Iterator[Record]:
    """Hand the checkpoints over, and answer with what comes after them."""
    for record in stream:
        if record.get("kind") != "checkpoint":
            return _again(record, stream)
        history.read(record)
    raise Unreadable("it ends before its first row: the file was cut off")


def _again(first: Record, rest: Iterator[Record]) -> Iterator[Record]:
    yield first
    yield from rest


class _Walk:
    """The rows of one file, chain by chain."""

    def __init__(self, expectations: Mapping[str, Sequence[Listed]], report: Report, *, is_archived: bool = False):
        self._expectations, self._report, self._is_archived = expectations, report, is_archived
        self._heads: dict[str, Record] = {}
        self.ends: dict[str, tuple[int, str]] = {}
        self.drops: list[Drop] = []

    def walk(self, records: Iterable[Record]) -> None:
        current: Chain | None = None
        count, is_ended = 0, False
        for record in records:
            match record.get("kind"):
                case "head":
                    self._heads[record["chain"]] = record
                case "event":
                    count += 1
                    if current is None or current.name != record["chain"]:
                        self._end(current)
                        current = Chain(record["chain"], self._expectations.get(record["chain"], ()))
                    current.take(record)
                    if (record["chain"], record["type"]) == (PLATFORM, "history_dropped"):
                        self.drops.append(read_drop(record))
                case "end":
                    is_ended = record["rows"] == count
                case kind:
                    raise Unreadable(f"it holds a record of an unknown kind, {kind!r}")
        self._end(current)
        if not is_ended:
            raise Unreadable("its last line, which counts its rows, is missing or does not fit: the file was cut off")
        self._report.rows += count

    def without_rows(self) -> Iterator[Record]:
        return (head for chain, head in self._heads.items() if chain not in self.ends and head["seq"] > 0)

    def _end(self, chain: Chain | None) -> None:
        if chain is None:
            return
        if chain.name in self.ends:
            raise Unreadable(f"the rows of {chain.name} do not stand together")
        self.ends[chain.name] = (chain.seq, chain.hash)
        self._report.chains += 1
        self._report.rows_covered += chain.covered
        fault = chain.end(self._heads.get(chain.name), self._report.newest, is_archived=self._is_archived)
        if fault is not None:
            self._report.faults.append(fault)


def _account_for_absent(
    expectations: Mapping[str, Sequence[Listed]], here: _Walk, there: _Walk, report: Report
) -> None:
    absent = {chain: listed[-1] for chain, listed in expectations.items() if chain not in here.ends}
    archived = {chain: end for chain, end in there.ends.items() if chain not in here.ends}
    explained = account_for(absent, archived, here.drops, report)
    for chain in sorted(absent.keys() - explained):
        last = absent[chain]
        report.faults.append(Fault(chain, 1, f"checkpoint {last.number} signed {last.seq} rows, and none is here"))
    for head in here.without_rows():
        if head["chain"] not in expectations:
            report.faults.append(Fault(head["chain"], 1, f"the head knows {head['seq']} rows, and none is here"))


# -- files -------------------------------------------------------------------------------------------------------
def read_lines(path: Path, *, may_be_torn: bool = False) -> Iterator[Record]:
    """The records of a file of JSON lines; or of one JSON object that has them under `export`, as the API answers."""
    with path.open(encoding="utf-8", newline="\n") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except ValueError as error:
                if may_be_torn:
                    continue
                raise Unreadable(f"line {number} of {path} is no JSON: {error}") from error
            if isinstance(record, dict) and "export" in record:
                yield from record["export"]
            elif isinstance(record, dict):
                yield record
            else:
                raise Unreadable(f"line {number} of {path} is no record")


def read_outside(path: Path) -> Iterator[Record]:
    if not path.exists():
        raise Unreadable(f"there is no {path}")
    for each in sorted(path.rglob("*.jsonl")) if path.is_dir() else [path]:
        yield from read_lines(each, may_be_torn=True)  # a crash may have cut a line off; it was written again


def read_keys(path: Path) -> list[Ed25519PublicKey]:
    end = "-----END PUBLIC KEY-----"
    try:
        blocks = [block[block.index("-----BEGIN") :] + end for block in path.read_text().split(end)[:-1]]
        keys = [serialization.load_pem_public_key(block.encode()) for block in blocks]
    except (OSError, ValueError) as error:
        raise Unreadable(f"{path} is no public key in PEM: {error}") from error
    found = [key for key in keys if isinstance(key, Ed25519PublicKey)]
    if not found or len(found) != len(keys):
        raise Unreadable(f"{path} must hold Ed25519 public keys in PEM, as `manage.py checkpoint_key` prints them")
    return found


def tell(report: Report, known: Sequence[str], most: int) -> None:
    for fault in report.faults[:most]:
        print(f"FAULT {fault}")
    if len(report.faults) > most:
        print(f"… and {len(report.faults) - most} more faults")
    for each in report.declared:
        print(f"{'known' if each.name in known else 'DECLARED'} {each.name}: {each.what}")
    for note in report.notes:
        print(f"note: {note}")
    told = f"{report.rows} rows in {report.chains} chains read, {report.rows_covered} covered by a checkpoint"
    newest = report.newest
    print(f"{told}; the newest is {newest.number} of {newest.at}." if newest else f"{told}: there is none.")
    if not report.faults:
        others = [each.name for each in report.declared if each.name not in known]
        hint = f" But say that you know of: {' '.join(f'--known {name}' for name in others)}" if others else ""
        print(f"No fault found.{hint}")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Verify an exported audit log without the platform that wrote it.")
    parser.add_argument("export", type=Path)
    parser.add_argument("--key", type=Path, action="append", required=True, metavar="PEM")
    parser.add_argument("--outside", type=Path, action="append", default=[], metavar="FOLDER")
    parser.add_argument("--archive", type=Path, action="append", default=[], metavar="FILE")
    parser.add_argument("--known", action="append", default=[], metavar="NAME")
    parser.add_argument("--most", type=int, default=20, metavar="N", help="faults to print (default 20)")
    given = parser.parse_args(arguments)
    try:
        report = verify(
            read_lines(given.export),
            [key for path in given.key for key in read_keys(path)],
            outside=(record for path in given.outside for record in read_outside(path)),
            archives=[read_lines(path) for path in given.archive],
        )
    except (Unreadable, OSError, UnicodeDecodeError) as error:
        print(f"cannot be read: {error}", file=sys.stderr)
        return UNREADABLE
    except (KeyError, TypeError, ValueError) as error:
        print(f"cannot be read: a record has not the shape it should ({error!r})", file=sys.stderr)
        return UNREADABLE
    tell(report, given.known, given.most)
    return report.exit_code(given.known)


if __name__ == "__main__":
    sys.exit(main())
