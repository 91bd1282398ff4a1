"""Policies as operators work on them: versions, the draft's editor, trials on the past and on live calls."""

import datetime as dt
from collections.abc import Callable, Mapping
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Count, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import path
from unfold.decorators import display

from orchestrator_site.core import canonical
from orchestrator_site.core.admin_bases import COLOURS, Viewed, holds, row_link, row_url, short, who
from orchestrator_site.core.clock import database_now
from orchestrator_site.core.problems import flat
from runs.errors import BadRequest, NotPossible
from runs.models import Simulation
from runs.policies import shadows, simulating, suggesting
from runs.policies.serializers import ContentBody, told_facts, with_content
from tools.models import Policy
from tools.models.policies import DAYS, DRAFT, LABELS, PROPOSED, RISKS
from tools.policies import comparing, documents, versions
from tools.policies.tallying import as_lines
from tools.policies.values import Flow, Outcome
from tools.policies.versions import NotPublishable
from tools.values import Effect

MAY_PUBLISH = "tools.publish_policy"
RULE_COLUMNS = (
    *("name", "outcome", *documents.SCOPE),
    *("condition", "window", "approvers", "group", "says", "expires_at"),
)
WINDOW_COLUMNS = ("name", "zone", "opens", "closes", "except_dates")
BY_ROW = ("rules", "windows")
# Rows without anything in them, below those that there are.
BLANK_ROWS = 1
CHOICES = {
    "outcome": [(each.value, each.value.replace("_", " ")) for each in Outcome],
    "effect": [("", "any"), *((each.value, each.value) for each in Effect)],
    "risk": [("", "any"), *((value, f"{value} and above") for value, _ in RISKS)],
    "label": [("", "any"), *LABELS],
}
# What stands folded beneath a rule until it says something.
SELDOM = ("family", "agent", "app", "role", "effect", "risk", "label", "window", "approvers", "group", "expires_at")


