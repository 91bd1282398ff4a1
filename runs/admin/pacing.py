"""Kill switches, thrown by adding one and released by a button; breakers, opened and closed alike; rates, places and
shares, to be edited."""

from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from unfold.decorators import action, display
from unfold.forms import BaseDialogForm
from unfold.widgets import UnfoldAdminTextInputWidget

from orchestrator_site.core.admin_bases import (
    COLOURS,
    Recorded,
    Viewed,
    changed_elsewhere,
    each,
    holds,
    row_url,
    who,
)
from runs import states
from runs.errors import BadRequest
from runs.models.pacing import (
    MAY_MOVE_BREAKERS,
    MAY_THROW,
    AppShare,
    Breaker,
    Place,
    PlaceLimit,
    RateBucket,
    RateLimit,
    Switch,
)
from runs.pacing import breakers, switches

RELEASE = {
    "title": "Release this switch?",
    "description": "What waits for it goes on by itself.",
    "form_class": None,
    "form_submit_text": "Release it",
}


class ThrowForm(forms.ModelForm):
    class Meta:
        model = Switch
        fields = ["scope", "name", "reason"]

    def clean(self) -> dict[str, Any]:
        found = super().clean() or {}
        if faults := switches.faults(found.get("scope", ""), found.get("name", ""), found.get("reason", "")):
            raise ValidationError(faults)
        return found

    def validate_unique(self) -> None:
        """A switch that was thrown before is thrown again."""


