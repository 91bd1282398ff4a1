"""The private key: outside the database, its owner's alone, and never missing without a way out."""

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from django.core.management import CommandError, call_command

from orchestrator_site.checks import checkpoints_can_be_signed
from orchestrator_site.core import signing
from orchestrator_site.core.own_secrets import PLATFORM_OWN


@pytest.fixture
def production(settings: Any) -> Any:
    settings.BATON_CHECKPOINT_KEY_MADE_AT = None
    settings.BATON_CHECKPOINT_KEY_FILE = None
    return settings


def command(*arguments: str) -> str:
    out = StringIO()
    call_command("checkpoint_key", *arguments, stdout=out, stderr=StringIO())
    return out.getvalue()


def test_in_development_it_is_made_once_and_private(settings: Any, tmp_path: Path):
    settings.BATON_CHECKPOINT_KEY_MADE_AT = str(tmp_path / "folder" / "key.pem")

    first, second = signing.private_key(), signing.private_key()

    assert first.private_bytes_raw() == second.private_bytes_raw()
    assert (tmp_path / "folder" / "key.pem").stat().st_mode & 0o077 == 0
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["key.pem"]
    assert checkpoints_can_be_signed() == []


def test_in_production_a_missing_key_stops_the_start_and_says_the_way_out(production: Any, tmp_path: Path):
    (unset,) = checkpoints_can_be_signed()
    production.BATON_CHECKPOINT_KEY_FILE = str(tmp_path / "none.pem")
    (missing,) = checkpoints_can_be_signed()

    assert unset.id == missing.id == "orchestrator_site.E002"
    assert "BATON_CHECKPOINT_KEY_FILE is not set" in unset.msg
    assert "none.pem is not there" in missing.msg
    assert "checkpoint_key --make" in str(unset.hint)


def test_the_way_out_leads_out(production: Any, tmp_path: Path):
    path = tmp_path / "keys" / "key.pem"

    shown = command("--make", str(path))
    production.BATON_CHECKPOINT_KEY_FILE = str(path)

    assert checkpoints_can_be_signed() == []
    assert shown == command() == signing.public_pem(signing.private_key().public_key())
    assert shown.startswith("-----BEGIN PUBLIC KEY-----")
    assert path.stat().st_mode & 0o077 == 0


def test_a_key_is_never_written_over(tmp_path: Path):
    path = tmp_path / "key.pem"
    command("--make", str(path))
    before = path.read_bytes()

    with pytest.raises(CommandError, match="never written over"):
        command("--make", str(path))
    assert path.read_bytes() == before


def test_one_that_others_can_read_is_warned_of(production: Any, tmp_path: Path):
    path = tmp_path / "key.pem"
    command("--make", str(path))
    path.chmod(0o640)
    production.BATON_CHECKPOINT_KEY_FILE = str(path)

    (warning,) = checkpoints_can_be_signed()

    assert warning.id == "orchestrator_site.W003"
    assert "chmod 600" in str(warning.hint)


@pytest.mark.parametrize("kind", ["text", "another kind", "public", "a folder"])
def test_what_is_no_key_is_told(kind: str, production: Any, tmp_path: Path):
    path = tmp_path / "key.pem"
    if kind == "text":
        path.write_text("hello")
    elif kind == "another kind":
        other = generate_private_key(SECP256R1())
        pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
        path.write_bytes(other.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    elif kind == "public":
        path.write_text(signing.public_pem(signing.made(tmp_path / "own.pem").public_key()))
    else:
        path.mkdir()
    production.BATON_CHECKPOINT_KEY_FILE = str(path)

    assert [error.id for error in checkpoints_can_be_signed()] == ["orchestrator_site.E002"]


def test_old_keys_are_trusted_beside_the_one_in_use(settings: Any, tmp_path: Path):
    old = [signing.made(tmp_path / f"{name}.pem").public_key() for name in ("first", "second")]
    (tmp_path / "old.pem").write_text("".join(map(signing.public_pem, old)))
    settings.BATON_CHECKPOINT_OLD_KEYS = str(tmp_path / "old.pem")

    assert set(signing.trusted()) == {signing.name_of(key) for key in [*old, signing.private_key().public_key()]}

    (tmp_path / "old.pem").write_text("nothing")
    with pytest.raises(signing.KeyUnusable, match="BATON_CHECKPOINT_OLD_KEYS"):
        signing.trusted()


def test_no_tool_may_be_given_where_it_is_kept():
    assert "BATON_CHECKPOINT_KEY_FILE" in PLATFORM_OWN
