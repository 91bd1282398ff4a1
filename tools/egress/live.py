"""Today's rules of egress, whole: the operators' rows, the settings, and what is the platform's own."""

from django.conf import settings

from tools import outbound
from tools.egress import own
from tools.egress.rules import Rules


def rules() -> Rules:
    return Rules(outbound.current().rules, settings.BATON_EGRESS_ONLY_RULES, own.current())
