from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from orchestrator_site.demo import seed
from tests.model_fixtures import Process, running
from tests.stack import Stack, free_port


@dataclass(frozen=True)
class Desk:
    """The demo's customer desk on this test's stack, with the payment service that counts every call."""

    payments: Process

    def refunds(self) -> list[dict]:
        return [each for each in self.payments.get("/ledger")["keys"].values() if each["refund"]]


@pytest.fixture
def desk(stack: Stack, tmp_path: Path) -> Iterator[Desk]:
    smtp_port = free_port()
    with (
        running("orchestrator_site.demo.payments", "--ledger", str(tmp_path / "ledger.jsonl")) as payments,
        running("orchestrator_site.demo.mailsink", "--smtp-port", str(smtp_port), "--folder", str(tmp_path / "mail")),
        running("orchestrator_site.demo.model_server") as model,
    ):
        seed.seed(payments_url=payments.url, model_url=model.url)
        stack.start_worker(
            {
                "DEMO_PAYMENTS_URL": payments.url,
                "DEMO_SMTP_PORT": str(smtp_port),
                "BATON_DEMO_MODEL_KEY": "any",
            }
        )
        yield Desk(payments)
