"""What every page of the site shows around its content."""

from typing import Any

from django import template

from approvals.models import ApprovalRequest
from orchestrator_site.admin_navigation import is_demo_model
from runs import access
from runs.models import Run, Switch, ToolCall

register = template.Library()


@register.inclusion_tag("_nav.html", takes_context=True)
def site_nav(context: template.Context) -> dict[str, Any]:
    """The navigation with its counts: two queries."""
    request = context["request"]
    user = request.user
    return {
        "user": user,
        "path": request.path,
        "approvals": ApprovalRequest.objects.decidable_by(user).leading().count(),
        "uncertain": ToolCall.objects.uncertain().filter(dispatch__run__in=Run.objects.visible_to(user)).count(),
        "may_look_after": access.may_look_after(user),
        "csrf_token": context.get("csrf_token"),
    }


@register.simple_tag
def demo_model() -> bool:
    """Whether model replies come from the bundled demo model server."""
    return is_demo_model()


@register.inclusion_tag("site/_switches_banner.html", takes_context=True)
def switches_banner(context: template.Context) -> dict[str, Any]:
    """What is stopped just now, for those who look after the installation."""
    user = context["request"].user
    return {"thrown": list(Switch.objects.thrown()) if access.may_look_after(user) else []}
