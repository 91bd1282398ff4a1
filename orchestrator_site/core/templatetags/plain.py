"""How pages of every room say things: money, counts, moments, states, risks, and JSON as a list a person can read."""

import datetime as dt
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from django import template
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

register = template.Library()

_UNITS = ((86_400, "day", "days"), (3600, "h", "h"), (60, "min", "min"), (1, "s", "s"))

# A picture beside each word, so that nothing is said by colour alone.
_STATUS_ICONS = {
    "working": "autorenew",
    "executing": "autorenew",
    "asked": "autorenew",
    "waiting": "hourglass_top",
    "awaiting_approval": "front_hand",
    "open": "front_hand",
    "proposed": "front_hand",
    "succeeded": "check",
    "active": "check",
    "done": "check",
    "answered": "check",
    "approved": "check",
    "modified": "edit",
    "resolved": "check",
    "accepted": "check",
    "failed": "close",
    "lost": "close",
    "refused": "block",
    "rejected": "block",
    "revoked": "block",
    "declined": "block",
    "uncertain": "question_mark",
    "unknown": "question_mark",
    "cancelled": "remove",
    "skipped": "remove",
    "expired": "timer_off",
    "superseded": "redo",
    "queued": "schedule",
    "ready": "schedule",
    "blocked": "schedule",
    "deferred": "schedule",
    "paused": "pause",
}
_RISK_ICONS = {"low": "shield", "medium": "shield", "high": "gpp_maybe", "critical": "gpp_bad"}
EFFECT_WORDS = {
    "pure": "Changes nothing: it may be repeated freely.",
    "keyed": "Repeating it under the same key has no second effect.",
    "verifiable": "Whether it happened can be looked up before it is repeated.",
    "unsafe": "It is never repeated by the machine.",
}


@register.filter
def usd(value: Any) -> str:
    """Cents where cents say something, more digits below a cent."""
    amount = Decimal(value or 0)
    if amount >= 1:
        return f"${amount:,.2f}"
    cents, _, rest = f"{amount:.4f}".partition(".")
    return f"${cents}.{rest[:2]}{rest[2:].rstrip('0')}"


@register.filter
def short_count(value: Any) -> str:
    """12345 as 12.3k."""
    number = int(value or 0)
    if number < 10_000:
        return f"{number:,}"
    return f"{number / 1000:.1f}k" if number < 1_000_000 else f"{number / 1_000_000:.1f}M"


@register.filter
def words(value: Any) -> str:
    """An identifier as words."""
    return str(value).replace("_", " ")


@register.filter
def short_digest(value: str) -> str:
    return value[:12]


@register.filter
def distance(seconds: float) -> str:
    """A span in its largest unit: 3 s, 4 min, 2 h, 5 days. `live.js` says it the same way."""
    span = max(0, int(seconds))
    size, one, many = next((unit for unit in _UNITS if span >= unit[0]), _UNITS[-1])
    number = span // size
    return f"{number} {one if number == 1 else many}"


def ago_words(seconds: float) -> str:
    return f"{distance(seconds)} ago" if seconds >= 2 else "just now"


@register.simple_tag
def ago(moment: dt.datetime | None) -> SafeString | str:
    """How long ago; kept up to date by the page's script."""
    if moment is None:
        return ""
    return _time(moment, "data-ago", ago_words((timezone.now() - moment).total_seconds()))


@register.simple_tag
def until(moment: dt.datetime) -> SafeString:
    """How long there is until a deadline."""
    left = (moment - timezone.now()).total_seconds()
    return _time(moment, "data-until", f"{distance(left)} left" if left > 0 else "deadline passed")


@register.simple_tag
def coming(moment: dt.datetime) -> SafeString:
    """How long it is until something goes on by itself; nobody has to be in time for it."""
    left = (moment - timezone.now()).total_seconds()
    return _time(moment, "data-coming", f"in {distance(left)}" if left > 0 else "now")


def _time(moment: dt.datetime, attribute: str, said: str) -> SafeString:
    exact = f"{moment.astimezone(dt.UTC):%Y-%m-%d %H:%M:%S} UTC"
    return format_html(
        '<time datetime="{}" {} title="{}">{}</time>', moment.isoformat(), SafeString(attribute), exact, said
    )


@register.filter
def status_icon(status: str) -> str:
    return _STATUS_ICONS.get(status, "circle")


@register.simple_tag
def pill(status: str) -> SafeString:
    icon = status_icon(status)
    return format_html(
        '<span class="pill pill-{}"><span class="icon" aria-hidden="true">{}</span>{}</span>',
        status,
        icon,
        words(status),
    )


@register.simple_tag
def risk_badge(risk: str) -> SafeString:
    return format_html(
        '<span class="risk risk-{0}"><span class="icon" aria-hidden="true">{1}</span>{0} risk</span>',
        risk,
        _RISK_ICONS.get(risk, "shield"),
    )


@register.simple_tag
def effect_badge(effect: str) -> SafeString:
    return format_html('<span class="effect" title="{}">{} effect</span>', EFFECT_WORDS.get(effect, ""), effect)


@register.inclusion_tag("_json.html")
def json_value(value: Any, depth: int = 0, remarks: Mapping[str, str] | None = None) -> dict[str, Any]:
    """A JSON value as nested definition lists. Every character is shown: what a person approves is what is sent.

    `remarks`: by name, what is to be said of a value of the outermost object.
    """
    if isinstance(value, dict):
        items = [(name, each, (remarks or {}).get(name, "")) for name, each in value.items()]
        return {"shape": "object", "items": items, "depth": depth + 1}
    if isinstance(value, list):
        return {"shape": "list", "items": value, "depth": depth + 1}
    if value is None or isinstance(value, bool):
        return {"shape": "literal", "value": {None: "nothing", True: "yes", False: "no"}[value]}
    shape = "text" if isinstance(value, str) and ("\n" in value or len(value) > 80) else "word"
    return {"shape": shape, "value": "“”" if value == "" else value, "is_number": isinstance(value, (int, float))}
