from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from orchestrator_site.core import tokens
from orchestrator_site.core.models import Token


class Command(BaseCommand):
    help = "Revoke an access token, by the beginning of its secret or the whole of it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("prefix", metavar="PREFIX", help=f"at least its first {tokens.PREFIX_LENGTH} characters")

    def handle(self, *args: Any, **options: Any) -> None:
        prefix = options["prefix"][: tokens.PREFIX_LENGTH]
        try:
            token = Token.objects.select_related("user").get(prefix=prefix)
        except Token.DoesNotExist:
            raise CommandError(f"There is no token that begins with {prefix!r}.") from None
        except Token.MultipleObjectsReturned:
            raise CommandError(f"Several tokens begin with {prefix!r}; revoke it in the admin.") from None
        tokens.revoke(token, by=None)
        self.stdout.write(f"{token} of {token.user} is revoked.")
