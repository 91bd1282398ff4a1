from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from orchestrator_site.services.errors import ServiceError, StopRequested
from orchestrator_site.services.platform import Platform


class Command(BaseCommand):
    help = "Run the whole platform on this machine until Ctrl-C: services, migrations, web, workers, beat."
    requires_system_checks: list[str] = []  # some need the database, which is not there yet

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
        parser.add_argument("--port", type=int, default=8000, help="when it is taken, the next free one is used")
        parser.add_argument("--workers", type=int, default=1, help="worker processes (default: 1)")

    def handle(self, *, host: str, port: int, workers: int, **options: Any) -> None:
        try:
            with Platform(host=host, port=port, workers=workers) as platform:
                platform.watch()
        except StopRequested:
            pass
        except ServiceError as error:
            raise CommandError(str(error)) from None