@admin.register(Policy)
class PolicyAdmin(Viewed):
    """The list, and for each version one page with all that can be done with it."""

    list_display = [
        "title",
        "status_shown",
        "note",
        "rule_count",
        "trial",
        "created_by",
        "published_by",
        "published_at",
    ]
    list_filter = ["status", "shadow"]
    search_fields = ["note", "rules__name"]
    list_select_related = ["created_by", "published_by"]
    sortable_by: tuple[str, ...] = ()

    def get_queryset(self, request: HttpRequest) -> QuerySet[Policy]:
        return super().get_queryset(request).annotate(counted=Count("rules"))

    def has_add_permission(self, request: HttpRequest) -> bool:
        return holds(request, "tools.change_policy")

    def add_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """A draft of the one in force."""
        if request.method != "POST":
            return self._render(request, "admin/tools/policy/new.html", "Draft a policy", {})
        return HttpResponseRedirect(row_url(versions.draft(by=who(request))))

    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view(self.suggestions)
        return [path("suggestions/", view, name="tools_policy_suggestions"), *super().get_urls()]

    def change_view(self, request: HttpRequest, object_id: str, *args: Any, **kwargs: Any) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        policy = get_object_or_404(Policy.objects.whole(), pk=object_id) if object_id.isdigit() else None
        if policy is None:
            raise Http404
        if request.method == "POST":
            return self._obey(request, policy)
        return self._page(request, policy)

    # Verbs

    def _obey(self, request: HttpRequest, policy: Policy) -> HttpResponse:
        verb = request.POST.get("verb", "save")
        if verb not in VERBS:
            raise Http404
        needed, act = VERBS[verb]
        if not holds(request, needed):
            raise PermissionDenied
        try:
            said, url = act(request, policy)
        except NotPublishable as refusal:
            return self._page(request, policy, refusal.faults, posted=request.POST if verb == "save" else None)
        except BadRequest as refusal:
            return self._page(request, policy, refusal.faults)
        self.message_user(request, said, messages.SUCCESS)
        return HttpResponseRedirect(url)

    # The page

    def _page(
        self,
        request: HttpRequest,
        policy: Policy,
        faults: Mapping[str, str] | None = None,
        posted: Any = None,
    ) -> HttpResponse:
        value, now = policy.value(), versions.in_force()
        content = _posted_content(posted) if posted is not None else documents.told(value)
        faults = dict(faults or {})
        is_open = policy.status in (DRAFT, PROPOSED)
        unmatched, looked_at = simulating.unmatched(value) if is_open and value.rules else ([], 0)
        context = {
            "policy": policy,
            "in_force": now,
            "is_open": is_open,
            "may_change": holds(request, "tools.change_policy"),
            "may_publish": holds(request, MAY_PUBLISH),
            "is_own": policy.proposed_by_id == who(request).pk,
            "digest": canonical.digest(versions.content(policy)),
            "differences": comparing.differences(value, now) if is_open else [],
            "weaker": comparing.why_weaker(value, now) if is_open else policy.why_weaker,
            "unmatched": unmatched,
            "looked_at": looked_at,
            "thresholds": [(name, says, content.get(name, "")) for name, says in THRESHOLDS.items()],
            "risks": [value for value, _ in RISKS],
            "flow": content.get("flow", Flow.ASK),
            "note": posted.get("note", "") if posted is not None else policy.note,
            "rules": _rule_rows(content, faults, blank=policy.is_editable),
            "windows": _window_rows(content, faults, blank=policy.is_editable),
            "days": list(enumerate(DAYS)),
            "faults": {
                where: said for where, said in faults.items() if where.split(".")[0] not in ("rules", "windows")
            },
            "has_faulty_rows": any(where.startswith(("rules.", "windows.")) for where in faults),
            "facts": told_facts(),
            "known": versions.names(),
            "trial": shadows.report(policy) if policy.shadow_since else None,
            "simulations": Simulation.objects.filter(policy=policy).select_related("asked_by")[:5],
        }
        page = self._render(request, "admin/tools/policy/page.html", str(policy).capitalize(), context)
        page.status_code = 422 if faults else 200
        return page

    def _render(self, request: HttpRequest, template: str, title: str, context: dict[str, Any]) -> TemplateResponse:
        common = {**self.admin_site.each_context(request), "opts": self.opts, "title": title}
        return TemplateResponse(request, template, common | context)

    def suggestions(self, request: HttpRequest) -> HttpResponse:
        """What people's decisions suggest; each can be taken into a new draft."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        found = suggesting.suggestions()
        if request.method != "POST":
            context = {"found": found, "may_change": holds(request, "tools.change_policy"), "least": suggesting}
            return self._render(request, "admin/tools/policy/suggestions.html", "Suggested rules", context)
        if not holds(request, "tools.change_policy"):
            raise PermissionDenied
        chosen = next((each for each in found if each.key == request.POST.get("key")), None)
        if chosen is None:
            self.message_user(request, "The decisions do not suggest this any more.", messages.WARNING)
            return HttpResponseRedirect(request.path)
        draft = suggesting.take(chosen, by=who(request))
        self.message_user(request, "Taken into a draft. Simulate it before you publish it.", messages.SUCCESS)
        return HttpResponseRedirect(row_url(draft))

    # Columns

    @admin.display(description="version")
    def title(self, row: Policy) -> str:
        return str(row)

    @display(description="status", label=COLOURS)
    def status_shown(self, row: Policy) -> str:
        return row.status

    @admin.display(description="rules")
    def rule_count(self, row: Any) -> int:
        return row.counted

    @display(description="trial", label={"on live calls": "info"})
    def trial(self, row: Policy) -> str:
        return "on live calls" if row.shadow else ""


THRESHOLDS = {
    "notify_from": "People are told of calls from this risk on",
    "ask_from": "A person is asked from this risk on",
    "four_eyes_from": "Another person than who started the run decides from this risk on",
}

Said = tuple[str, str]


def _save(request: HttpRequest, policy: Policy) -> Said:
    content = _posted_content(request.POST)
    body = ContentBody(data=content)
    if not body.is_valid():
        raise NotPublishable(dict(flat(body.errors)))
    saved = versions.rewrite(
        policy, with_content(policy.value(), body.validated_data), by=who(request), note=content["note"]
    )
    return "Saved. It has no effect before it is published.", row_url(saved)


def _publish(request: HttpRequest, policy: Policy) -> Said:
    done = versions.publish(policy, by=who(request), digest=request.POST.get("digest", ""))
    if done.status == PROPOSED:
        return "It is weaker than the one in force, so it is proposed: another person publishes it.", row_url(done)
    return "It is in force: every call from now on is ruled by it.", row_url(done)


def _verb(move: Callable[..., Policy], said: str) -> Callable[[HttpRequest, Policy], Said]:
    def act(request: HttpRequest, policy: Policy) -> Said:
        return said, row_url(move(policy, by=who(request)))

    return act


def _trial(on: bool, said: str) -> Callable[[HttpRequest, Policy], Said]:
    def act(request: HttpRequest, policy: Policy) -> Said:
        return said, row_url(versions.try_live(policy, on, by=who(request)))

    return act


def _draft(request: HttpRequest, policy: Policy) -> Said:
    return f"Drafted from {policy}.", row_url(versions.draft(by=who(request), of=policy))


def _simulate(request: HttpRequest, policy: Policy) -> Said:
    filters = {name: given for name in ("tool", "agent", "app") if (given := request.POST.get(name, "").strip())}
    days = request.POST.get("days", "")
    since = None
    if days.isdigit() and 0 < int(days) <= 3660:
        since = database_now() - dt.timedelta(days=int(days))
    return "Asked for; a worker carries it.", row_url(
        simulating.ask(policy, by=who(request), since=since, filters=filters)
    )


VERBS: Mapping[str, tuple[str, Callable[[HttpRequest, Policy], Said]]] = {
    "save": ("tools.change_policy", _save),
    "publish": (MAY_PUBLISH, _publish),
    "take_back": ("tools.change_policy", _verb(versions.take_back, "It is a draft again.")),
    "discard": ("tools.change_policy", _verb(versions.discard, "Discarded. Its number is not given again.")),
    "shadow_on": ("tools.change_policy", _trial(True, "It is tried on every live call from now on, without effect.")),
    "shadow_off": ("tools.change_policy", _trial(False, "It is tried no longer. What it would have said is kept.")),
    "draft": ("tools.change_policy", _draft),
    "simulate": ("tools.change_policy", _simulate),
}


# -- rules and windows as rows -------------------------------------------------------------------------------------
def _posted_content(posted: Any) -> dict[str, Any]:
    """The form as a document: without what was ticked to be taken out, and without rows that were left empty."""
    content: dict[str, Any] = {name: posted.get(name, "") for name in (*THRESHOLDS, "flow") if posted.get(name)}
    rules = [_rule_posted(row) for _, row in _rows(posted, "rule", RULE_COLUMNS)]
    windows = [_window_posted(posted, place, row) for place, row in _rows(posted, "window", WINDOW_COLUMNS)]
    content["rules"] = [rule for rule in rules if rule["name"] or rule["says"] or rule["condition"]]
    content["windows"] = [window for window in windows if window["name"]]
    return content | {"note": posted.get("note", "")}


def _rows(posted: Any, kind: str, columns: tuple[str, ...]) -> list[tuple[int, dict[str, str]]]:
    """With the place that each had on the page."""
    lists = {column: posted.getlist(f"{kind}-{column}") for column in columns}
    count, out = min(map(len, lists.values())), posted.getlist(f"{kind}-out")
    rows = {place: {column: lists[column][place].strip() for column in columns} for place in range(count)}
    return [(place, row) for place, row in rows.items() if str(place) not in out]


def _rule_posted(row: dict[str, str]) -> dict[str, Any]:
    expires = row["expires_at"] or None
    return {**row, "approvers": row["approvers"] or 1, "expires_at": f"{expires}:00Z" if expires else None}


def _window_posted(posted: Any, place: int, row: dict[str, str]) -> dict[str, Any]:
    days = [int(day) for day in posted.getlist(f"window-days-{place}") if day.isdigit()]
    return {**row, "days": days, "except_dates": row["except_dates"].replace(",", " ").split()}


def _rule_rows(content: Mapping[str, Any], faults: Mapping[str, str], *, blank: bool) -> list[dict[str, Any]]:
    rules = [*content.get("rules", ()), *([{}] * BLANK_ROWS if blank else [])]
    return [_rule_row(place, rule, _at(faults, f"rules.{place}.")) for place, rule in enumerate(rules)]


def _rule_row(place: int, rule: Mapping[str, Any], faults: Mapping[str, str]) -> dict[str, Any]:
    told = {column: rule.get(column) or "" for column in RULE_COLUMNS}
    told["outcome"] = told["outcome"] or str(Outcome.ASK)
    told["expires_at"] = str(told["expires_at"])[:16]
    told["approvers"] = rule.get("approvers", 1)
    is_open = any(told[name] for name in SELDOM if name != "approvers") or told["approvers"] not in (1, "1")
    seldom = [
        {
            "name": name,
            "label": LABELLED.get(name, name),
            "value": told[name],
            "choices": CHOICES.get(name),
            "fault": faults.get(name),
        }
        for name in SELDOM
    ]
    scope = {name: told[name] for name in documents.SCOPE if told[name]}
    return {
        "place": place,
        **told,
        "faults": faults,
        "seldom": seldom,
        "is_open": is_open or any(name in faults for name in SELDOM),
        "outcomes": CHOICES["outcome"],
        "scope": scope,
        "is_blank": not rule,
    }


LABELLED = {
    "family": "family of tools",
    "app": "app that started the run",
    "role": "group of who started it",
    "effect": "effect class",
    "label": "what the agent has read",
    "window": "only outside this window",
    "approvers": "how many people are asked",
    "group": "of which group",
    "expires_at": "holds until, UTC",
}


def _window_rows(content: Mapping[str, Any], faults: Mapping[str, str], *, blank: bool) -> list[dict[str, Any]]:
    windows = [*content.get("windows", ()), *([{}] * BLANK_ROWS if blank else [])]
    return [
        {
            "place": place,
            **{name: window.get(name, "") for name in ("name", "zone")},
            **{name: str(window.get(name, ""))[:5] for name in ("opens", "closes")},
            "days": window.get("days", []),
            "except_dates": ", ".join(map(str, window.get("except_dates", []))),
            "faults": _at(faults, f"windows.{place}."),
            "is_blank": not window,
        }
        for place, window in enumerate(windows)
    ]


def _at(faults: Mapping[str, str], ahead: str) -> dict[str, str]:
    return {where.removeprefix(ahead).split(".")[0]: told for where, told in faults.items() if where.startswith(ahead)}


# -- simulations ---------------------------------------------------------------------------------------------------
@admin.register(Simulation)
class SimulationAdmin(Viewed):
    """What a policy would have made of what was ruled, while it is found and after."""

    list_display = ["title", "status_shown", "policy_shown", "asked_by", "since", "until", "seen", "created_at"]
    list_filter = ["status"]
    list_select_related = ["policy", "asked_by"]
    sortable_by: tuple[str, ...] = ()

    def change_view(self, request: HttpRequest, object_id: str, *args: Any, **kwargs: Any) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        simulation = self.get_object(request, object_id)
        if simulation is None:
            raise Http404
        if request.method == "POST":
            return self._cancel(request, simulation)
        tally, value = simulation.found(), simulation.value()
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": str(simulation).capitalize(),
            "simulation": simulation,
            "tally": tally,
            "tables": [
                ("By rule", as_lines(tally.flips_by_rule)),
                ("By tool", as_lines(tally.flips_by_tool)),
                ("By agent", as_lines(tally.flips_by_agent)),
            ],
            "treatments": [
                (word, tally.was.get(word, 0), tally.would_be.get(word, 0))
                for word in sorted({*tally.was, *tally.would_be})
            ],
            "unmatched": tally.without_match(value) if not simulation.is_open else [],
            "may_change": holds(request, "tools.change_policy"),
        }
        part = "admin/runs/simulation/_found.html" if "part" in request.GET else "admin/runs/simulation/page.html"
        return TemplateResponse(request, part, context)

    def _cancel(self, request: HttpRequest, simulation: Simulation) -> HttpResponse:
        if not holds(request, "tools.change_policy"):
            raise PermissionDenied
        try:
            simulating.cancel(simulation, by=who(request))
        except NotPossible as refusal:
            self.message_user(request, str(refusal), messages.WARNING)
        return HttpResponseRedirect(row_url(simulation))

    @admin.display(description="simulation")
    def title(self, row: Simulation) -> str:
        return short(str(row))

    @display(description="status", label=COLOURS)
    def status_shown(self, row: Simulation) -> str:
        return row.status

    @admin.display(description="policy")
    def policy_shown(self, row: Simulation) -> str:
        return row_link(row.policy)
