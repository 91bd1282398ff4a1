"""People, events, what observers are owed, and tokens."""

from typing import Any

from django.contrib import admin, messages
from django.contrib.auth.admin import GroupAdmin as StockGroupAdmin
from django.contrib.auth.admin import UserAdmin as StockUserAdmin
from django.contrib.auth.models import Group, User
from django.core.exceptions import ValidationError
from django.db import connection
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from unfold.decorators import display
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from orchestrator_site.core import canonical, debts, events, renames, tokens
from orchestrator_site.core.admin_bases import (
    Growing,
    Page,
    Viewed,
    each,
    holds,
    row_link,
    run_link,
    short,
    shown_as_json,
    uuid_in,
    who,
)
from orchestrator_site.core.models import ChainHead, Checkpoint, Event, IdempotencyKey, Observation, Restoration, Token

admin.site.unregister([User, Group])


class UserForm(UserChangeForm):
    def clean_username(self) -> str:
        name: str = self.cleaned_data["username"]
        if name != self.initial.get("username") and (why := renames.why_not(self.initial.get("username", ""))):
            raise ValidationError(why)
        return name


@admin.register(User)
class UserAdmin(StockUserAdmin, Page):  # type: ignore[misc]
    """Whoever is not a superuser may not make one, touch one, or hand out rights."""

    form = UserForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = ["username", "first_name", "last_name", "groups_shown", "is_active", "is_staff", "last_login"]
    list_filter = ["is_active", "is_staff", "groups"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        return super().get_queryset(request).prefetch_related("groups")

    @admin.display(description="roles")
    def groups_shown(self, user: User) -> str:
        return ", ".join(group.name for group in user.groups.all()) or ("superuser" if user.is_superuser else "-")

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        reachable = obj is None or not obj.is_superuser or request.user.is_superuser
        return reachable and super().has_change_permission(request, obj)

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> Any:
        fixed = [*super().get_readonly_fields(request, obj), "last_login", "date_joined"]
        return fixed if request.user.is_superuser else [*fixed, "is_superuser", "groups", "user_permissions"]


@admin.register(Group)
class GroupAdmin(StockGroupAdmin, Page):  # type: ignore[misc]
    def has_change_permission(self, request: HttpRequest, obj: Group | None = None) -> bool:
        return request.user.is_superuser

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.is_superuser


class TypeFilter(admin.SimpleListFilter):
    title = "type"
    parameter_name = "type"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, name.replace("_", " ")) for name in event_types()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Event]) -> QuerySet[Event]:
        return queryset.filter(type=self.value()) if self.value() else queryset


class ChainFilter(admin.SimpleListFilter):
    title = "chain"
    parameter_name = "of"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("platform", "platform"), ("runs", "runs")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Event]) -> QuerySet[Event]:
        if self.value() == "platform":
            return queryset.filter(chain=events.PLATFORM)
        return queryset.exclude(chain=events.PLATFORM) if self.value() == "runs" else queryset


def event_types() -> list[str]:
    """Every type that occurs. One look-up in the index a type: DISTINCT would read the whole log."""
    with connection.cursor() as cursor:
        cursor.execute(
            """WITH RECURSIVE found(type) AS (
                   (SELECT type FROM core_event ORDER BY type LIMIT 1)
                   UNION ALL
                   SELECT (SELECT e.type FROM core_event e WHERE e.type > found.type ORDER BY e.type LIMIT 1)
                   FROM found WHERE found.type IS NOT NULL
               )
               SELECT type FROM found WHERE type IS NOT NULL"""
        )
        return [row[0] for row in cursor.fetchall()]


@admin.register(Event)
class EventAdmin(Growing):
    list_display = ["where", "type", "actor", "at", "told"]
    list_filter = [ChainFilter, TypeFilter]
    search_fields = ["type"]
    search_help_text = (
        "A run's id, “platform” or a type of event, written out; an actor, such as user:ann, among the newest 20,000."
    )
    fields = ["chain", "seq", "run", "type", "actor", "at", "data_shown", "previous_hash", "hash"]
    data_shown = shown_as_json("data")

    def get_ordering(self, request: HttpRequest) -> list[str]:
        """By time where a type was asked for: the index of types goes by it."""
        return ["-at"] if _type_asked(request) else ["-pk"]

    def get_search_results(self, request: HttpRequest, queryset: QuerySet[Event], search_term: str) -> Any:
        """Equal, never alike, and by what an index answers; only an actor is looked for among the newest."""
        if run_id := uuid_in(search_term):
            return queryset.filter(chain=events.run_chain(run_id)), False
        if search_term == events.PLATFORM:
            return queryset.filter(chain=search_term), False
        if _is_actor(search_term):
            horizon = self._horizon()
            found = queryset.filter(actor=search_term)
            return found if horizon is None else found.filter(pk__gte=horizon), False
        return queryset.filter(type=search_term) if search_term else queryset, False

    @admin.display(description="event")
    def where(self, event: Event) -> str:
        chain = f"run …{str(event.run_id)[-6:]}" if event.run_id else event.chain
        return f"{chain} #{event.seq}"

    @admin.display(description="what it says")
    def told(self, event: Event) -> str:
        said = canonical.loads(event.data)
        return short(" · ".join(f"{name} {value}" for name, value in said.items() if not name.endswith("digest")), 90)

    @admin.display(description="run")
    def run(self, event: Event) -> str:
        return run_link(event.run_id)


