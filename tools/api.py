"""The tools' API: what there is, and the live switches."""

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from orchestrator_site.core.api import Endpoint, Listing, Page
from orchestrator_site.core.permissions import Access, person
from orchestrator_site.core.problems import invalid
from tools import registry
from tools.definitions import InvalidDefinition
from tools.models import Tool
from tools.serializers import SwitchesBody, ToolQuery, ToolSerializer

READ = Access("tools:read", "tools.view_tool")


class Tools(Listing):
    access = {"GET": READ}

    @extend_schema(
        operation_id="tools_list", parameters=[ToolQuery], responses=ToolSerializer(many=True), tags=["tools"]
    )
    def get(self, request: Request) -> Response:
        """The tools of the registry with their current versions, by name. The platform's own tools have no rows."""
        tools = Tool.objects.select_related("current")
        if (enabled := self.asked(ToolQuery)["enabled"]) is not None:
            tools = tools.filter(enabled=enabled)
        return Page("name").answer(tools, self, ToolSerializer)


class OneTool(Endpoint):
    access = {"GET": READ, "PATCH": Access("tools:write", "tools.change_tool")}

    @extend_schema(operation_id="tools_retrieve", responses=ToolSerializer, tags=["tools"])
    def get(self, request: Request, name: str) -> Response:
        """One tool with its current version."""
        return Response(ToolSerializer(_tool(name)).data)

    @extend_schema(operation_id="tools_switch", request=SwitchesBody, responses=ToolSerializer, tags=["tools"])
    def patch(self, request: Request, name: str) -> Response:
        """Set `enabled`, `risk`, `confirmation`, `family`, `brings` or `sinks`. It bites at the very next call, also of
        running dispatches."""
        tool = _tool(name)
        try:
            registry.switch(tool, by=person(request), **self.posted(SwitchesBody))
        except InvalidDefinition as fault:
            raise invalid(fault.faults) from fault
        return Response(ToolSerializer(_tool(name)).data)


def _tool(name: str) -> Tool:
    return get_object_or_404(Tool.objects.select_related("current"), name=name)
