"""The admin's pages of routing: rules as an ordered list, what people taught, and the fits as they were made."""

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.template.loader import render_to_string
from unfold.decorators import display
from unfold.widgets import UnfoldAdminTextareaWidget

from agents.errors import NotTeachable
from agents.models import EXEMPLAR_LENGTH, Exemplar, RoutingFit, RoutingRule
from agents.routing import teaching
from agents.routing.fitting import ENOUGH
from orchestrator_site.core.admin_bases import COLOURS, Page, Viewed, run_link, short, who

_MAY_ASK = (
    "CEL. It may ask for text, metadata (what came with the run; guard a key with has(metadata.key)) and caller "
    '(caller.username, caller.roles, caller.is_app). For example: text.matches("(?i)refund") && !caller.is_app.'
)


class DeletedOneByOne(Page):
    """Rows that go when they are no longer wanted, each with an event of its own."""

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm(f"agents.change_{self.opts.model_name}")

    def get_actions(self, request: HttpRequest) -> Any:
        return {name: known for name, known in super().get_actions(request).items() if name != "delete_selected"}


class RuleForm(forms.ModelForm):
    condition = forms.CharField(
        widget=UnfoldAdminTextareaWidget({"rows": 4, "class": "baton-code"}), help_text=_MAY_ASK
    )

    class Meta:
        model = RoutingRule
        fields = ["name", "priority", "condition", "agent", "template", "active"]


@admin.register(RoutingRule)
class RoutingRuleAdmin(DeletedOneByOne):
    """In the order in which they are tried; the first that holds decides."""

    form = RuleForm
    list_display = ["priority", "name", "condition_short", "target_shown", "state", "created_by"]
    list_display_links = ["name"]
    list_filter = ["active"]
    search_fields = ["name", "condition", "agent__slug", "template"]
    list_select_related = ["agent", "created_by"]
    sortable_by: tuple[str, ...] = ()
    fieldsets = [
        (None, {"fields": ["name", ("priority", "active")]}),
        ("When", {"fields": ["condition"]}),
        ("It goes to", {"fields": [("agent", "template")], "description": "An agent, or a plan template."}),
    ]

    @admin.display(description="when")
    def condition_short(self, rule: RoutingRule) -> str:
        return short(rule.condition, 44)

    @admin.display(description="goes to")
    def target_shown(self, rule: RoutingRule) -> str:
        return rule.target

    @display(description="state", label=COLOURS)
    def state(self, rule: RoutingRule) -> str:
        return "on" if rule.active else "off"

    def save_model(self, request: HttpRequest, obj: RoutingRule, form: Any, change: bool) -> None:
        if not change:
            obj.created_by = who(request)
        teaching.save_rule(obj, who(request))

    def delete_model(self, request: HttpRequest, obj: RoutingRule) -> None:
        teaching.delete_rule(obj, who(request))


class ExemplarForm(forms.ModelForm):
    text = forms.CharField(
        max_length=EXEMPLAR_LENGTH,
        widget=UnfoldAdminTextareaWidget({"rows": 3}),
        help_text="A request in the words that people use. Taught to another agent before, it moves.",
    )

    class Meta:
        model = Exemplar
        fields = ["agent", "text"]

    def validate_unique(self) -> None:
        """A text that is there already is not refused: teaching moves it."""

    def clean_text(self) -> str:
        try:
            return teaching.teachable(self.cleaned_data["text"])
        except NotTeachable as refusal:
            raise forms.ValidationError(str(refusal)) from refusal


@admin.register(Exemplar)
class ExemplarAdmin(DeletedOneByOne):
    """What people taught beside the manifests. A text is taught anew, or forgotten; it is not edited."""

    form = ExemplarForm
    list_display = ["text_short", "agent", "taught_by", "created_at", "run"]
    list_filter = ["agent"]
    search_fields = ["text", "agent__slug"]
    list_select_related = ["agent", "taught_by"]
    ordering = ["-id"]
    sortable_by = ["created_at"]

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return obj is None and super().has_change_permission(request)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return ["agent", "text"] if obj is None else ["agent", "text", "taught_by", "created_at", "run"]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return [] if obj is None else self.get_fields(request, obj)

    @admin.display(description="request")
    def text_short(self, exemplar: Exemplar) -> str:
        return short(exemplar.text)

    @admin.display(description="said in")
    def run(self, exemplar: Exemplar) -> str:
        return run_link(exemplar.from_run)

    def save_form(self, request: HttpRequest, form: Any, change: bool) -> Exemplar:
        return teaching.teach_exemplar(form.cleaned_data["agent"], form.cleaned_data["text"], who(request))

    def save_model(self, request: HttpRequest, obj: Exemplar, form: Any, change: bool) -> None:
        """The verb has saved it."""

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """It has no rows of its own beside it."""

    def delete_model(self, request: HttpRequest, obj: Exemplar) -> None:
        teaching.forget_exemplar(obj, who(request))


@admin.register(RoutingFit)
class RoutingFitAdmin(Viewed):
    """What was learnt, and how well it does on exemplars that were held out."""

    list_display = ["name", "created_at", "routes", "right", "answered", "wrong", "caught"]
    sortable_by: tuple[str, ...] = ()
    fieldsets = [
        (None, {"fields": ["name", "created_at", "epoch", "embedder", "seconds", "digest"]}),
        (
            "On exemplars that were held out",
            {
                "fields": ["right", "in_three", "answered", "wrong", "caught"],
                "description": "Answered: routed without a question. Nobody's: exemplars of agents that were left out.",
            },
        ),
        ("By agent", {"fields": ["by_route"]}),
    ]

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).defer("weights")

    @admin.display(description="fit")
    def name(self, row: RoutingFit) -> str:
        return str(row)

    @admin.display(description="agents")
    def routes(self, row: RoutingFit) -> str:
        return f"{row.figures['routes']} by {row.figures['exemplars']} exemplars"

    @admin.display(description="right agent")
    def right(self, row: RoutingFit) -> str:
        return _held_out(row, "right")

    @admin.display(description="among three")
    def in_three(self, row: RoutingFit) -> str:
        return _held_out(row, "right_in_three")

    @admin.display(description="answered")
    def answered(self, row: RoutingFit) -> str:
        return _held_out(row, "answered")

    @admin.display(description="of them wrong")
    def wrong(self, row: RoutingFit) -> str:
        return _held_out(row, "wrong")

    @admin.display(description="nobody's, caught")
    def caught(self, row: RoutingFit) -> str:
        return _held_out(row, "outsiders_caught")

    @admin.display(description="")
    def by_route(self, row: RoutingFit) -> str:
        lines = [
            {
                "slug": slug,
                "exemplars": told["exemplars"],
                "right": _percent(told["right"]),
                "answered": _percent(told["answered"]),
                "threshold": "-" if (least := row.thresholds.get(slug)) is None else f"{least:.2f}",
                "few": told["exemplars"] < ENOUGH,
            }
            for slug, told in sorted(row.figures["by_route"].items())
        ]
        return render_to_string("admin/agents/routingfit/by_route.html", {"lines": lines, "enough": ENOUGH})


def _held_out(row: RoutingFit, figure: str) -> str:
    return _percent(row.figures["held_out"][figure])


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"
