"""Where tools may lead: named lists of destinations, and the rules of egress. Live in every worker by the roster."""

import logging
from collections.abc import Iterator
from types import MappingProxyType

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models

from tools import matchers
from tools.egress import rules
from tools.matchers import Matcher
from tools.outbound import Outbound

logger = logging.getLogger(__name__)


class DestinationList(models.Model):
    """A named list that the gate asks about an argument: `listed.recipient` holds the lists that have it."""

    name = models.SlugField(max_length=64, unique=True, help_text="What rules call it, such as customers-domains.")
    kind = models.CharField(max_length=10, choices=[(kind, kind) for kind in matchers.DESTINATIONS])
    lines = models.TextField(
        help_text="One to a line. domain: example.com, or .example.com for all names below it. email: one address. "
        "account: an IBAN or account number. path: a folder, and all below it. url: https://host/path, and all below."
    )
    note = models.CharField(max_length=300, blank=True, help_text="Why it is there, for those who come after you.")

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    @property
    def values(self) -> tuple[str, ...]:
        return tuple(line.strip() for line in self.lines.splitlines() if line.strip())

    def matcher(self) -> Matcher:
        return Matcher(self.kind, self.values)

    def clean(self) -> None:
        """Each line that cannot be read is named by its number on the page."""
        found = []
        for number, line in enumerate(self.lines.splitlines(), 1):
            told = matchers.problems(self.kind, [line.strip()]) if line.strip() else []
            found += [sentence.replace("Value 1", f"Line {number}", 1) for sentence in told]
        if found or not self.values:
            raise ValidationError({"lines": found or ["Write at least one line."]})


class EgressRule(models.Model):
    """One place that tools may connect to. Rules only add: what none of them names is refused."""

    class Scheme(models.TextChoices):
        ANY = "*", "any"
        HTTPS = "https", "https"
        HTTP = "http", "http"

    scheme = models.CharField(max_length=5, choices=Scheme.choices, default=Scheme.HTTPS)
    place = models.CharField(
        max_length=253,
        help_text="api.example.com, .example.com for all names below it, or a network such as 10.0.3.0/24. A name lets "
        "through public addresses only; what is private, or on this machine, needs the rule of its network.",
    )
    port = models.PositiveIntegerField(
        null=True, blank=True, validators=[MinValueValidator(1), MaxValueValidator(65535)], help_text="Empty: any."
    )
    tool = models.ForeignKey(
        "tools.Tool", null=True, blank=True, on_delete=models.CASCADE, help_text="Empty: every tool."
    )
    credential = models.CharField(
        max_length=100, blank=True, help_text="Only calls that send this secret: its variable's name. Empty: all."
    )
    note = models.CharField(max_length=300, blank=True, help_text="Why it is there, for those who come after you.")

    class Meta:
        ordering = ["place", "port", "scheme", "pk"]

    def __str__(self) -> str:
        return f"{self.scheme}://{self.place}:{self.port or '*'}"

    def clean(self) -> None:
        try:
            self.place = str(rules.place(self.place))
        except rules.BadRule as error:
            raise ValidationError({"place": str(error)}) from None

    def rule(self) -> rules.Rule:
        """Expects `tool` to be joined. Raises rules.BadRule for a row that was not written through a form."""
        scheme = None if self.scheme == self.Scheme.ANY else self.scheme
        tool = self.tool.name if self.tool else ""
        return rules.Rule(rules.place(self.place), scheme, self.port, tool, self.credential)


def read() -> Outbound:
    """Rows and settings. Two queries. A rule that cannot be read lets nothing through, and the log says so."""
    lists = {row.name: row.matcher() for row in DestinationList.objects.all()}
    return Outbound(MappingProxyType(lists), tuple(_rules()))


def _rules() -> Iterator[rules.Rule]:
    for row in EgressRule.objects.select_related("tool"):
        try:
            yield row.rule()
        except rules.BadRule as error:
            logger.error("The egress rule %s lets nothing through: %s", row, error)
    for written in settings.BATON_EGRESS:
        try:
            yield rules.parsed(written)
        except rules.BadRule as error:
            logger.error("BATON_EGRESS lets nothing through here: %s", error)
