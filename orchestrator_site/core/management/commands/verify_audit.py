from collections.abc import Iterator
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser

from orchestrator_site.core import drops, events, signing, verify
from orchestrator_site.core.models import Event
from orchestrator_site.core.verify import Checkpoints, Fault


class Command(BaseCommand):
    help = (
        "Walk the event chains and the checkpoints and name the first row of each that is not as it was written; "
        "exit 1 when there is one."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "run", metavar="RUN", nargs="?", help="id of one run, or “platform”; all chains when left out"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        signed = self._checkpoints()
        walked, faults = 0, list(signed.faults)
        for _, fault in self._chains(options["run"], signed):
            walked += 1
            faults += [fault] if fault is not None else []
        for each in faults:
            self.stdout.write(self.style.ERROR(str(each)))
        for sentence in signed.restores:
            self.stdout.write(self.style.WARNING(sentence))
        newest = f"{signed.newest} of {signed.newest.at:%Y-%m-%d %H:%M:%S} UTC" if signed.newest else "no checkpoint"
        told = f"{walked} chain{'s' if walked != 1 else ''} walked up to {newest}, {len(faults)} fault"
        told += "." if len(faults) == 1 else "s."
        if faults:
            raise CommandError(told, returncode=1)
        self.stdout.write(self.style.SUCCESS(told))

    def _checkpoints(self) -> Checkpoints:
        try:
            return verify.checkpoints()
        except signing.KeyUnusable as error:
            self.stderr.write(self.style.WARNING(f"Checkpoints are not checked: {error}"))
            return Checkpoints()

    def _chains(self, run: str | None, signed: Checkpoints) -> Iterator[tuple[str, Fault | None]]:
        if run is None:
            return verify.all_chains(signed.listed)
        name = _chain_name(run)
        fault = verify.chain(name, signed.listed.get(name, ()))
        if not Event.objects.filter(chain=name).exists() and (fault is None or drops.of_chain(name)):
            drop = drops.of_chain(name)
            raise CommandError(
                f"The chain has left the database with {drop}." if drop else f"There is no chain {name}."
            )
        return iter([(name, fault)])


def _chain_name(run: str) -> str:
    if run == events.PLATFORM:
        return run
    try:
        return events.run_chain(UUID(run.removeprefix("run:")))
    except ValueError:
        raise CommandError(f"{run!r} is no run's id.") from None
