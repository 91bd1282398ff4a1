from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from runs.errors import BadRequest
from runs.models.pacing import SWITCH_SCOPES, Switch
from runs.pacing import switches


class Command(BaseCommand):
    help = (
        "Stop everything, an app, an agent, a tool or a credential at once, and go on with it later. When this command "
        "has ended, nothing of it is begun any more; what was sent before comes to its end."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("move", choices=["throw", "release", "list"])
        parser.add_argument("scope", nargs="?", default="all", choices=SWITCH_SCOPES)
        parser.add_argument("name", nargs="?", default="")
        parser.add_argument("--reason", default="", help="everybody whose work waits reads it; needed to throw")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["move"] == "list":
            for switch in Switch.objects.thrown():
                self.stdout.write(f"{switch.scope} {switch.name}: {switch.reason} ({switch.by_name})")
            return
        move = switches.throw if options["move"] == "throw" else switches.release
        try:
            switch = move(options["scope"], options["name"], by=None, reason=options["reason"])
        except BadRequest as error:
            raise CommandError(str(error)) from error
        self.stdout.write(self.style.SUCCESS(f"{switch} is {'thrown' if switch.is_thrown else 'released'}."))
