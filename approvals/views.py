"""The queue, a request's own page, and the one door by which a person at a browser decides."""

from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_GET, require_POST

from approvals import batches, decisions, edits, presentation, quorum, standing, standing_form, states
from approvals.errors import AlreadyDecided, DeadlinePassed, DigestMismatch, NotAllowedToDecide, NotDecided
from approvals.models import MAY_DECIDE, SESSION, ApprovalRequest, ApprovalRequestQuerySet
from approvals.presentation import PAGE, QUEUE, RUN, Card

LONGEST_QUEUE = 200
DECIDED_SHOWN = 50
# Long texts that a line of the queue does not show.
_NOT_IN_LIST = ("frozen", "edited_frozen", "reasoning", "reasons")
_STATUS = {AlreadyDecided: 409, DeadlinePassed: 409, DigestMismatch: 409, NotAllowedToDecide: 403}


@require_GET
@login_required(login_url="login")
def queue(request: HttpRequest) -> HttpResponse:
    """`?show=mine|open|decided`, `?selected=<id>`; `?part=1` answers with the parts that change, and then `keep=<id>`
    is the card on the screen, which must not change under a person's hands."""
    chosen = request.GET.get("selected")
    return _queue_page(
        request, _shown(request.GET.get("show")), chosen or request.GET.get("keep"), is_chosen=bool(chosen)
    )


@require_GET
@login_required(login_url="login")
def page(request: HttpRequest, request_id: UUID) -> HttpResponse:
    card = presentation.card(_visible(request, request_id), request.user, alone="alone" in request.GET)
    return _own_page(request, card)


@require_POST
@login_required(login_url="login")
def decide(request: HttpRequest, request_id: UUID) -> HttpResponse:
    """Parse, call the verb, go on to the next one; a fault shows the same form with what was typed."""
    asked = _visible(request, request_id)
    following = _following(request, asked) if request.POST.get("origin") == QUEUE else None
    try:
        outcome = _decide(request, asked)
    except NotDecided as error:
        return _not_decided(request, request_id, error)
    if outcome.successor is not None:
        messages.info(request, "Your change needs another person, who is asked now.")
    elif outcome.decision is None:
        messages.info(request, f"Your approval is kept; it needs {asked.approvers} people: {asked.title}")
    else:
        what = f"{outcome.calls} calls of the same tool" if outcome.calls > 1 else asked.title
        messages.success(request, f"{outcome.decision.verdict.capitalize()}: {what}")
    return _onwards(request, request_id, following)


@require_POST
@login_required(login_url="login")
def split(request: HttpRequest, request_id: UUID) -> HttpResponse:
    """Decide one by one what is asked together, or, with `only`, take this one out; then on to its own page."""
    asked, only = _visible(request, request_id), "only" in request.POST
    try:
        batches.split(asked.pk, by=request.user, via=SESSION, all_of_it=not only)  # type: ignore[arg-type]
    except NotDecided as error:
        return _not_decided(request, request_id, error)
    messages.info(request, "It is decided alone now." if only else "Each of them is decided alone now.")
    return _onwards(request, request_id, request_id)


@require_GET
@login_required(login_url="login")
def standing_list(request: HttpRequest) -> HttpResponse:
    """What was approved beforehand: what is active first, then what ended lately."""
    if not standing.may_see(request.user):
        raise Http404
    rows = standing.visible_to(request.user).select_related("decision__request")
    context = {
        "title": "Standing approvals",
        "active": presentation.standing_cards(rows.active().order_by("-pk")[:LONGEST_QUEUE]),
        "ended": presentation.standing_cards(rows.ended().order_by("-pk")[:DECIDED_SHOWN]),
        "may_revoke": request.user.has_perm(MAY_DECIDE),
        "content": "approvals/_standing.html",
    }
    return render(request, _layout(request, "approvals/standing.html"), context)


@require_POST
@login_required(login_url="login")
def revoke(request: HttpRequest, standing_id: int) -> HttpResponse:
    get_object_or_404(standing.visible_to(request.user), pk=standing_id)
    try:
        ended = standing.revoke(standing_id, by=request.user, via=SESSION, reason=request.POST.get("reason", ""))  # type: ignore[arg-type]
    except NotDecided as error:
        messages.error(request, str(error))
    else:
        messages.success(request, f"Standing approval {ended.pk} covers nothing any more.")
    return redirect("approvals:standing")


