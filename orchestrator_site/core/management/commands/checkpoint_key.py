from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from orchestrator_site.core import signing


class Command(BaseCommand):
    help = (
        "Print the public key that checkpoints are verified with; whoever verifies keeps it from now on. "
        "With --make, make a new private key first."
    )
    requires_system_checks = []  # it is the way out of a check that fails

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--make", type=Path, metavar="PATH", help="write a new private key there; it must not exist"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        path = options["make"]
        try:
            key = signing.private_key() if path is None else signing.made(path.absolute())
        except FileExistsError:
            raise CommandError(f"{path} is there already; a key is never written over.") from None
        except OSError as error:
            raise CommandError(f"The key cannot be written: {error}") from error
        except signing.KeyUnusable as error:
            raise CommandError(str(error)) from error
        if path is not None:
            self.stderr.write(f"The private key is in {path}; set BATON_CHECKPOINT_KEY_FILE to it. Its public key:")
        self.stdout.write(signing.public_pem(key.public_key()), ending="")
