"""An SMTP server that keeps what it gets as files, as a process of its own, with a page to read them.

`python -m orchestrator_site.demo.mailsink --port HTTP_PORT --smtp-port N --folder DIR`; GET /messages lists them, oldest first.
"""

import email
import email.policy
import itertools
import os
import time
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from orchestrator_site.demo import wire

DEFAULT_SMTP_PORT, DEFAULT_HTTP_PORT = 8025, 8027


class Mailbox:
    """One file a message, written whole before it gets its name, as in a maildir."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._count = folder, itertools.count()
        folder.mkdir(parents=True, exist_ok=True)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        content = envelope.content if isinstance(envelope.content, bytes) else (envelope.content or "").encode()
        name = f"{time.time_ns()}-{os.getpid()}-{next(self._count)}.eml"
        unfinished = self.folder / f".{name}"
        with unfinished.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        unfinished.rename(self.folder / name)
        return "250 Message kept"

    def messages(self) -> list[dict[str, Any]]:
        return [_shown(path) for path in sorted(self.folder.glob("[0-9]*.eml"))]


def _shown(path: Path) -> dict[str, Any]:
    message = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    body = message.get_body(("plain",))
    return {
        "file": path.name,
        "from": str(message["From"]),
        "to": str(message["To"]),
        "subject": str(message["Subject"]),
        "call": str(message["X-Baton-Call"] or ""),
        "body": body.get_content() if body else "",
    }


class Reader:
    def __init__(self, mailbox: Mailbox) -> None:
        self.mailbox = mailbox

    async def __call__(self, request: wire.Request) -> wire.Response:
        match request.method, request.path:
            case "GET", "/messages":
                return wire.json_response(self.mailbox.messages())
            case "GET", "/health":
                return wire.json_response({"status": "ok"})
        return wire.json_response({"error": "There is nothing here."}, 404)


def main() -> None:
    arguments = wire.parser("The demo's mail sink.", port=DEFAULT_HTTP_PORT)
    arguments.add_argument("--smtp-port", type=int, default=DEFAULT_SMTP_PORT)
    arguments.add_argument("--folder", type=Path, required=True)
    options = arguments.parse_args()
    mailbox = Mailbox(options.folder)
    controller = Controller(mailbox, hostname=options.host, port=options.smtp_port)
    controller.start()
    try:
        wire.run(Reader(mailbox), options.host, options.port, announce="mail sink")
    finally:
        controller.stop()


if __name__ == "__main__":
    main()
