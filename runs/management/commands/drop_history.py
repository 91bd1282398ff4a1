import datetime as dt
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from orchestrator_site.core import signing
from runs import retention
from runs.retention import NotDroppable


class Command(BaseCommand):
    help = (
        "Drop whole months of the event log, the oldest first, each declared in the platform's chain so that the audit "
        "stays whole. Runs, steps, calls, requests and decisions stay. Verifies and signs every chain first."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--before", required=True, metavar="YYYY-MM-DD", help="months that ended before this day, UTC, go"
        )
        parser.add_argument(
            "--archive", metavar="DIR", help="write each month into a file there first; without it nothing is kept"
        )
        parser.add_argument("--dry-run", action="store_true", help="say which months would go")

    def handle(self, *args: Any, **options: Any) -> None:
        months = retention.droppable(_day(options["before"]))
        if not months:
            self.stdout.write(f"No month of the log ended before {options['before']}.")
            return
        if options["dry_run"]:
            self.stdout.write(f"Would go: {', '.join(map(str, months))}.")
            return
        folder = Path(options["archive"]).absolute() if options["archive"] else None
        for month in months:
            try:
                gone = retention.drop(month, folder)
            except NotDroppable as refusal:
                raise CommandError(str(refusal)) from refusal
            except signing.KeyUnusable as error:
                raise CommandError(f"{error} A month is dropped only where its checkpoints can be signed.") from error
            except OSError as error:
                raise CommandError(f"--archive: {folder} cannot be written: {error}") from error
            kept = f"kept in {gone.archive}" if gone.archive else "not kept"
            self.stdout.write(
                self.style.SUCCESS(f"{month}: {gone.chains:,} chains with {gone.rows:,} events dropped, {kept}.")
            )


def _day(text: str) -> dt.date:
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        raise CommandError(f"--before: {text!r} is no day; write it as 2026-10-01.") from None
