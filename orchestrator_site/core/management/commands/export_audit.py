import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser

from orchestrator_site.core import audit_export, events
from orchestrator_site.core.models import ChainHead


class Command(BaseCommand):
    help = "Write the audit log as JSON lines; orchestrator_site/offline/verify_export.py verifies them by itself."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("out", metavar="OUT", help="the file to write, or - for standard output")
        parser.add_argument("--run", metavar="RUN", help="one run alone, by its id, or “platform”")

    def handle(self, *args: Any, **options: Any) -> None:
        records = audit_export.whole() if options["run"] is None else audit_export.of_chain(_chain(options["run"]))
        if options["out"] == "-":
            _write(records, sys.stdout)
            return
        path = Path(options["out"])
        try:
            with path.open("w", encoding="utf-8") as file:
                count = _write(records, file)
        except OSError as error:
            raise CommandError(f"{path} cannot be written: {error}") from error
        self.stdout.write(self.style.SUCCESS(f"{count} records written to {path}."))


def _write(records: Iterator[audit_export.Record], file: TextIO) -> int:
    count = 0
    for record in records:
        file.write(json.dumps(record, ensure_ascii=False, separators=(",", ":")) + "\n")
        count += 1
    return count


def _chain(run: str) -> str:
    if run == events.PLATFORM:
        return run
    try:
        chain = events.run_chain(UUID(run.removeprefix("run:")))
    except ValueError:
        raise CommandError(f"--run: {run!r} is no run's id.") from None
    if not ChainHead.objects.filter(chain=chain).exists():
        raise CommandError(f"--run: there is no chain {chain}.")
    return chain
