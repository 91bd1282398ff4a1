"""The OpenAPI description: valid, complete, and read without asking anybody outside."""

import re
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from drf_spectacular.generators import SchemaGenerator

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def described() -> dict[str, Any]:
    return SchemaGenerator().get_schema(request=None, public=True)


def operations(described: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [
        (f"{method.upper()} {path}", operation)
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
    ]


def test_it_is_valid_and_without_a_warning():
    call_command("spectacular", validate=True, fail_on_warn=True, stdout=StringIO(), stderr=StringIO())


def test_every_operation_says_what_it_does_and_what_can_go_wrong(described: dict[str, Any]):
    for name, operation in operations(described):
        assert len(operation.get("description", "").split("\n")[0]) > 10, name
        if "/health/" in name:
            continue
        assert re.search(r"Scope: `\w+:\w+`", operation["description"]), name
        for status in ("401", "403", "503"):
            assert list(operation["responses"][status]["content"]) == ["application/problem+json"], (name, status)


def test_every_post_tells_of_its_key_and_the_main_ones_show_an_example(described: dict[str, Any]):
    posts = {name: operation for name, operation in operations(described) if name.startswith("POST")}
    for name, operation in posts.items():
        assert "Idempotency-Key" in [parameter["name"] for parameter in operation["parameters"]], name

    with_examples = {
        name
        for name, operation in posts.items()
        if any("examples" in each for each in operation.get("requestBody", {"content": {}})["content"].values())
    }
    assert {
        "POST /api/v1/runs/",
        "POST /api/v1/approvals/{request_id}/decide/",
        "POST /api/v1/agents/",
    } <= with_examples


def test_what_has_a_default_may_be_left_out(described: dict[str, Any]):
    manifest = described["components"]["schemas"]["ManifestSpec"]

    assert set(manifest["required"]) == {"title", "owns", "system_prompt", "models"}


def test_lists_are_described_as_pages(described: dict[str, Any]):
    body = described["paths"]["/api/v1/runs/"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]

    assert body["$ref"].endswith("PaginatedRunList")


def test_the_page_of_it_asks_nobody_outside():
    page = Client().get("/api/v1/docs/").content.decode()

    addresses = re.findall(r"""(?:src|href)=["']([^"']+)""", page)
    assert addresses
    assert not [address for address in addresses if address.startswith(("http", "//"))]
    assert not re.findall(r"https?://(?!testserver)", page)


def test_the_schema_is_served():
    answer = Client().get("/api/v1/schema/")

    assert answer.status_code == 200
    assert b"openapi: 3.1.0" in answer.content
