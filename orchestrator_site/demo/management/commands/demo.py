import logging
import threading
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from orchestrator_site.demo import world
from orchestrator_site.demo.story import Story
from orchestrator_site.services.errors import ServiceError, StopRequested
from orchestrator_site.services.platform import Platform


class Command(BaseCommand):
    help = "Run the platform with a customer desk on it, send real work through, and keep serving until Ctrl-C."
    requires_system_checks: list[str] = []  # some need the database, which is not there yet

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--port", type=int, default=8000, help="when it is taken, the next free one is used")
        parser.add_argument("--workers", type=int, default=2, help="worker processes (default: 2)")
        parser.add_argument(
            "--exit",
            action="store_true",
            help="decide the approvals as the seeded approver, and exit 0 only if every expectation held",
        )

    def handle(self, *, port: int, workers: int, exit: bool, **options: Any) -> None:
        logging.getLogger("httpx2").setLevel(logging.WARNING)  # the story's own requests are no news
        worlds: list[world.World] = []
        try:
            with Platform(
                port=port, workers=workers, before_web=lambda each: worlds.append(world.start(each))
            ) as platform:
                story = Story(platform, worlds[0], decides_itself=exit)
                teller = threading.Thread(target=story.tell, name="story", daemon=True)
                teller.start()
                platform.watch(until=lambda: exit and not teller.is_alive())
        except StopRequested:
            return
        except ServiceError as error:
            raise CommandError(str(error)) from None
        if exit and (story.failed or not story.finished):
            raise CommandError(f"{len(story.failed)} expectations did not hold: {'; '.join(story.failed)}")
