"""The demo's outside world: payment service, mail sink and model server, each a process beside the platform."""

import secrets
import socket
import sys
from dataclasses import dataclass

import httpx2
from django.conf import settings

from orchestrator_site.demo import mailsink, payments, seed
from orchestrator_site.services.child import Child
from orchestrator_site.services.platform import Platform

MODEL_PORT = 8028


@dataclass(frozen=True)
class World:
    payments_url: str
    mail_url: str
    model_url: str

    def refunds(self) -> dict[str, dict]:
        """The payment service's ledger by idempotency key: how often it was asked, how often money moved."""
        return httpx2.get(f"{self.payments_url}/ledger").json()["keys"]

    def slow_payments(self, seconds: float) -> None:
        httpx2.post(f"{self.payments_url}/control", json={"delay_seconds": seconds})

    def letters(self) -> list[dict]:
        return httpx2.get(f"{self.mail_url}/messages").json()


def start(platform: Platform) -> World:
    """Called when the database is migrated and nothing of the platform runs yet: start the world, then seed."""
    payments_port = _free_port(payments.DEFAULT_PORT)
    smtp_port, mail_port = _free_port(mailsink.DEFAULT_SMTP_PORT), _free_port(mailsink.DEFAULT_HTTP_PORT)
    model_port = _free_port(MODEL_PORT)
    data = settings.DATA_DIR / "demo"
    data.mkdir(parents=True, exist_ok=True)
    _add(platform, "payments", payments_port, "--ledger", str(data / "payments.jsonl"))
    _add(platform, "mailsink", mail_port, "--smtp-port", str(smtp_port), "--folder", str(data / "mail"))
    _add(platform, "model_server", model_port)
    world = World(_url(payments_port), _url(mail_port), _url(model_port))
    platform.env |= {
        "DEMO_PAYMENTS_URL": world.payments_url,
        "DEMO_SMTP_PORT": str(smtp_port),
        "BATON_DEMO_MODEL_URL": "" if settings.ANTHROPIC_API_KEY else world.model_url,
        "BATON_DEMO_MODEL_KEY": secrets.token_urlsafe(16),
    }
    seed.seed(payments_url=world.payments_url, model_url=world.model_url)
    return world


def _add(platform: Platform, module: str, port: int, *arguments: str) -> None:
    argv = [sys.executable, "-m", f"orchestrator_site.demo.{module}", "--port", str(port), *arguments]

    def listens(child: Child) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    platform.add_child(module.replace("_", "-"), argv, ready=listens)


def _url(port: int) -> str:
    return f"http://127.0.0.1:{port}"


def _free_port(wanted: int) -> int:
    """The wanted port, or the next that nobody listens on: the same ports at every start where possible."""
    for port in range(wanted, wanted + 2000, 10):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError(f"No port from {wanted} upwards is free.")
