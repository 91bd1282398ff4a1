"""How the API is described: what every operation has in common is added here, once."""

from typing import Any

from drf_spectacular.contrib.pydantic import PydanticExtension
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import ResolvedComponent
from drf_spectacular.utils import OpenApiParameter

from orchestrator_site.core import idempotency
from orchestrator_site.core.api import Endpoint
from orchestrator_site.core.problems import MEDIA_TYPE
from orchestrator_site.core.serializers import ProblemSerializer


class BatonSchema(AutoSchema):
    """Adds to every operation its scope, its problems and, for a POST, the idempotency key."""

    def get_description(self) -> str:  # type: ignore[override]
        access = getattr(self.view, "access", {}).get(self.method)
        description = super().get_description() or ""
        return f"{description}\n\nScope: `{access.scope}`." if access else description

    def get_override_parameters(self) -> list[Any]:
        handler = getattr(self.view, self.method.lower(), None)
        if not getattr(handler, "is_idempotent", False):
            return []
        return [
            OpenApiParameter(
                idempotency.HEADER,
                str,
                OpenApiParameter.HEADER,
                description="Send it again with the same body, and you get the same answer and no second effect. "
                "Kept for a day for each user and path; another body under the same key is a 422.",
            )
        ]

    def _get_response_bodies(self, direction: Any = "response") -> dict[str, Any]:
        bodies = super()._get_response_bodies(direction)
        if not isinstance(self.view, Endpoint):
            return bodies
        for status, description in self._problems().items():
            body = self._get_response_for_code(ProblemSerializer, status, [MEDIA_TYPE])
            bodies.setdefault(status, {**body, "description": description})
        return dict(sorted(bodies.items()))

    def _problems(self) -> dict[str, str]:
        told = {
            "400": "A field or parameter is wrong or unknown; `errors` names each.",
            "401": "No token, or one that is unknown, expired or revoked.",
            "403": "The token lacks the scope, or the user the permission.",
            "503": "The database does not answer.",
        }
        if "{" in self.path:
            told["404"] = "There is nothing here that you may see."
        if self.method in ("POST", "PATCH"):
            told["409"] = "It does not fit the state the row is in, or a request with this key is still at work."
            told["415"] = "The body is not application/json."
            told["422"] = "It was understood and cannot be done, or the key was used with another body."
        return told


class BodyOfModel(PydanticExtension):
    """A pydantic model as a request's body: what has a default may be left out."""

    priority = 1

    def map_serializer(self, auto_schema: AutoSchema, direction: str) -> dict[str, Any]:
        schema = self.target.model_json_schema(ref_template="#/components/schemas/{model}", mode="validation")
        for name, inner in schema.pop("$defs", {}).items():
            component = ResolvedComponent(name=name, type=ResolvedComponent.SCHEMA, object=name, schema=inner)
            auto_schema.registry.register_on_missing(component)
        return schema


class TokenScheme(OpenApiAuthenticationExtension):
    target_class = "orchestrator_site.core.tokens.TokenAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "description": "`manage.py create_token USER --scope runs:write`"}
