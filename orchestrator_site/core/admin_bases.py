"""What every admin page here stands on: read-only pages, verbs as buttons, links to the live pages, cheap counting."""

import json
import re
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin

from orchestrator_site.core import events

# One colour a meaning, for every status and every grade of risk or effect on these pages.
COLOURS = {
    **dict.fromkeys(["succeeded", "done", "approved", "accepted", "answered", "published", "active", "on"], "success"),
    **dict.fromkeys(["failed", "rejected", "refused", "uncertain", "critical", "unsafe", "lost", "off"], "danger"),
    **dict.fromkeys(["waiting", "awaiting_approval", "deferred", "open", "proposed", "high", "draft"], "warning"),
    **dict.fromkeys(["working", "executing", "sent", "asked", "modified", "medium", "keyed", "verifiable"], "info"),
}


class CountsSoFar(Paginator):
    """Counts no further than ten thousand rows: a filter leads to older ones, and no list waits for a full count."""

    furthest = 10_000

    @cached_property
    def count(self) -> int:
        rows: Any = self.object_list
        return rows.order_by().values("pk")[: self.furthest].count()


class Page(ModelAdmin):
    """An editable page. Nothing is deleted here unless a page says so: rows are retired, disabled or revoked."""

    list_per_page = 20
    list_max_show_all = 100
    list_filter_submit = False
    show_full_result_count = False
    paginator = CountsSoFar
    warn_unsaved_form = True
    save_as_continue = False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        return super().render_change_form(request, context | {"show_save_and_add_another": False}, *args, **kwargs)

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[Any]:
        """Those buttons that `offers` for this row."""
        found = super().get_actions_detail(request, object_id)
        row = self.get_object(request, str(object_id)) if found else None
        return [action for action in found if row is not None and self.offers(row, _verb(action.action_name, self))]

    def offers(self, row: Any, verb: str) -> bool:
        return True


class Recorded(Page):
    """Rows that may be deleted as well; each change is an event on the platform chain, in the same transaction."""

    recorded_as = ""

    def facts(self, row: Any) -> dict[str, Any]:
        """What the event says of a row."""
        raise NotImplementedError

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_change_permission(request, obj)

    def get_actions(self, request: HttpRequest) -> Any:
        """One by one: each deletion is an event."""
        return {name: known for name, known in super().get_actions(request).items() if name != "delete_selected"}

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        with events.recording() as log:
            obj.save()
            log.platform(f"{self.recorded_as}_saved", actor=f"user:{request.user.get_username()}", **self.facts(obj))

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        with events.recording() as log:
            log.platform(f"{self.recorded_as}_deleted", actor=f"user:{request.user.get_username()}", **self.facts(obj))
            obj.delete()


class Viewed(Page):
    """A page that shows and never edits; a verb may still be offered as an action."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


def among_newest(ids: str, words: str) -> str:
    """What a `Growing` page says of its search."""
    return f"{ids}, of any age; {words}, and the filters, among the newest {Growing.looks_back:,}."


class Growing(Viewed):
    """A page over a table that grows with every run, newest first.

    An id finds rows of any age, by the first of `id_paths` that leads to one. Filters and words are answered by no
    index, so they look through the newest `looks_back` rows only, and the page says so.
    """

    looks_back = 20_000
    id_paths: tuple[str, ...] = ("pk",)
    sortable_by: tuple[str, ...] = ()
    ordering = ["-pk"]

    def get_search_results(self, request: HttpRequest, queryset: QuerySet[Any], search_term: str) -> Any:
        if wanted := uuid_in(search_term):
            return self._with_id(queryset, wanted), False
        found, _ = super().get_search_results(request, queryset, search_term)
        if search_term or _has_filters(request):
            found = found.filter(pk__gte=horizon) if (horizon := self._horizon()) is not None else found
        return found, False

    def _with_id(self, queryset: QuerySet[Any], wanted: UUID) -> QuerySet[Any]:
        """One path at a time: asked for several at once, the database reads the table."""
        for path in self.id_paths:
            found = queryset.filter(**{path: wanted})
            if found.order_by().values("pk")[:1]:
                return found
        return queryset.none()

    def _horizon(self) -> Any:
        """The key of the oldest row that is looked at; None while there are fewer."""
        newest = self.model._base_manager.order_by("-pk").values_list("pk", flat=True)
        return newest[self.looks_back : self.looks_back + 1].first()


# What a list's address says beside its filters.
_NOT_FILTERS = {"q", "p", "o", "all", "e", "_facets", "_popup", "_to_field", "_changelist_filters"}


def _has_filters(request: HttpRequest) -> bool:
    return bool(set(request.GET) - _NOT_FILTERS)


def uuid_in(text: str) -> UUID | None:
    """The id that a text is, with what ids are written behind: `run:<id>`, `artifact:<id>`, `baton-<id>`."""
    try:
        return UUID(re.sub(r"^(?:[a-z]+:|baton-)", "", text.strip()))
    except ValueError:
        return None


def known(field: str, values: Iterable[str]) -> type[admin.SimpleListFilter]:
    """A filter over values that the code knows; Django's own reads them out of the whole table."""
    choices = [(str(value), str(value).replace("_", " ")) for value in values]

    class Known(admin.SimpleListFilter):
        title = field.replace("_", " ")
        parameter_name = field

        def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
            return choices

        def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
            return queryset.filter(**{field: self.value()}) if self.value() else queryset

    return Known


