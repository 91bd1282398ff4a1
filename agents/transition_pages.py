"""The admin's pages of transitions: the matrix of who may pass work to whom, and the rows with all their columns."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import models
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from unfold.decorators import action, display
from unfold.widgets import UnfoldAdminTextareaWidget

from agents.models import Agent, Transition
from agents.values import AgentKind
from orchestrator_site.core import events
from orchestrator_site.core.admin_bases import Recorded, row_url, who

DISPATCHES = frozenset({AgentKind.ROUTER, AgentKind.SUPERVISOR, AgentKind.PLANNER})
WORDS = {"may_hand_over": "hand over", "may_dispatch": "dispatch"}


# The matrix


@dataclass(frozen=True)
class Box:
    """One yes or no of a cell. `posted_as` names it in the form, and `was` is what the page showed."""

    column: str
    source: str
    target: str
    is_on: bool

    @property
    def posted_as(self) -> str:
        return f"{self.column}:{self.source}:{self.target}"

    @property
    def label(self) -> str:
        return WORDS[self.column]


@dataclass(frozen=True)
class Cell:
    """`row` is the transition, where there is one."""

    source: Agent
    target: Agent
    boxes: Sequence[Box]
    row: Transition | None

    @property
    def url(self) -> str:
        return row_url(self.row) if self.row else ""

    @property
    def more(self) -> list[str]:
        return told(self.row) if self.row else []


def told(row: Transition) -> list[str]:
    """What a row says that is not as it is without one."""
    said = [] if row.transfer == "structured" else [f"passes on: {row.transfer}"]
    said += ["contract"] if row.contract is not None else []
    said += [f"expires after {row.deadline_seconds} s"] if row.deadline_seconds else []
    said += ["source watches"] if row.source_watches else []
    return said + ([] if row.ring_limit == 2 else [f"ring limit {row.ring_limit}"])


def matrix(
    agents: Sequence[Agent], rows: Mapping[tuple[str, str], Transition]
) -> list[tuple[Agent, list[Cell | None]]]:
    """For each source its cells, None for its own. Only what a manifest or a kind allows can be forbidden."""
    return [(source, [_cell(source, target, rows) for target in agents]) for source in agents]


def _cell(source: Agent, target: Agent, rows: Mapping[tuple[str, str], Transition]) -> Cell | None:
    if source == target:
        return None
    row = rows.get((source.slug, target.slug))
    boxes = [
        Box(column, source.slug, target.slug, getattr(row, column) if row else True)
        for column in _columns(source, target)
    ]
    return Cell(source, target, boxes, row)


def _columns(source: Agent, target: Agent) -> Iterator[str]:
    manifest = source.published
    assert manifest is not None
    if target.slug in manifest.handoff_targets:
        yield "may_hand_over"
    if manifest.kind in DISPATCHES:
        yield "may_dispatch"


def changes(posted: Mapping[str, str], boxes: Sequence[Box]) -> list[tuple[Box, bool]]:
    """The boxes that the person moved: against what their page showed, not against what others saved since."""
    moved = []
    for box in boxes:
        was = posted.get(f"was:{box.posted_as}")
        wanted = box.posted_as in posted
        if was is not None and wanted != (was == "on"):
            moved.append((box, wanted))
    return moved


def save(moved: Sequence[tuple[Box, bool]], actor: str) -> None:
    """One transaction; each is an event. Locks the rows."""
    agents = {agent.slug: agent for agent in Agent.objects.all()}
    with events.recording() as log:
        for box, wanted in moved:
            pair = {"source": agents[box.source], "target": agents[box.target]}
            row = Transition.objects.select_for_update(of=("self",)).filter(**pair).first() or Transition(**pair)
            setattr(row, box.column, wanted)
            row.save()
            log.platform("transition_saved", actor=actor, **facts(row))


def facts(row: Transition) -> dict[str, Any]:
    """What the event says of a row."""
    names = (
        "may_hand_over",
        "may_dispatch",
        "transfer",
        "deadline_seconds",
        "source_watches",
        "ring_limit",
        "contract",
    )
    summariser = row.summariser.slug if row.summariser else None
    return {"transition": str(row), "summariser": summariser, **{name: getattr(row, name) for name in names}}


# The rows


class ContractField(forms.JSONField):
    """JSON, indented; empty for none."""

    def prepare_value(self, value: Any) -> Any:
        if value is None or isinstance(value, str):
            return value or ""
        return json.dumps(value, indent=2, ensure_ascii=False)


class TransitionForm(forms.ModelForm):
    contract = ContractField(
        required=False,
        widget=UnfoldAdminTextareaWidget({"rows": 10, "class": "baton-code"}),
        help_text='JSON Schema of the state that a proposal has to carry, for example {"type": "object", "properties": '
        '{"order": {"type": "integer"}}, "required": ["order"]}. Empty: any state, or none.',
    )

    class Meta:
        model = Transition
        fields = [
            *("source", "target", "may_hand_over", "may_dispatch", "contract", "transfer", "summariser"),
            *("deadline_seconds", "source_watches", "ring_limit"),
        ]


@admin.register(Transition)
class TransitionAdmin(Recorded):
    """Rows say no, and say how; without a row, what the manifests say holds."""

    recorded_as = "transition"
    form = TransitionForm
    list_display = ["edge_shown", "hand_over", "dispatch", "more"]
    list_filter = ["may_hand_over", "may_dispatch", "transfer", "source_watches"]
    search_fields = ["source__slug", "target__slug"]
    list_select_related = ["source", "target"]
    actions_list = ["as_matrix"]
    fieldsets = [
        (None, {"fields": [("source", "target"), ("may_hand_over", "may_dispatch")]}),
        ("What is passed on", {"fields": ["transfer", "summariser", "contract"]}),
        ("How long, and what then", {"fields": ["deadline_seconds", "source_watches", "ring_limit"]}),
    ]

    def facts(self, row: Any) -> dict[str, Any]:
        return facts(row)

    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view(self.matrix)
        return [path("matrix/", view, name="agents_transition_matrix"), *super().get_urls()]

    @action(description="As a matrix", icon="grid_on", permissions=["view"])
    def as_matrix(self, request: HttpRequest) -> HttpResponse:
        return HttpResponseRedirect(reverse("admin:agents_transition_matrix"))

    def matrix(self, request: HttpRequest) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        agents = list(Agent.objects.at_work().select_related("published"))
        rows = Transition.objects.select_related("source", "target", "summariser")
        of_any = [row for row in rows if row.source is None]
        lines = matrix(agents, {(row.source.slug, row.target.slug): row for row in rows if row.source})
        if request.method == "POST":
            return self._save(request, [box for _, cells in lines for cell in cells if cell for box in cell.boxes])
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": "Who may pass work to whom",
            "agents": agents,
            "lines": lines,
            "of_any": [(row, told(row)) for row in of_any],
            "may_change": self.has_change_permission(request),
        }
        return TemplateResponse(request, "admin/agents/transition/matrix.html", context)

    def _save(self, request: HttpRequest, boxes: Sequence[Box]) -> HttpResponse:
        if not (self.has_change_permission(request) and self.has_add_permission(request)):
            raise PermissionDenied
        moved = changes(request.POST, boxes)
        save(moved, f"user:{who(request).get_username()}")
        sentence = f"Saved: {', '.join(map(_sentence, moved))}." if moved else "Nothing was changed."
        self.message_user(request, sentence, messages.SUCCESS if moved else messages.INFO)
        return HttpResponseRedirect(reverse("admin:agents_transition_matrix"))

    # Columns

    @admin.display(description="transition", ordering="source__slug")
    def edge_shown(self, row: Transition) -> str:
        return str(row)

    @display(description="hand over", label={"as the manifest says": "info", "forbidden": "danger"})
    def hand_over(self, row: Transition) -> str:
        return "as the manifest says" if row.may_hand_over else "forbidden"

    @display(description="dispatch", label={"allowed": "success", "forbidden": "danger"})
    def dispatch(self, row: Transition) -> str:
        return "allowed" if row.may_dispatch else "forbidden"

    @admin.display(description="says also")
    def more(self, row: Transition) -> str:
        return ", ".join(told(row)) or "-"

    def formfield_for_foreignkey(self, db_field: models.ForeignKey, request: HttpRequest, **kwargs: Any) -> Any:
        kwargs["queryset"] = Agent.objects.at_work().order_by("slug")
        return super().formfield_for_foreignkey(db_field, request, **kwargs)


def _sentence(moved: tuple[Box, bool]) -> str:
    box, wanted = moved
    return f"{box.source} {'may' if wanted else 'may not'} {box.label} to {box.target}"
