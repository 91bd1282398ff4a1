from collections.abc import Iterator
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser

from orchestrator_site.core import events, verify
from orchestrator_site.core.models import Event
from orchestrator_site.core.verify import Fault


class Command(BaseCommand):
    help = (
        "Walk the event chains and name the first row of each that is not as it was written; exit 1 when there is one."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "run", metavar="RUN", nargs="?", help="id of one run, or “platform”; all chains when left out"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        walked = faults = 0
        for _, fault in self._chains(options["run"]):
            walked += 1
            if fault is not None:
                faults += 1
                self.stdout.write(self.style.ERROR(str(fault)))
        told = f"{walked} chain{'s' if walked != 1 else ''} walked, {faults} with a fault."
        if faults:
            raise CommandError(told, returncode=1)
        self.stdout.write(self.style.SUCCESS(told))

    def _chains(self, run: str | None) -> Iterator[tuple[str, Fault | None]]:
        if run is None:
            return verify.all_chains()
        name = _chain_name(run)
        fault = verify.chain(name)
        if fault is None and not Event.objects.filter(chain=name).exists():
            raise CommandError(f"There is no chain {name}.")
        return iter([(name, fault)])


def _chain_name(run: str) -> str:
    if run == events.PLATFORM:
        return run
    try:
        return events.run_chain(UUID(run.removeprefix("run:")))
    except ValueError:
        raise CommandError(f"{run!r} is no run's id.") from None
