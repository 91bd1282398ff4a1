"""Agents, their manifest versions, the model catalogue and the ordering rules, as operators edit them."""

from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Count, F, Max, Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import path, reverse
from pydantic import ValidationError
from unfold.decorators import action, display
from unfold.forms import BaseDialogForm
from unfold.widgets import UnfoldAdminSelectWidget

from agents import manifests, transition_pages  # noqa: F401  the pages register themselves
from agents.errors import AgentsError, NotPublishable
from agents.forms import LIMITS, ManifestForm, place
from agents.models import Agent, FailureRule, Manifest, ModelEntry, OrderingRule, RosterEpoch, WorkerRoster
from agents.routing import pages  # noqa: F401  registers its own
from agents.values import Limits, Problem
from orchestrator_site.core import events
from orchestrator_site.core.admin_bases import (
    COLOURS,
    Page,
    Recorded,
    Viewed,
    changed_elsewhere,
    each,
    holds,
    labels,
    preformatted,
    row_link,
    row_url,
    short,
    shown_as_json,
    who,
)

MAY_OPERATE = "agents.change_agent"
MAY_DRAFT = "agents.add_manifest"


def new_version_url(agent: Agent) -> str:
    return f"{reverse('admin:agents_manifest_add')}?{urlencode({'agent': agent.slug})}"


def versions_url(agent: Agent, **chosen: int) -> str:
    query = f"?{urlencode(chosen)}" if chosen else ""
    return reverse("admin:agents_agent_versions", args=[agent.pk]) + query


class RollBackForm(BaseDialogForm):
    to = forms.ChoiceField(label="Version", widget=UnfoldAdminSelectWidget)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        earlier = Manifest.objects.published().filter(agent=self.object_id).exclude(agent__published=F("pk"))
        field: Any = self.fields["to"]
        field.choices = [(row.number, f"v{row.number} · {row.published_at:%Y-%m-%d %H:%M}") for row in earlier]


RETIRE = {
    "title": "Retire this agent?",
    "description": "It leaves the roster, and its running dispatches are stopped at their next call.",
    "form_class": None,
    "form_submit_text": "Retire",
}
REINSTATE = {
    "title": "Put this agent back to work?",
    "description": "New dispatches may go to it from now on.",
    "form_class": None,
    "form_submit_text": "Reinstate",
}
ROLL_BACK = {
    "title": "Roll back to an earlier version",
    "description": "New dispatches work by it at once; running ones keep the version they started with.",
    "form_class": RollBackForm,
    "form_submit_text": "Roll back",
}
PUBLISH = {
    "title": "Publish this draft?",
    "description": "It never changes again, and new dispatches work by it at once.",
    "form_class": None,
    "form_submit_text": "Publish",
}


