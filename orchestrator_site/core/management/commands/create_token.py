from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError, CommandParser

from orchestrator_site.core import tokens


class Command(BaseCommand):
    help = "Make an access token for a user and print its secret, once. Scopes: " + "; ".join(
        f"{scope}: {meaning}" for scope, meaning in tokens.SCOPES.items()
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("user", metavar="USER", help="name of the user whose token it is")
        parser.add_argument(
            "--scope", action="append", dest="scopes", default=[], metavar="SCOPE", help="once for each scope"
        )
        parser.add_argument("--days", type=int, default=tokens.DEFAULT_DAYS, help="how long it lasts (default 90)")
        parser.add_argument("--name", default="", help="what it is for")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            user = User.objects.get_by_natural_key(options["user"])
            token, secret = tokens.create(user, options["scopes"], by=None, name=options["name"], days=options["days"])
        except User.DoesNotExist:
            raise CommandError(f"There is no user {options['user']!r}.") from None
        except tokens.InvalidToken as fault:
            raise CommandError(str(fault)) from fault
        self.stdout.write(secret)
        self.stderr.write(
            f"{token} for {user}, until {token.expires_at:%Y-%m-%d}, with {', '.join(token.scopes)}. "
            "The secret is not kept and cannot be shown again."
        )