def _is_actor(term: str) -> bool:
    return ":" in term or term == events.SYSTEM


def _type_asked(request: HttpRequest) -> bool:
    term = request.GET.get("q", "")
    return bool(request.GET.get("type") or (term and not _is_actor(term) and term != events.PLATFORM))


@admin.register(ChainHead)
class ChainHeadAdmin(Viewed):
    list_display = ["chain", "seq", "hash", "checkpoint", "moved"]
    search_fields = ["chain"]
    search_help_text = "A chain, written out: platform, or run: and the run's id."

    def get_search_results(self, request: HttpRequest, queryset: QuerySet[ChainHead], search_term: str) -> Any:
        run_id = uuid_in(search_term)
        chain = events.run_chain(run_id) if run_id else search_term
        return queryset.filter(chain=chain) if search_term else queryset, False


@admin.register(Checkpoint)
class CheckpointAdmin(Viewed):
    """What was signed. `manage.py verify_audit` checks it, and who does not trust this page checks an export."""

    list_display = ["number", "at", "hash"]
    ordering = ["-number"]
    fields = ["number", "log", "at", "hash", "body_shown", "signature"]
    body_shown = shown_as_json("body", "what was signed")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Checkpoint]:
        return super().get_queryset(request).defer("entries")


@admin.register(Restoration)
class RestorationAdmin(Viewed):
    """Backups that were put back. An empty list is the usual one."""

    list_display = ["__str__", "found_at", "found_by", "marked_at"]
    ordering = ["-found_at"]


@admin.register(Observation)
class ObservationAdmin(Viewed):
    """An empty list is a good one: here stands what observers were not told yet."""

    list_display = ["observer", "event_shown", "failures", "state", "due_at", "last_error_short"]
    list_filter = ["given_up"]
    search_fields = ["observer"]
    list_select_related = ["event"]
    ordering = ["-given_up", "due_at"]
    fields = ["observer", "event", "state", "failures", "due_at", "last_error"]
    actions = ["try_again"]

    def has_try_again_permission(self, request: HttpRequest) -> bool:
        return holds(request, "core.change_observation")

    @admin.action(description="Try again now", permissions=["try_again"])
    def try_again(self, request: HttpRequest, chosen: QuerySet[Observation]) -> None:
        count = debts.try_again(list(chosen.values_list("pk", flat=True)), who(request))
        self.message_user(request, f"{count} will be told again at once.", messages.SUCCESS)

    @display(description="state", label={"given up": "danger", "owed": "info"})
    def state(self, debt: Observation) -> str:
        return "given up" if debt.given_up else "owed"

    @admin.display(description="event")
    def event_shown(self, debt: Observation) -> str:
        return row_link(debt.event)

    @admin.display(description="last error")
    def last_error_short(self, debt: Observation) -> str:
        return short(debt.last_error) or "-"


@admin.register(Token)
class TokenAdmin(Viewed):
    """Tokens are made by `manage.py create_token` or the API, which show the secret once; here they are revoked."""

    list_display = ["name", "user", "prefix", "scopes_shown", "state", "expires_at", "last_used_at"]
    list_filter = [("revoked_at", admin.EmptyFieldListFilter)]
    search_fields = ["name", "prefix", "user__username"]
    list_select_related = ["user"]
    ordering = ["-created_at"]
    fields = ["name", "user", "prefix", "scopes_shown", "state", "created_at", "expires_at", "last_used_at"]
    actions = ["revoke"]

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        return holds(request, "core.change_token")

    @admin.action(description="Revoke", permissions=["revoke"])
    def revoke(self, request: HttpRequest, chosen: QuerySet[Token]) -> None:
        revoked = "Revoked, and refused from now on: {rows}."
        each(self, request, chosen, lambda token: tokens.revoke(token, who(request)), done=revoked, refuses=())

    @admin.display(description="scopes")
    def scopes_shown(self, token: Token) -> str:
        return ", ".join(token.scopes) or "-"

    @display(description="state", label={"valid": "success", "expired": "warning", "revoked": "danger"})
    def state(self, token: Token) -> str:
        if token.revoked_at:
            return "revoked"
        # Shown to people, decides nothing: the database's clock is not asked.
        return "expired" if token.expires_at <= timezone.now() else "valid"


@admin.register(IdempotencyKey)
class IdempotencyKeyAdmin(Viewed):
    list_display = ["key", "route", "owner", "status", "created_at"]
    search_fields = ["key", "owner__username"]
    list_select_related = ["owner"]
    ordering = ["-created_at"]
    fields = ["key", "route", "owner", "status", "body_digest", "created_at"]
