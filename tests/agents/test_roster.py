import pytest
from django.db import connection, transaction

from agents import manifests, roster
from agents.models import Agent, ModelEntry, OrderingRule, RosterEpoch
from agents.values import AgentKind
from tests.agents.cast import agent, at_work, entry, spec, write_garbage
from tools.models import Tool, ToolVersion


@pytest.fixture(autouse=True)
def _a_fresh_memory():
    roster.forget()
    yield
    roster.forget()


def committed(slug: str, **changes) -> None:
    """Published in a transaction of its own, as another process would do it."""
    if not ModelEntry.objects.exists():
        entry()
    at_work(slug, **changes)


# What is on it


@pytest.mark.django_db
def test_only_active_agents_with_a_published_manifest_are_on_it(small_model):
    at_work("order-desk", owns="orders")
    at_work("pensioner")
    manifests.retire(agent("pensioner"), by=None)
    manifests.draft("newcomer", spec(), by=None)

    served = roster.current()

    assert list(served.entries) == ["order-desk"]
    assert served.entries["order-desk"].owns == "orders"
    assert served.entry("pensioner") is None


@pytest.mark.django_db
def test_ordering_rules_are_on_it():
    design, build = Agent.objects.create(slug="design"), Agent.objects.create(slug="build")
    OrderingRule.objects.create(before=design, after=build, reason="drawings come first")

    assert roster.current().rules == (roster.Rule("design", "build", "drawings come first"),)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("kind", "required"), [(AgentKind.ROUTER, ["task", "confidence"]), (AgentKind.SUPERVISOR, ["task"])]
)
def test_those_who_dispatch_are_offered_everybody_else_in_a_stable_order(small_model, kind, required):
    for slug in ("order-desk", "courier", "lead"):
        at_work(slug, owns=f"what {slug} does")

    tools = roster.current().dispatch_tools(spec(kind=kind), "lead")

    assert [tool["name"] for tool in tools] == ["dispatch_to_courier", "dispatch_to_order_desk"]
    assert "what courier does" in tools[0]["description"]
    assert tools[0]["input_schema"]["required"] == required


@pytest.mark.django_db
def test_a_worker_is_offered_nobody(small_model):
    at_work("order-desk")

    assert roster.current().dispatch_tools(spec()) == []


@pytest.mark.parametrize("slug", ["order-desk", "a", "a-1-b", "x" * 50])
def test_a_tool_name_leads_back_to_its_slug_and_fits_the_providers_limit(slug):
    name = roster.dispatch_tool_name(slug)

    assert roster.slug_of(name) == slug
    assert len(name) <= 64
    assert roster.slug_of("refund") is None


# How it stays true


@pytest.mark.django_db(transaction=True)
def test_a_change_whose_signal_was_missed_is_noticed_by_the_epoch_a_dispatch_names():
    committed("order-desk")
    before = roster.current()
    committed("courier")

    assert roster.current() is before
    after = roster.current(min_epoch=roster.database_epoch())

    assert sorted(after.entries) == ["courier", "order-desk"]
    assert after.epoch > before.epoch
    assert roster.current(min_epoch=before.epoch) is after


@pytest.mark.django_db(transaction=True)
def test_a_manifest_that_cannot_be_read_leaves_the_last_good_one_at_work():
    committed("order-desk", title="Good")
    committed("courier")
    roster.current()
    write_garbage("order-desk")

    served = roster.current(min_epoch=roster.database_epoch())

    assert served.entries["order-desk"].spec.title == "Good"
    assert "version 2 cannot be read: models: Input should be a valid" in served.errors["order-desk"]
    assert served.entry("courier") is not None


@pytest.mark.django_db(transaction=True)
def test_without_a_good_one_in_memory_that_agent_alone_is_left_out():
    committed("order-desk")
    committed("courier")
    write_garbage("order-desk")

    served = roster.current()

    assert sorted(served.entries) == ["courier"]
    assert served.error_text().startswith("order-desk: version 2")


CHANGES = {
    "an agent": lambda: Agent.objects.create(slug="new"),
    "a manifest": lambda: manifests.draft("order-desk", spec(), by=None),
    "a model": lambda: ModelEntry.objects.get().save(),
    "a model gone": lambda: ModelEntry.objects.get().delete(),
    "a rule": lambda: OrderingRule.objects.create(before=agent("order-desk"), after=agent("courier"), reason=""),
    "a tool": lambda: Tool.objects.create(name="refund"),
    "a tool switched off": lambda: Tool.objects.get(name="search").save(update_fields=["enabled"]),
    "a tool version": lambda: ToolVersion.objects.create(
        tool=Tool.objects.get(name="search"), number=1, description="", input_schema={}, executor="python"
    ),
}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("change", CHANGES.values(), ids=list(CHANGES))
def test_every_change_of_what_is_served_bumps_the_epoch(change):
    committed("order-desk")
    committed("courier")
    Tool.objects.create(name="search")
    before = roster.database_epoch()

    change()

    assert roster.database_epoch() > before


@pytest.mark.django_db(transaction=True)
def test_many_changes_in_one_transaction_are_one_bump_and_one_signal():
    roster.bump()
    before = roster.database_epoch()

    with transaction.atomic():
        for number in range(5):
            Agent.objects.create(slug=f"agent-{number}")

    assert roster.database_epoch() == before + 1


@pytest.mark.django_db(transaction=True)
def test_a_rolled_back_change_leaves_no_bump():
    roster.bump()
    before = roster.database_epoch()

    with transaction.atomic():
        Agent.objects.create(slug="ghost")
        transaction.set_rollback(True)

    assert roster.database_epoch() == before


@pytest.mark.django_db(transaction=True)
def test_a_change_after_a_rolled_back_savepoint_is_still_announced():
    roster.bump()
    before = roster.database_epoch()

    with transaction.atomic():
        with transaction.atomic():
            Agent.objects.create(slug="ghost")
            transaction.set_rollback(True)
        Agent.objects.create(slug="real")

    assert roster.database_epoch() == before + 1


@pytest.mark.django_db(transaction=True)
def test_what_a_transaction_sees_of_its_own_changes_is_kept_by_nobody():
    committed("order-desk")
    before = roster.current()

    with transaction.atomic():
        at_work("ghost")
        assert roster.current().entry("ghost")
        transaction.set_rollback(True)

    assert roster.current(min_epoch=roster.database_epoch()) is before


@pytest.mark.django_db
def test_a_lost_epoch_begins_ahead_of_every_epoch_that_was():
    roster.bump()
    before = roster.database_epoch()
    RosterEpoch.objects.all().delete()

    assert RosterEpoch.objects.count() == 0
    # In the same transaction the bump would be coalesced with the first one.
    connection.run_on_commit.clear()
    assert roster.bump() > before
