from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from orchestrator_site.core import restorations, second_place
from runs import restored


class Command(BaseCommand):
    help = (
        "After a backup was restored: bring up as uncertain what was in flight when it was made, so that nothing is "
        "sent twice. Workers do this by themselves when the checkpoints' second place is ahead of the database."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--anyway",
            action="store_true",
            help="although nothing here says so: the second place was lost or restored too",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if restorations.unmarked() is None and not self._begin(anyway=options["anyway"]):
            self.stdout.write(
                "Nothing is marked: the database is as new as its second place, or marked already. If it was restored "
                "all the same, because the second place was lost or restored with it, say --anyway."
            )
            return
        marked = restored.mark()
        if marked is None:
            self.stdout.write("A worker has marked it just now.")
            return
        self.stdout.write(
            self.style.SUCCESS(
                f"Marked. Of {marked.runs} open runs {marked.uncertain} calls wait for somebody to say whether they "
                f"happened (/uncertain/), and {marked.asked_again} approvals are asked again. Work goes on."
            )
        )
        self.stdout.write(
            "What was decided, published, switched off or revoked after the backup is as it was before: look through "
            "tokens, tools and agents."
        )

    def _begin(self, *, anyway: bool) -> bool:
        try:
            known = second_place.copy()
        except OSError as error:
            if not anyway:
                raise CommandError(
                    f"The second place (BATON_CHECKPOINT_DIR) cannot be read: {error}. Mend that, or say --anyway."
                ) from error
            known = None
        if known is None and not anyway:
            return False
        restorations.begin(known, by="command:mark_restored")
        return True