def _verb(action_name: str, page: ModelAdmin) -> str:
    return action_name.removeprefix(f"{page.opts.app_label}_{page.opts.model_name}_")


def holds(request: HttpRequest, permission: str) -> bool:
    return bool(request.user.has_perm(permission))


# Verbs


def who(request: HttpRequest) -> User:
    """The person at the page; the admin lets nobody in unnamed."""
    assert isinstance(request.user, User)
    return request.user


def each(
    page: ModelAdmin, request: HttpRequest, rows: QuerySet[Any], verb: Callable[[Any], Any], *, done: str, refuses: Any
) -> None:
    """Call one verb for every chosen row, and say what became of each; `done` is a sentence about `{rows}`."""
    moved: list[str] = []
    for row in rows:
        try:
            verb(row)
        except refuses as refusal:
            page.message_user(request, f"{row}: {refusal}", messages.ERROR)
        else:
            moved.append(str(row))
    if moved:
        page.message_user(request, done.format(rows=", ".join(moved)), messages.SUCCESS)


def changed_elsewhere(request: HttpRequest, url: str) -> HttpResponse:
    """Leave a dialog after its verb: htmx is told to load the page whole."""
    if request.headers.get("HX-Request"):
        return HttpResponse(headers={"HX-Redirect": url})
    return HttpResponseRedirect(url)


def require(allowed: bool) -> None:
    """Raises PermissionDenied."""
    if not allowed:
        raise PermissionDenied


# Links and values


def page_url(name: str, *arguments: Any) -> str | None:
    """None while nothing answers to this name."""
    try:
        return reverse(name, args=arguments)
    except NoReverseMatch:
        return None


def link(label: Any, name: str, *arguments: Any) -> str:
    """The label, linked where there is such a page."""
    url = page_url(name, *arguments)
    return format_html('<a href="{}" class="text-link">{}</a>', url, label) if url else str(label)


def run_link(run_id: Any, label: str = "") -> str:
    return link(label or f"{str(run_id)[:8]}…{str(run_id)[-4:]}", "runs:page", run_id) if run_id else "-"


def row_url(row: Model) -> str:
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk])


def row_link(row: Model | None, label: str = "") -> str:
    return format_html('<a href="{}" class="text-link">{}</a>', row_url(row), label or row) if row else "-"


def preformatted(text: str) -> str:
    """As it stands, in a box that wraps and scrolls; "-" for nothing."""
    return format_html('<pre class="baton-pre">{}</pre>', text) if text else "-"


def json_text(value: Any) -> str:
    """JSON, indented; `value` may be JSON as text, and whatever does not parse is shown as it stands."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return preformatted(value)
    return preformatted(json.dumps(value, indent=2, ensure_ascii=False)) if value not in (None, {}, []) else "-"


def shown_as_json(field: str, label: str = "") -> Callable[[Any, Any], str]:
    @admin.display(description=label or field.replace("_", " "))
    def show(self: Any, row: Any) -> str:
        return json_text(getattr(row, field))

    return show


def shown_as_text(field: str, label: str = "") -> Callable[[Any, Any], str]:
    @admin.display(description=label or field.replace("_", " "))
    def show(self: Any, row: Any) -> str:
        return preformatted(getattr(row, field))

    return show


def short(text: str, limit: int = 70) -> str:
    line = " ".join(text.split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def labels(words: Iterable[str]) -> SafeString:
    """Small neutral labels, one a word."""
    marks = [format_html('<span class="baton-mark">{}</span>', word) for word in words]
    return SafeString(" ".join(marks)) if marks else SafeString("-")
