from typing import Any

from django.core.management.base import BaseCommand

from orchestrator_site.services.bootstrap import bootstrap


class Command(BaseCommand):
    help = "Put in place what an installation needs beside its tables. `up` does it; run it after `migrate` elsewhere."

    def handle(self, **options: Any) -> None:
        bootstrap()