def _decide(request: HttpRequest, asked: ApprovalRequest) -> decisions.Outcome:
    posted = request.POST
    verdict = posted.get("verdict", "")
    return decisions.decide(
        asked.pk,
        by=request.user,  # type: ignore[arg-type]
        verdict=verdict,
        digest=posted.get("digest", ""),
        via=SESSION,
        edit=edits.read(posted) if verdict == states.MODIFIED else None,
        answer=posted.get("answer") if verdict == states.ANSWERED else None,
        reason=posted.get("reason", ""),
        stop=posted.get("stop") == "yes",
        override=posted.get("override") == "yes",
        standing=standing_form.read(posted.dict()) if posted.get("standing") == "yes" else None,  # type: ignore[arg-type]
    )


def _not_decided(request: HttpRequest, request_id: UUID, error: NotDecided) -> HttpResponse:
    """Read again: who was first is told by the card itself."""
    asked = _visible(request, request_id)
    typed = {key: value for key, value in request.POST.items() if isinstance(value, str)}
    origin = request.POST.get("origin", PAGE)
    told = str(error)
    if isinstance(error, AlreadyDecided):
        told = f"{presentation.told(error.decision)} Your decision was not needed, and changed nothing."
    card = presentation.card(asked, request.user, origin=origin, fault=told, typed=typed)
    status = _STATUS.get(type(error), 422)
    if origin == QUEUE:
        return _queue_page(request, _shown(request.POST.get("show")), str(request_id), card=card, status=status)
    return _own_page(request, card, status=status)


def _onwards(request: HttpRequest, request_id: UUID, following: UUID | None) -> HttpResponseRedirect:
    if request.POST.get("origin") == QUEUE:
        show = _shown(request.POST.get("show"))
        selected = f"&selected={following}" if following else ""
        return redirect(f"{reverse('approvals:queue')}?show={show}{selected}")
    back = request.POST.get("back", "")
    if request.POST.get("origin") == RUN and url_has_allowed_host_and_scheme(back, allowed_hosts={request.get_host()}):
        return redirect(back)
    return redirect("approvals:page", request_id)


def _following(request: HttpRequest, asked: ApprovalRequest) -> UUID | None:
    """Asked before the decision, while the request still has its place in the queue."""
    rows = _rows(request, _shown(request.POST.get("show"))).values_list("pk", flat=True)[:LONGEST_QUEUE]
    return presentation.next_after(rows, asked.pk)


def _shown(value: str | None) -> str:
    return value if value in ("open", "decided") else "mine"


def _rows(request: HttpRequest, show: str) -> ApprovalRequestQuerySet:
    visible = ApprovalRequest.objects.visible_to(request.user)
    match show:
        case "decided":
            return visible.closed().order_by("-decided_at")
        case "open":
            return visible.open().leading().with_calls().in_queue_order()
        case _:
            return ApprovalRequest.objects.decidable_by(request.user).leading().with_calls().in_queue_order()


def _visible(request: HttpRequest, request_id: UUID | str) -> ApprovalRequest:
    rows = ApprovalRequest.objects.visible_to(request.user)
    return get_object_or_404(rows.select_related("requester", "decision__by", "successor"), pk=request_id)


def _queue_page(
    request: HttpRequest,
    show: str,
    selected: str | None,
    *,
    is_chosen: bool = True,
    card: Card | None = None,
    status: int = 200,
) -> HttpResponse:
    limit = DECIDED_SHOWN if show == "decided" else LONGEST_QUEUE
    rows = list(_rows(request, show).select_related("requester").defer(*_NOT_IN_LIST)[:limit])
    quorum.fetch(rows)
    if card is None and (chosen := _chosen(selected) or (rows[0].pk if rows else None)):
        card = presentation.card(_visible(request, chosen), request.user, origin=QUEUE)
    context = {
        "title": "Approvals",
        "rows": rows,
        "show": show,
        "card": card,
        "is_chosen": is_chosen,
        "shows": [("mine", "For you"), ("open", "All open"), ("decided", "Decided")],
        "content": "approvals/_queue.html",
    }
    return render(request, _layout(request, "approvals/queue.html"), context, status=status)


def _chosen(selected: str | None) -> UUID | None:
    try:
        return UUID(selected) if selected else None
    except ValueError:
        return None


def _own_page(request: HttpRequest, card: Card, *, status: int = 200) -> HttpResponse:
    context = {"title": card.request.title, "card": card, "content": "approvals/_page.html"}
    return render(request, _layout(request, "approvals/page.html"), context, status=status)


def _layout(request: HttpRequest, whole: str) -> str:
    """The whole page, or the parts of it that the page's script puts in place."""
    return "part.html" if "part" in request.GET else whole
