"""The ground under every room's API: one view class, and one way to page."""

from collections.abc import Mapping
from typing import Any, ClassVar

from django.db.models import QuerySet
from rest_framework.pagination import CursorPagination
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer, Serializer
from rest_framework.views import APIView

from orchestrator_site.core.permissions import Access, MayAccess


class Endpoint(APIView):
    """A view of the API. `access` says, for each method, what it needs."""

    access: ClassVar[Mapping[str, Access]]
    permission_classes = [MayAccess]
    http_method_names = ["get", "head", "post", "patch"]

    def posted(self, shape: type[Serializer]) -> dict[str, Any]:
        """The body, checked against its shape."""
        body = shape(data=self.request.data)
        body.is_valid(raise_exception=True)
        return body.validated_data

    def asked(self, shape: type[Serializer]) -> dict[str, Any]:
        """The query parameters, checked against their shape: a mistyped filter is an error, not a wider answer."""
        query = shape(data=self.request.query_params.dict())
        query.is_valid(raise_exception=True)
        return query.validated_data


class Page(CursorPagination):
    """`{next, previous, results}`, newest first unless the view says otherwise."""

    page_size = 50
    page_size_query_param = "limit"
    max_page_size = 200
    ordering: tuple[str, ...] = ("-created_at", "-pk")

    def __init__(self, *ordering: str) -> None:
        self.ordering = ordering or self.ordering

    def answer(self, rows: QuerySet, view: APIView, shape: type[BaseSerializer]) -> Response:
        """One page of `rows`, which are cut to what the user may see already."""
        page = self.paginate_queryset(rows, view.request, view=view)
        return self.get_paginated_response(shape(page, many=True).data)


class Listing(Endpoint):
    """An endpoint whose GET answers with pages."""

    pagination_class = Page
