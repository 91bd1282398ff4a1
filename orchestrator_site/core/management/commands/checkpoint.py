from contextlib import suppress
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from orchestrator_site.core import checkpoints, second_place, signing


class Command(BaseCommand):
    help = (
        "Sign where every chain stands that has moved since the last checkpoint, now, and copy it to the second place."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        self._refuse_an_older_database()
        try:
            made = checkpoints.make()
            last = made or checkpoints.newest()
            second_place.copy()
        except signing.KeyUnusable as error:
            raise CommandError(str(error)) from error
        except OSError as error:
            told = f"{last} is in the database; the second place (BATON_CHECKPOINT_DIR) cannot be written: {error}"
            raise CommandError(told) from error
        if made is not None:
            self.stdout.write(self.style.SUCCESS(f"{made} made, of {made.at:%Y-%m-%d %H:%M:%S} UTC."))
        elif last is not None:
            self.stdout.write(f"Nothing has moved since {last}, of {last.at:%Y-%m-%d %H:%M:%S} UTC.")
        else:
            self.stdout.write("There is nothing to sign yet.")

    def _refuse_an_older_database(self) -> None:
        with suppress(OSError):  # told when the new one cannot be copied there either
            if (ahead := second_place.copy()) is not None:
                raise CommandError(
                    f"The second place holds checkpoint {ahead.number}, which this database does not know: it is older "
                    "than it was. If it was restored from a backup, run `manage.py mark_restored`."
                )