@admin.register(Switch)
class SwitchAdmin(Viewed):
    list_display = ["title", "state_shown", "reason", "by_name", "moved_at"]
    list_filter = ["is_thrown", "scope"]
    search_fields = ["name", "reason"]
    actions = ["release_chosen"]
    actions_detail = ["release"]
    fieldsets = [(None, {"fields": ["scope", "name", "is_thrown", "reason", "by_name", "moved_at"]})]
    add_fieldsets = [(None, {"fields": ["scope", "name", "reason"]})]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return holds(request, MAY_THROW)

    def has_throw_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return holds(request, MAY_THROW)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.fieldsets if obj is not None else self.add_fieldsets

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        return super().get_form(request, obj, change, **kwargs) if change else ThrowForm

    def save_model(self, request: HttpRequest, obj: Switch, form: Any, change: bool) -> None:
        thrown = switches.throw(obj.scope, obj.name, by=who(request), reason=obj.reason)
        obj.pk = thrown.pk

    def offers(self, row: Any, verb: str) -> bool:
        return verb != "release" or row.is_thrown

    @admin.action(description="Release", permissions=["throw"])
    def release_chosen(self, request: HttpRequest, chosen: QuerySet[Switch]) -> None:
        def release(row: Switch) -> None:
            switches.release(row.scope, row.name, by=who(request))

        each(self, request, chosen, release, done="Released: {rows}.", refuses=BadRequest)

    @action(description="Release", icon="play_circle", permissions=["throw"], dialog=RELEASE)
    def release(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        chosen = Switch.objects.filter(pk=object_id)
        self.release_chosen(request, chosen)
        return changed_elsewhere(request, row_url(chosen.get()))

    @admin.display(description="switch")
    def title(self, row: Switch) -> str:
        return str(row)

    @display(description="state", label=COLOURS)
    def state_shown(self, row: Switch) -> str:
        return "off" if row.is_thrown else "on"


@admin.register(RateLimit)
class RateLimitAdmin(Recorded):
    recorded_as = "rate_limit"
    list_display = ["__str__", "burst", "active"]
    list_filter = ["scope", "counts", "active"]
    search_fields = ["name"]
    fieldsets = [
        ("Of what", {"fields": [("counts", "scope"), "name"]}),
        ("How many", {"fields": [("count", "per_seconds", "burst"), "active"]}),
    ]

    def facts(self, row: RateLimit) -> dict[str, Any]:
        named = ("scope", "name", "counts", "count", "per_seconds", "burst", "active")
        return {name: getattr(row, name) for name in named}


@admin.register(RateBucket)
class RateBucketAdmin(Viewed):
    list_display = ["limit", "key", "spent_to", "promised_to"]
    search_fields = ["=key"]
    list_select_related = ["limit"]
    fields = ["limit", "key", "spent_to", "promised_to", "made_up_to"]


@admin.register(PlaceLimit)
class PlaceLimitAdmin(Recorded):
    recorded_as = "place_limit"
    list_display = ["__str__", "active"]
    list_filter = ["scope", "active"]
    search_fields = ["name"]
    fieldsets = [("Of what", {"fields": ["scope", "name"]}), ("How many at once", {"fields": ["most", "active"]})]

    def facts(self, row: PlaceLimit) -> dict[str, Any]:
        return {name: getattr(row, name) for name in ("scope", "name", "most", "active")}


@admin.register(Place)
class PlaceAdmin(Viewed):
    list_display = ["limit", "key", "dispatch", "taken_at"]
    search_fields = ["=key"]
    list_select_related = ["limit", "dispatch"]
    fields = ["limit", "key", "dispatch", "fence", "taken_at"]


@admin.register(AppShare)
class AppShareAdmin(Recorded):
    recorded_as = "app_share"
    list_display = ["app", "weight"]
    search_fields = ["app__username"]
    list_select_related = ["app"]
    fields = ["app", "weight"]

    def facts(self, row: AppShare) -> dict[str, Any]:
        return {"app": row.app.get_username(), "weight": str(row.weight)}


class OpenForm(forms.ModelForm):
    class Meta:
        model = Breaker
        fields = ["kind", "name", "reason"]

    def clean(self) -> dict[str, Any]:
        found = super().clean() or {}
        if faults := breakers.faults(found.get("kind", ""), found.get("name", ""), found.get("reason", "")):
            raise ValidationError(faults)
        return found

    def validate_unique(self) -> None:
        """One that is there already is opened."""


class ReasonForm(BaseDialogForm):
    reason = forms.CharField(max_length=300, widget=UnfoldAdminTextInputWidget)


CLOSE = {
    "title": "Close this breaker?",
    "description": "What it left alone is begun again, and what waited for it goes on.",
    "form_class": ReasonForm,
    "form_submit_text": "Close it",
}


@admin.register(Breaker)
class BreakerAdmin(Viewed):
    list_display = ["title", "state_shown", "failures", "reason", "by_name", "moved_at"]
    list_filter = ["status", "kind"]
    search_fields = ["name", "reason"]
    actions_detail = ["close"]
    fieldsets = [
        (None, {"fields": ["kind", "name", "status", "reason", "by_name", "moved_at"]}),
        ("What was counted", {"fields": ["failures", "window_from", "tries_at", "probes_left", "probing"]}),
    ]
    add_fieldsets = [(None, {"fields": ["kind", "name", "reason"]})]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return holds(request, MAY_MOVE_BREAKERS)

    def has_move_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return holds(request, MAY_MOVE_BREAKERS)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.fieldsets if obj is not None else self.add_fieldsets

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        return super().get_form(request, obj, change, **kwargs) if change else OpenForm

    def save_model(self, request: HttpRequest, obj: Breaker, form: Any, change: bool) -> None:
        obj.pk = breakers.hold_open(obj.kind, obj.name, by=who(request), reason=obj.reason).pk

    def offers(self, row: Any, verb: str) -> bool:
        return verb != "close" or row.status != states.CLOSED

    @action(description="Close", icon="electric_bolt", permissions=["move"], dialog=CLOSE)
    def close(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        row = Breaker.objects.get(pk=object_id)
        breakers.close(row.kind, row.name, by=who(request), reason=form.cleaned_data["reason"])
        return changed_elsewhere(request, row_url(row))

    @admin.display(description="breaker")
    def title(self, row: Breaker) -> str:
        return str(row)

    @display(description="state", label=COLOURS)
    def state_shown(self, row: Breaker) -> str:
        return row.status
