"""Connecting to a checked address changes nothing of what the server is told, nor of whom its certificate must name."""

import datetime as dt
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.tools.egress.conftest import Allow, Resolver
from tools.egress import client, live, targets, wire
from tools.egress.rules import Caller


class TlsTarget:
    """A server whose certificate names shop.test; `asked` are the server names that clients told it."""

    def __init__(self, folder: Path):
        self.certificate = folder / "certificate.pem"
        key = _made(self.certificate, "shop.test")
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(self.certificate, key)
        self.context.sni_callback = lambda _, name, __: self.asked.append(name)
        self.asked: list[str | None] = []
        self.requests: list[bytes] = []
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port = self.listening.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                plain, _ = self.listening.accept()
                with suppress(OSError), plain, self.context.wrap_socket(plain, server_side=True) as talking:
                    self.requests.append(talking.recv(65536))
                    talking.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


def _made(certificate: Path, name: str) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private = certificate.with_suffix(".key")
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    private.write_bytes(key.private_bytes(encoding, form, serialization.NoEncryption()))
    return private


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, allow: Allow) -> Iterator[TlsTarget]:
    target = TlsTarget(tmp_path)
    trusting = ssl.create_default_context(cafile=target.certificate)
    monkeypatch.setattr(wire, "_tls", lambda: trusting)
    allow(f"https://127.0.0.1/32:{target.port}")
    yield target
    target.listening.close()


def fetch(url: str) -> client.Answer:
    request = client.Request("GET", targets.parsed(url))
    return client.send(request, Caller("web"), live.rules(), deadline=time.monotonic() + 5, limit_bytes=100)


def test_name_and_host_are_told_as_written(shop: TlsTarget, resolver: Resolver) -> None:
    resolver("shop.test", ["127.0.0.1"])

    assert fetch(f"https://shop.test:{shop.port}/").body == b"ok"
    assert shop.asked == ["shop.test"]
    assert f"Host: shop.test:{shop.port}".encode() in shop.requests[0]


@pytest.mark.parametrize("host", ["other.test", "127.0.0.1"])
def test_a_certificate_of_another_name_is_refused_before_anything_is_sent(
    shop: TlsTarget, resolver: Resolver, host: str
) -> None:
    resolver("other.test", ["127.0.0.1"])

    with pytest.raises(client.NoAnswer) as told:
        fetch(f"https://{host}:{shop.port}/")

    assert not told.value.sent
    assert shop.requests == []