@admin.register(Agent)
class AgentAdmin(Viewed):
    """An agent is moved by its verbs; what it is and does is edited as a new version of its manifest."""

    list_display = ["slug", "title", "kind", "state", "version", "drafts", "models_shown", "tools_shown", "owns"]
    list_filter = ["active", "published__kind"]
    search_fields = ["slug", "published__title", "published__owns"]
    list_select_related = ["published"]
    actions = ["retire_chosen", "reinstate_chosen"]
    actions_detail = ["new_version", "compare", "publish_draft", "roll_back", "retire", "reinstate"]
    fieldsets = [
        (None, {"fields": ["slug", "title", "owns_whole", "kind", "state", "models_shown", "tools_shown"]}),
        ("Versions", {"fields": ["versions_shown"]}),
    ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Agent]:
        drafted = Count("manifests", filter=Q(manifests__published_at__isnull=True))
        return super().get_queryset(request).annotate(draft_count=drafted, newest=Max("manifests__number"))

    def get_urls(self) -> list[Any]:
        versions = path("<int:pk>/versions/", self.admin_site.admin_view(self.versions), name="agents_agent_versions")
        return [versions, *super().get_urls()]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return holds(request, MAY_DRAFT)

    def add_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return HttpResponseRedirect(reverse("admin:agents_manifest_add"))

    def has_operate_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return holds(request, MAY_OPERATE)

    def has_draft_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return holds(request, MAY_DRAFT)

    def offers(self, row: Any, verb: str) -> bool:
        match verb:
            case "publish_draft":
                return bool(row.draft_count)
            case "roll_back":
                return row.manifests.published().exclude(pk=row.published_id).exists()
            case "retire":
                return row.active
            case "reinstate":
                return not row.active
        return True

    # Verbs

    @admin.action(description="Retire", permissions=["operate"])
    def retire_chosen(self, request: HttpRequest, chosen: QuerySet[Agent]) -> None:
        done = "Retired, and off the roster: {rows}."
        each(self, request, chosen, lambda agent: manifests.retire(agent, who(request)), done=done, refuses=AgentsError)

    @admin.action(description="Reinstate", permissions=["operate"])
    def reinstate_chosen(self, request: HttpRequest, chosen: QuerySet[Agent]) -> None:
        done = "Back at work: {rows}."
        each(
            self,
            request,
            chosen,
            lambda agent: manifests.reinstate(agent, who(request)),
            done=done,
            refuses=AgentsError,
        )

    @action(description="New version", icon="add", permissions=["draft"])
    def new_version(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return HttpResponseRedirect(new_version_url(Agent.objects.get(pk=object_id)))

    @action(description="Compare versions", icon="difference", permissions=["view"])
    def compare(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return HttpResponseRedirect(reverse("admin:agents_agent_versions", args=[object_id]))

    @action(description="Publish draft", icon="publish", permissions=["operate"], dialog=PUBLISH)
    def publish_draft(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        draft = Manifest.objects.with_agent().drafts().filter(agent_id=object_id).first()
        if draft is None:
            self.message_user(request, "It has no draft any more.", messages.ERROR)
        else:
            publish(self, request, draft)
        return changed_elsewhere(request, reverse("admin:agents_agent_change", args=[object_id]))

    @action(description="Roll back", icon="history", permissions=["operate"], dialog=ROLL_BACK)
    def roll_back(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        agent = Agent.objects.get(pk=object_id)
        number = int(form.cleaned_data["to"])
        done = f"{agent} works by v{number} again."
        chosen = Agent.objects.filter(pk=agent.pk)
        each(
            self,
            request,
            chosen,
            lambda row: manifests.rollback(row, number, who(request)),
            done=done,
            refuses=AgentsError,
        )
        return changed_elsewhere(request, row_url(agent))

    @action(description="Retire", icon="pause_circle", permissions=["operate"], dialog=RETIRE)
    def retire(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        self.retire_chosen(request, Agent.objects.filter(pk=object_id))
        return changed_elsewhere(request, reverse("admin:agents_agent_change", args=[object_id]))

    @action(description="Reinstate", icon="play_circle", permissions=["operate"], dialog=REINSTATE)
    def reinstate(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        self.reinstate_chosen(request, Agent.objects.filter(pk=object_id))
        return changed_elsewhere(request, reverse("admin:agents_agent_change", args=[object_id]))

    # What changed between two versions

    def versions(self, request: HttpRequest, pk: int) -> HttpResponse:
        agent = self.get_object(request, str(pk))
        if agent is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, str(pk))
        if not self.has_view_permission(request, agent):
            raise PermissionDenied
        rows = {row.number: row for row in agent.manifests.select_related("agent", "created_by", "published_by")}
        before, after = self._chosen(request, agent, rows)
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": f"{agent.slug}: versions",
            "agent": agent,
            "rows": rows.values(),
            "before": before,
            "after": after,
            **_compared(before, after),
        }
        return TemplateResponse(request, "admin/agents/agent/versions.html", context)

    def _chosen(self, request: HttpRequest, agent: Agent, rows: dict[int, Manifest]) -> Any:
        """As asked for; else the newest version, against what is published, or when that is it, the one before."""
        asked = [request.GET.get(name, "") for name in ("from", "to")]
        before, after = (rows.get(int(number)) if number.isdigit() else None for number in asked)
        numbers = sorted(rows)
        after = after or (rows[numbers[-1]] if numbers else None)
        if before is None and after is not None:
            published = agent.published.number if agent.published else 0
            earlier = [number for number in numbers if number < after.number]
            before = rows.get(published if published in earlier else earlier[-1] if earlier else after.number)
        return before, after

    # Columns

    @admin.display(description="title", ordering="published__title")
    def title(self, agent: Agent) -> str:
        return agent.published.title if agent.published else "-"

    @admin.display(description="owns")
    def owns(self, agent: Agent) -> str:
        return short(agent.published.owns) if agent.published else "-"

    @admin.display(description="owns")
    def owns_whole(self, agent: Agent) -> str:
        return agent.published.owns if agent.published else "-"

    @display(description="kind", label={"router": "primary", "supervisor": "info"}, ordering="published__kind")
    def kind(self, agent: Agent) -> str:
        return agent.published.kind if agent.published else ""

    @display(description="state", label={"at work": "success", "never published": "warning", "retired": "danger"})
    def state(self, agent: Agent) -> str:
        if not agent.active:
            return "retired"
        return "at work" if agent.published else "never published"

    @admin.display(description="works by")
    def version(self, agent: Agent) -> str:
        return row_link(agent.published, f"v{agent.published.number}") if agent.published else "-"

    @admin.display(description="drafts")
    def drafts(self, agent: Any) -> str:
        return f"{agent.draft_count}, newest version v{agent.newest}" if agent.draft_count else "-"

    @admin.display(description="models")
    def models_shown(self, agent: Agent) -> str:
        return ", ".join(map(str, agent.published.models)) if agent.published else "-"

    @admin.display(description="tools")
    def tools_shown(self, agent: Agent) -> str:
        return labels(str(grant.get("tool")) for grant in agent.published.grants) if agent.published else "-"

    @admin.display(description="")
    def versions_shown(self, agent: Agent) -> str:
        rows = agent.manifests.select_related("agent", "created_by", "published_by")[:50]
        lines = [{"row": row, "url": row_url(row), "since": _since(agent, row)} for row in rows]
        return render_to_string("admin/agents/agent/versions_list.html", {"agent": agent, "lines": lines})


def _since(agent: Agent, row: Manifest) -> str:
    return versions_url(agent, **{"from": row.number - 1, "to": row.number}) if row.number > 1 else ""


def _compared(before: Manifest | None, after: Manifest | None) -> dict[str, Any]:
    if before is None or after is None:
        return {"changes": []}
    try:
        return {"changes": [_drawn(change) for change in manifests.diff(before.spec(), after.spec())]}
    except ValidationError as error:
        return {
            "changes": [],
            "unreadable": f"One of the two cannot be read as a manifest: {error.errors()[0]['msg']}.",
        }


# How a line of a unified diff is drawn, by its first character.
MEANING = {"+": "is-new", "-": "is-old", "@": "is-place"}


def _drawn(change: manifests.Change) -> dict[str, Any]:
    """Without what only a program needs: where a hunk begins, and overrides that are not set."""
    told = [line for line in change.lines if not line.rstrip(",").endswith(": null")]
    lines = [{"meaning": MEANING.get(line[:1], ""), "text": "⋯" if line.startswith("@@ ") else line} for line in told]
    return {"field": change.field.replace("_", " "), "lines": lines[1:]}


def publish(page: Page, request: HttpRequest, draft: Manifest) -> bool:
    """Publish, and say what became of it; every problem in a line of its own."""
    try:
        manifests.publish(draft, who(request))
    except NotPublishable as refusal:
        for problem in refusal.problems:
            page.message_user(request, f"{draft} cannot be published. {_told(problem)}", messages.ERROR)
    except AgentsError as refusal:
        page.message_user(request, str(refusal), messages.ERROR)
    else:
        page.message_user(request, f"{draft} is published: new dispatches work by it.", messages.SUCCESS)
        return True
    return False


def _told(problem: Problem) -> str:
    field, sentence = place(problem)
    return f"{field.replace('_', ' ').capitalize()}: {sentence}"


@admin.register(Manifest)
class ManifestAdmin(Page):
    """Drafts are edited; a published version is shown, and never changes."""

    list_display = ["name", "title", "kind_shown", "state", "created_at", "created_by", "published_at", "published_by"]
    list_filter = ["kind", ("published_at", admin.EmptyFieldListFilter)]
    search_fields = ["agent__slug", "title", "owns", "system_prompt"]
    list_select_related = ["agent", "created_by", "published_by"]
    ordering = ["-id"]
    sortable_by = ["created_at", "published_at"]
    form = ManifestForm
    schema_shown = shown_as_json("output_schema", "JSON Schema of its answer")
    change_form_before_template = "admin/heading.html"
    actions = ["publish_chosen"]
    actions_detail = ["start_next", "compare", "put_to_work"]
    editing: list[tuple[str | None, dict[str, Any]]] = [
        (None, {"fields": ["slug", "title", "owns", "kind"]}),
        ("Routing", {"fields": ["routable", "exemplars"]}),
        ("System prompt", {"fields": ["system_prompt"]}),
        ("Models", {"fields": ["models"]}),
        ("Tools", {"fields": ["grants"]}),
        (
            "Limits of one dispatch",
            {
                "fields": [
                    ("iterations", "tool_calls_per_turn"),
                    ("tokens_per_call", "tokens_total"),
                    ("cost_usd", "wall_seconds"),
                    "children",
                ],
                "description": "Reaching one ends the agent's part with its own stop reason; it never counts as done.",
            },
        ),
        ("Context", {"fields": ["context_tokens", "summariser"]}),
        ("Handoffs", {"fields": ["handoff_targets", "seen"]}),
        ("Contract", {"fields": ["output_schema"]}),
    ]
    viewing = [
        (None, {"fields": ["agent", "number", "state", "title", "owns", "kind"]}),
        ("Routing", {"fields": ["routable", "exemplars_shown"]}),
        ("System prompt", {"fields": ["prompt_shown"]}),
        ("Contract", {"fields": ["schema_shown"]}),
        ("Models and limits", {"fields": ["models_shown", "limits_shown"]}),
        ("Tools", {"fields": ["grants_shown"]}),
        ("Context", {"fields": ["summariser"]}),
        ("Handoffs", {"fields": ["targets_shown"]}),
        ("Who", {"fields": ["created_by", "created_at", "published_by", "published_at"]}),
    ]

    # Which page it is

    def has_change_permission(self, request: HttpRequest, obj: Manifest | None = None) -> bool:
        return (obj is None or obj.is_draft) and super().has_change_permission(request, obj)

    def _edits(self, request: HttpRequest, obj: Manifest | None) -> bool:
        return self.has_add_permission(request) if obj is None else self.has_change_permission(request, obj)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        if not self._edits(request, obj):
            return self.viewing
        if obj is None and self._named(request) is None:
            return self.editing
        (title, identity), *others = self.editing
        return [(title, {"fields": identity["fields"][1:]}), *others]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        if self._edits(request, obj):
            return []
        return [name for _, part in self.viewing for name in part["fields"]]

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        if not self._edits(request, obj):
            return super().get_form(request, obj, change, **(kwargs | {"form": forms.ModelForm}))
        told = {"agent": self._named(request), "publishing": "_publish" in request.POST}
        return type("ManifestForm", (ManifestForm,), told)

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """The next version starts as the published one, else as the newest draft."""
        agent = self._named(request)
        start = (agent.published or agent.manifests.first()) if agent else None
        if start is None:
            return {"models": []}
        kept = {name: getattr(start, name) for name in ManifestForm.Meta.fields}
        limits = start.limits if isinstance(start.limits, dict) else {}
        return kept | {name: limits[name] for name in LIMITS if name in limits}

    def _named(self, request: HttpRequest) -> Agent | None:
        return Agent.objects.select_related("published").filter(slug=request.GET.get("agent", "")).first()

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        agent = self._named(request)
        title = f"Draft the next version of {agent.slug}" if agent else "Draft a new agent"
        told = {"title": title, "may_publish": holds(request, MAY_OPERATE)}
        return super().add_view(request, form_url, {**(extra_context or {}), **told})

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        told = {"may_publish": holds(request, MAY_OPERATE)}
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), **told})

    # Saving is calling a verb

    def save_form(self, request: HttpRequest, form: Any, change: bool) -> Manifest:
        if change:
            return manifests.revise(form.instance, form.spec, who(request))
        slug = form.agent.slug if form.agent else form.cleaned_data["slug"]
        return manifests.draft(slug, form.spec, who(request))

    def save_model(self, request: HttpRequest, obj: Manifest, form: Any, change: bool) -> None:
        """The verb has saved it."""

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """A manifest has no rows of its own beside it."""

    def response_add(self, request: HttpRequest, obj: Manifest, post_url_continue: Any = None) -> HttpResponse:
        return self._saved(request, obj)

    def response_change(self, request: HttpRequest, obj: Manifest) -> HttpResponse:
        return self._saved(request, obj)

    def _saved(self, request: HttpRequest, obj: Manifest) -> HttpResponse:
        if "_publish" in request.POST and holds(request, MAY_OPERATE) and publish(self, request, obj):
            return HttpResponseRedirect(row_url(obj.agent))
        self.message_user(request, f"{obj} is saved as a draft; nothing works by it yet.", messages.SUCCESS)
        for problem in manifests.problems_of(obj):
            self.message_user(request, f"Before it can be published: {_told(problem)}", messages.WARNING)
        return HttpResponseRedirect(row_url(obj))

    # Verbs

    def has_operate_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return holds(request, MAY_OPERATE)

    def has_draft_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return holds(request, MAY_DRAFT)

    def offers(self, row: Any, verb: str) -> bool:
        return verb != "put_to_work" or (not row.is_draft and row.agent.published_id != row.pk)

    @admin.action(description="Publish", permissions=["operate"])
    def publish_chosen(self, request: HttpRequest, chosen: QuerySet[Manifest]) -> None:
        for draft in chosen.with_agent():  # type: ignore[attr-defined]
            publish(self, request, draft)

    @action(description="New version of this agent", icon="add", permissions=["draft"])
    def start_next(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return HttpResponseRedirect(new_version_url(Agent.objects.get(manifests__pk=object_id)))

    @action(description="Compare", icon="difference", permissions=["view"])
    def compare(self, request: HttpRequest, object_id: str) -> HttpResponse:
        row = Manifest.objects.with_agent().get(pk=object_id)
        return HttpResponseRedirect(versions_url(row.agent, to=row.number))

    @action(
        description="Roll back to this version",
        icon="history",
        permissions=["operate"],
        dialog={**ROLL_BACK, "title": "Roll back to this version?", "form_class": None},
    )
    def put_to_work(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        row = Manifest.objects.with_agent().get(pk=object_id)
        each(
            self,
            request,
            Manifest.objects.with_agent().filter(pk=row.pk),
            lambda version: manifests.rollback(version.agent, version.number, who(request)),
            done="New dispatches work by {rows} again.",
            refuses=AgentsError,
        )
        return changed_elsewhere(request, row_url(row.agent))

    # Columns and read-only fields

    @admin.display(description="version")
    def name(self, manifest: Manifest) -> str:
        return str(manifest)

    @display(description="kind", label={"router": "primary", "supervisor": "info"})
    def kind_shown(self, manifest: Manifest) -> str:
        return manifest.kind

    @display(description="state", label={"at work": "success", "draft": "warning", "published": "info"})
    def state(self, manifest: Manifest) -> str:
        if manifest.is_draft:
            return "draft"
        return "at work" if manifest.agent.published_id == manifest.pk else "published"

    @admin.display(description="system prompt")
    def prompt_shown(self, manifest: Manifest) -> str:
        return preformatted(manifest.system_prompt)

    @admin.display(description="requests like these are its own")
    def exemplars_shown(self, manifest: Manifest) -> str:
        return preformatted("\n".join(map(str, manifest.exemplars))) if manifest.exemplars else "-"

    @admin.display(description="models, first choice first")
    def models_shown(self, manifest: Manifest) -> str:
        return " → ".join(map(str, manifest.models)) or "-"

    @admin.display(description="limits")
    def limits_shown(self, manifest: Manifest) -> str:
        told = {name: limit.description or "calls of one turn" for name, limit in Limits.model_fields.items()}
        given = {name: limit for name, limit in manifest.limits.items() if limit is not None}
        lines = [(given.get(name, "-"), description) for name, description in told.items()]
        return render_to_string("admin/agents/manifest/limits.html", {"lines": lines})

    @admin.display(description="granted tools")
    def grants_shown(self, manifest: Manifest) -> str:
        return render_to_string("admin/agents/manifest/grants.html", {"grants": manifest.grants})

    @admin.display(description="may propose a handoff to")
    def targets_shown(self, manifest: Manifest) -> str:
        return labels(map(str, manifest.handoff_targets))


@admin.register(ModelEntry)
class ModelEntryAdmin(Page):
    """The catalogue. A saved row is in force at the next call; nothing here is a secret."""

    list_display = [
        "name",
        "provider_model",
        "state",
        "input_price",
        "output_price",
        "cache_read_price",
        "cache_write_price",
        "context_window",
        "output_limit",
    ]
    list_filter = ["enabled"]
    search_fields = ["name", "provider_model"]
    fieldsets = [
        (None, {"fields": ["name", "provider_model", "enabled"]}),
        ("Where it answers", {"fields": ["endpoint", "credential"]}),
        ("What it can take", {"fields": [("context_window", "output_limit")]}),
        (
            "Prices, in US dollars per million tokens",
            {
                "fields": [("input_price", "output_price"), ("cache_read_price", "cache_write_price")],
                "description": "Budgets are reserved and settled by these. Without them the model is never asked; "
                "where it costs nothing, write 0.",
            },
        ),
    ]

    @display(description="state", label=COLOURS, ordering="enabled")
    def state(self, entry: ModelEntry) -> str:
        return "on" if entry.enabled else "off"

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        scheme = {"assume_scheme": "https"} if db_field.name == "endpoint" else {}
        return super().formfield_for_dbfield(db_field, request, **kwargs, **scheme)

    def save_model(self, request: HttpRequest, obj: ModelEntry, form: Any, change: bool) -> None:
        with events.recording() as log:
            obj.save()
            after = {name: str(form.cleaned_data[name]) for name in form.changed_data}
            log.platform("model_entry_saved", actor=_actor(request), model=obj.name, changed=after)


@admin.register(OrderingRule)
class OrderingRuleAdmin(Recorded):
    recorded_as = "ordering_rule"
    list_display = ["rule", "reason"]
    search_fields = ["before__slug", "after__slug", "reason"]
    list_select_related = ["before", "after"]

    @admin.display(description="rule", ordering="before__slug")
    def rule(self, rule: OrderingRule) -> str:
        return str(rule)

    def facts(self, row: OrderingRule) -> dict[str, Any]:
        return {"rule": str(row), "reason": row.reason}


@admin.register(FailureRule)
class FailureRuleAdmin(Recorded):
    recorded_as = "failure_rule"
    list_display = ["agent", "tries", "fallbacks", "reroute", "ask_person", "skip"]
    search_fields = ["agent__slug"]
    list_select_related = ["agent"]
    fieldsets = [
        (None, {"fields": ["agent"]}),
        ("Again", {"fields": [("tries", "backoff_seconds")]}),
        ("Then by others", {"fields": ["fallbacks", "reroute"]}),
        ("Then", {"fields": ["ask_person", "skip"]}),
    ]

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        told = {
            "tries": "how often it is tried, the first time included",
            "backoff_seconds": "the pause before the second try; it doubles with each",
            "fallbacks": 'slugs of agents, in order, as a JSON list: ["orders", "letters"]',
        }
        return super().get_form(request, obj, change, **kwargs | {"help_texts": told})

    def facts(self, row: FailureRule) -> dict[str, Any]:
        names = ("tries", "fallbacks", "reroute", "ask_person", "skip")
        return {"agent": row.agent.slug, **{name: getattr(row, name) for name in names}}


def _actor(request: HttpRequest) -> str:
    return f"user:{request.user.get_username()}"


@admin.register(WorkerRoster)
class WorkerRosterAdmin(Viewed):
    """What each worker process says it serves."""

    list_display = ["worker", "host", "pid", "epoch", "isolates", "seen_at", "error_short"]

    @admin.display(description="error")
    def error_short(self, row: WorkerRoster) -> str:
        return short(row.error) or "-"


@admin.register(RosterEpoch)
class RosterEpochAdmin(Viewed):
    list_display = ["epoch"]
