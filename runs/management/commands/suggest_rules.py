"""Rules that people's decisions suggest. Nothing is applied: take one into a draft in the admin."""

from typing import Any

from django.core.management.base import BaseCommand

from runs.policies import suggesting


class Command(BaseCommand):
    help = __doc__

    def handle(self, *args: Any, **options: Any) -> None:
        found = suggesting.suggestions()
        if not found:
            self.stdout.write("The decisions suggest nothing yet.")
        for each in found:
            self.stdout.write(f"{each.says}\n  {each.rule.scope.words()} where {each.rule.condition}")
            for one in each.counter_examples:
                self.stdout.write(f"  not beyond: {one.verdict} by {one.by}, {dict(one.arguments)}")
