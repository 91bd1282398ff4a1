"""The API of kill switches and circuit breakers."""

from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from orchestrator_site.core.api import Endpoint
from orchestrator_site.core.idempotency import idempotent
from orchestrator_site.core.permissions import Access, person
from orchestrator_site.core.problems import invalid
from runs.errors import BadRequest
from runs.models.pacing import MAY_MOVE_BREAKERS, MAY_THROW, Breaker, Switch
from runs.pacing import breakers, switches
from runs.pacing.serializers import BreakerBody, BreakerSerializer, SwitchBody, SwitchSerializer


class Switches(Endpoint):
    access = {"GET": Access("switches:read", "runs.view_switch"), "POST": Access("switches:write", MAY_THROW)}

    @extend_schema(operation_id="switches_list", responses=SwitchSerializer(many=True), tags=["switches"])
    def get(self, request: Request) -> Response:
        """Every kill switch that was ever thrown; those that are thrown now come first."""
        return Response(SwitchSerializer(Switch.objects.all(), many=True).data)

    @extend_schema(
        operation_id="switches_move",
        request=SwitchBody,
        responses=SwitchSerializer,
        tags=["switches"],
        examples=[
            OpenApiExample("stop everything", {"scope": "all", "on": True, "reason": "Prices are wrong."}),
            OpenApiExample("go on with a tool", {"scope": "tool", "name": "refund", "on": False}),
        ],
    )
    @idempotent
    def post(self, request: Request) -> Response:
        """Throw or release a kill switch; moving it to where it is changes nothing.

        When a throw is answered, nothing of what it names is begun any more. What was sent before comes to its end.
        """
        body = self.posted(SwitchBody)
        move = switches.throw if body.pop("on") else switches.release
        try:
            moved = move(body.pop("scope"), body.pop("name"), by=person(request), **body)
        except BadRequest as error:
            raise invalid(error.faults) from None
        return Response(SwitchSerializer(moved).data)


class Breakers(Endpoint):
    access = {"GET": Access("breakers:read", "runs.view_breaker"), "POST": Access("breakers:write", MAY_MOVE_BREAKERS)}

    @extend_schema(operation_id="breakers_list", responses=BreakerSerializer(many=True), tags=["breakers"])
    def get(self, request: Request) -> Response:
        """Every circuit breaker that ever counted a failure, or was opened by a person."""
        return Response(BreakerSerializer(Breaker.objects.all(), many=True).data)

    @extend_schema(
        operation_id="breakers_move",
        request=BreakerBody,
        responses=BreakerSerializer,
        tags=["breakers"],
        examples=[
            OpenApiExample(
                "leave a model alone",
                {"kind": "model", "name": "claude", "open": True, "reason": "It is being moved."},
            )
        ],
    )
    @idempotent
    def post(self, request: Request) -> Response:
        """Open or close a circuit breaker. One that is opened so stays open until a person closes it."""
        body = self.posted(BreakerBody)
        move = breakers.hold_open if body.pop("open") else breakers.close
        try:
            moved = move(body["kind"], body["name"], by=person(request), reason=body["reason"])
        except BadRequest as error:
            raise invalid(error.faults) from None
        return Response(BreakerSerializer(moved).data)
