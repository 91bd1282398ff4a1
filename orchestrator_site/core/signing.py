"""The key that signs checkpoints. Its private half is a file outside the database; no table and no event holds it."""

import base64
import hashlib
import os
import threading
from contextlib import suppress
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from django.conf import settings

WAY_OUT = (
    "Make one with `manage.py checkpoint_key --make PATH`, keep a copy of it away from the database, and set "
    "BATON_CHECKPOINT_KEY_FILE to its path."
)


class KeyUnusable(Exception):
    """There is no private key, or what is there is none; the message says the way out."""


def private_key() -> Ed25519PrivateKey:
    """Raises KeyUnusable. In development the key is made at the first call."""
    if settings.BATON_CHECKPOINT_KEY_FILE:
        return _read(Path(settings.BATON_CHECKPOINT_KEY_FILE))
    if not settings.BATON_CHECKPOINT_KEY_MADE_AT:
        raise KeyUnusable(f"No key to sign checkpoints: BATON_CHECKPOINT_KEY_FILE is not set. {WAY_OUT}")
    path = Path(settings.BATON_CHECKPOINT_KEY_MADE_AT)
    if not path.exists():
        with suppress(FileExistsError):  # two processes may start at once: the first one's key stands
            return made(path)
    return _read(path)


def made(path: Path) -> Ed25519PrivateKey:
    """Write a new private key that its owner alone may read. Raises FileExistsError, and OSError."""
    key = Ed25519PrivateKey.generate()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}")
    fresh.touch(mode=0o600)
    try:
        fresh.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        os.link(fresh, path)  # whole from its first moment, and never over another
    finally:
        fresh.unlink()
    return key


def _read(path: Path) -> Ed25519PrivateKey:
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except FileNotFoundError:
        raise KeyUnusable(f"No key to sign checkpoints: {path} is not there. {WAY_OUT}") from None
    except (OSError, ValueError, TypeError) as error:
        raise KeyUnusable(f"No key to sign checkpoints: {path} cannot be read ({error}). {WAY_OUT}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyUnusable(f"{path} holds a key of another kind than Ed25519. {WAY_OUT}")
    return key


def public_pem(key: Ed25519PublicKey) -> str:
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()


def name_of(key: Ed25519PublicKey) -> str:
    """How a checkpoint's body names the key that signed it."""
    raw = key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return hashlib.sha256(raw).hexdigest()[:16]


def sign(key: Ed25519PrivateKey, text: str) -> str:
    return base64.b64encode(key.sign(text.encode())).decode()


def trusted() -> dict[str, Ed25519PublicKey]:
    """By name: the public halves of the key in use and of those used before it. Raises KeyUnusable."""
    keys = [private_key().public_key(), *_old_keys()]
    return {name_of(key): key for key in keys}


def _old_keys() -> list[Ed25519PublicKey]:
    if not settings.BATON_CHECKPOINT_OLD_KEYS:
        return []
    path = Path(settings.BATON_CHECKPOINT_OLD_KEYS)
    try:
        return public_keys(path.read_text())
    except (OSError, ValueError) as error:
        raise KeyUnusable(f"BATON_CHECKPOINT_OLD_KEYS names {path}, which cannot be read: {error}.") from error


def public_keys(text: str) -> list[Ed25519PublicKey]:
    """The keys of a file that holds one PEM block after the other. Raises ValueError."""
    end = "-----END PUBLIC KEY-----"
    blocks = [block[block.index("-----BEGIN") :] + end for block in text.split(end)[:-1]]
    keys = [serialization.load_pem_public_key(block.encode()) for block in blocks]
    if not keys or not all(isinstance(key, Ed25519PublicKey) for key in keys):
        raise ValueError("it must hold Ed25519 public keys in PEM")
    return keys  # type: ignore[return-value]


def is_signed(text: str, signature: str, key: Ed25519PublicKey) -> bool:
    try:
        key.verify(base64.b64decode(signature, validate=True), text.encode())
    except (InvalidSignature, ValueError):
        return False
    return True
