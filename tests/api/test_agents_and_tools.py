from typing import Any

import pytest

from agents import manifests, roster
from agents.models import Agent, WorkerRoster
from orchestrator_site.core import canonical
from orchestrator_site.core.models import Event
from tests.agents import cast as agents_cast
from tests.api import cast
from tests.api.cast import Caller, Scene

pytestmark = pytest.mark.django_db

MANIFEST = agents_cast.spec().model_dump(mode="json")


def errors(answer: Any, status: int) -> dict[str, str]:
    assert answer.status_code == status, answer.content
    return {each["field"]: each["detail"] for each in answer.json()["errors"]}


def test_an_agent_is_drafted_published_changed_and_rolled_back(operator: Caller, scene: Scene):
    made = operator.post("/agents/", MANIFEST | {"slug": "returns"})
    assert (made.status_code, made.json()["number"], made.json()["is_draft"]) == (201, 1, True)
    assert operator.get("/agents/returns/").json()["published"] is None

    published = operator.post("/agents/returns/publish/").json()
    assert published["published"]["published_by"] == "ola"

    second = operator.post("/agents/returns/versions/", MANIFEST | {"title": "Returns"})
    assert (second.status_code, second.json()["number"]) == (201, 2)
    assert second["Location"].endswith("/agents/returns/versions/")
    assert operator.get("/agents/returns/").json()["published"]["number"] == 1

    assert operator.post("/agents/returns/publish/", {"number": 2}).json()["published"]["title"] == "Returns"
    assert operator.post("/agents/returns/rollback/", {"number": 1}).json()["published"]["number"] == 1
    versions = operator.get("/agents/returns/versions/").json()["results"]
    assert [(each["number"], each["is_draft"]) for each in versions] == [(2, False), (1, False)]


def test_retired_and_reinstated(operator: Caller, scene: Scene):
    assert operator.post("/agents/order-desk/retire/").json()["active"] is False
    assert operator.get("/agents/", active="false").json()["results"][0]["slug"] == "order-desk"
    assert operator.post("/agents/order-desk/reinstate/").json()["active"] is True
    assert operator.get("/agents/", active="false").json()["results"] == []


def test_who_did_it_stands_in_the_platform_chain(operator: Caller, scene: Scene):
    operator.post("/agents/order-desk/retire/")

    assert Event.objects.get(type="agent_retired").actor == "user:ola"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"slug": "Not A Slug"}, "slug"),
        ({"slug": "x" * 60}, "slug"),
        ({"nope": 1}, "nope"),
        ({"models": []}, "models"),
        ({"kind": "boss"}, "kind"),
    ],
)
def test_a_wrong_draft_names_the_field(operator: Caller, scene: Scene, change: dict[str, Any], field: str):
    assert list(errors(operator.post("/agents/", {"slug": "new"} | MANIFEST | change), 400)) == [field]


def test_a_taken_slug_points_to_its_versions(operator: Caller, scene: Scene):
    answer = operator.post("/agents/", MANIFEST | {"slug": "order-desk"})

    assert answer.status_code == 409
    assert "versions/" in answer.json()["detail"]


def test_what_stands_in_the_way_of_publishing_is_listed(operator: Caller, scene: Scene):
    manifests.draft("order-desk", agents_cast.spec(models=("smal",), title=" "), by=None)

    told = errors(operator.post("/agents/order-desk/publish/"), 422)

    assert set(told) == {"title", "models.0"}
    assert "'small'" in told["models.0"]


def test_versions_that_are_not_there_or_not_fit(operator: Caller, scene: Scene):
    assert operator.post("/agents/order-desk/publish/").status_code == 404
    assert operator.post("/agents/order-desk/publish/", {"number": 9}).status_code == 404
    assert operator.post("/agents/order-desk/publish/", {"number": 1}).status_code == 409
    assert operator.post("/agents/order-desk/rollback/", {"number": 9}).status_code == 404
    assert operator.post("/agents/order-desk/rollback/").status_code == 400
    manifests.draft("order-desk", agents_cast.spec(), by=None)
    assert operator.post("/agents/order-desk/rollback/", {"number": 2}).status_code == 409
    assert operator.post("/agents/nobody/publish/").status_code == 404


def test_the_roster_tells_who_is_behind(operator: Caller, scene: Scene):
    epoch = roster.database_epoch()
    WorkerRoster.objects.create(worker="w1", host="h", pid=1, epoch=epoch)
    WorkerRoster.objects.create(worker="w2", host="h", pid=2, epoch=epoch - 3, error="order-desk: cannot be read")

    told = operator.get("/roster/").json()

    assert told["epoch"] == epoch
    assert [(each["slug"], each["manifest"], each["models"]) for each in told["agents"]] == [
        ("order-desk", 1, ["small"])
    ]
    assert [(each["worker"], each["lag"]) for each in told["workers"]] == [("w1", 0), ("w2", 3)]
    assert told["workers"][1]["error"].startswith("order-desk")
    assert told["errors"] == {}


def test_the_roster_follows_a_change_at_once(operator: Caller, scene: Scene):
    operator.get("/roster/")
    operator.post("/agents/order-desk/retire/")

    assert operator.get("/roster/").json()["agents"] == []


def test_an_unreadable_manifest_is_shown(operator: Caller, scene: Scene):
    agents_cast.write_garbage("broken")

    assert "cannot be read" in operator.get("/roster/").json()["errors"]["broken"]


def test_the_catalogue_tells_no_credential(operator: Caller, scene: Scene):
    agents_cast.entry("keyed", credential="env:SOME_KEY")

    answer = operator.get("/models/")

    assert [each["name"] for each in answer.json()["results"]] == ["keyed", "small"]
    assert "SOME_KEY" not in answer.content.decode()


# Tools


def test_a_tool_shows_its_current_version(operator: Caller, scene: Scene):
    told = operator.get("/tools/refund/").json()

    assert (told["enabled"], told["risk"], told["current"]["number"], told["current"]["effect"]) == (
        True,
        "high",
        1,
        "unsafe",
    )
    assert operator.get("/tools/nothing/").status_code == 404


def test_a_switch_is_set_and_told_with_what_was_before(operator: Caller, scene: Scene):
    answer = operator.patch("/tools/refund/", {"enabled": False, "risk": "critical"})

    assert (answer.json()["enabled"], answer.json()["risk"]) == (False, "critical")
    event = Event.objects.filter(type="tool_switched").get()
    assert event.actor == "user:ola"
    assert canonical.loads(event.data)["before"] == {"enabled": "True", "risk": "high"}
    assert operator.get("/tools/", enabled="false").json()["results"][0]["name"] == "refund"
    assert operator.get("/tools/", enabled="true").json()["results"] == []


@pytest.mark.parametrize("body", [{}, {"risk": "none"}, {"name": "other"}, {"effect": "pure"}])
def test_only_the_switches_can_be_set(operator: Caller, scene: Scene, body: dict[str, Any]):
    assert operator.patch("/tools/refund/", body).status_code == 400
    assert not Event.objects.filter(type="tool_switched").exists()


def test_slugs_in_addresses_are_found_as_they_are(operator: Caller, scene: Scene):
    assert cast.define_tool("Refund_Order-2").name == "Refund_Order-2"
    assert operator.get("/tools/Refund_Order-2/").status_code == 200
    assert Agent.objects.count() == 1
