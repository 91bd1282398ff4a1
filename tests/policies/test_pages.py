"""The admin's pages of policies: edited as rows, tried on the past and live, published by two people."""

import re

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from django.urls import reverse

from approvals.standing import Terms
from orchestrator_site.core import canonical, roles
from runs.models import Simulation
from runs.policies import shadows, simulating
from tests.admin import cast as admin_cast
from tests.api import cast as api
from tests.policies import cast
from tests.policies.cast import rule
from tests.runs import cast as runs_cast
from tools.matchers import Matcher
from tools.models import Policy, Tool
from tools.policies import versions

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("model")]

SMALL = rule("small", "notify", tool="pay_out", condition="double(args.amount) <= 50.0")
NO_PAYING = rule("no paying", "deny", tool="pay_out")


def client(user: User) -> Client:
    made = Client()
    made.force_login(user)
    return made


@pytest.fixture
def olga(db) -> User:
    cast.desk()
    return admin_cast.operator()


@pytest.fixture
def operating(olga: User) -> Client:
    return client(olga)


def url(policy: Policy) -> str:
    return reverse("admin:tools_policy_change", args=[policy.pk])


def form(**changes) -> dict:
    """A form with one rule and one window, as the page posts it, and an empty row of each below."""
    row = {
        **dict.fromkeys(["tool", "family", "agent", "app", "role", "effect", "risk", "label", "condition"], ""),
        "name": "small",
        "outcome": "notify",
        "window": "",
        "approvers": "1",
        "group": "",
        "expires_at": "",
        "says": "Small ones run.",
    }
    window = {
        "name": "office",
        "zone": "Europe/Berlin",
        "opens": "09:00",
        "closes": "17:00",
        "except_dates": "2026-12-24",
    }
    rules = {f"rule-{name}": [value, ""] for name, value in {**row, "tool": "pay_out"}.items()}
    rules |= {"rule-outcome": ["notify", "allow"], "rule-approvers": ["1", "1"]}
    windows = {f"window-{name}": [value, ""] for name, value in window.items()}
    named = {"verb": "save", "note": "Small ones.", "ask_from": "medium", "flow": "deny", "window-days-0": ["0", "4"]}
    return {**rules, **windows, **named, **changes}


def test_a_draft_is_saved_as_the_rows_say(operating, olga):
    draft = versions.draft(by=olga)

    answer = operating.post(url(draft), form(**{"rule-condition": ["double(args.amount) <= 50.0", ""]}), follow=True)

    value = Policy.objects.get(pk=draft.pk).value()
    assert answer.status_code == 200
    assert [each.name for each in value.rules] == ["small"]
    assert value.rules[0].condition == "double(args.amount) <= 50.0"
    assert value.windows["office"].days == {0, 4}
    assert (value.ask_from, value.flow) == ("medium", "deny")


def test_a_fault_stands_at_its_column_and_what_was_typed_stays(operating, olga):
    draft = versions.draft(by=olga)

    answer = operating.post(url(draft), form(**{"rule-condition": ["args.amount >", ""], "rule-group": ["nobody", ""]}))

    page = answer.content.decode()
    assert answer.status_code == 422
    assert "column 14: it ends where something is still to come" in page
    assert "Only a rule that asks has approvers." in page
    assert "args.amount &gt;" in page
    assert '<a href="#rule-0">rule “small”</a>' in page
    assert 'id="rule-0"' in page
    assert not Policy.objects.get(pk=draft.pk).rules.exists()


def test_rows_are_taken_out(operating, olga):
    draft = cast.draft(SMALL, NO_PAYING, by=olga)
    posted = form(**{"rule-out": ["0"], "window-out": ["0"]})

    operating.post(url(draft), posted)

    value = Policy.objects.get(pk=draft.pk).value()
    assert (value.rules, dict(value.windows)) == ((), {})


def test_a_shape_that_is_none_is_told_too(operating, olga):
    draft = versions.draft(by=olga)

    answer = operating.post(url(draft), form(**{"rule-approvers": ["12", "1"], "window-days-0": []}))

    assert answer.status_code == 422
    assert answer.content.decode().count("baton-fault") == 2
    assert "less than or equal to 9" in answer.content.decode()


def test_a_weaker_one_is_proposed_and_another_person_publishes_it(operating, olga):
    draft = cast.draft(SMALL, by=olga)
    page = operating.get(url(draft)).content.decode()
    assert "New: “small” (notify; tool pay_out where double(args.amount) &lt;= 50.0)." in page
    assert "Propose to publish" in page

    operating.post(url(draft), {"verb": "publish", "digest": digest(page)})
    alone = operating.post(url(draft), {"verb": "publish", "digest": digest(page)})
    oskar = client(admin_cast.person("oskar", roles.OPERATOR))
    home, asked = oskar.get("/").content.decode(), oskar.get(url(draft)).content.decode()
    oskar.post(url(draft), {"verb": "publish", "digest": digest(page)})

    assert alone.status_code == 422
    assert "another person publishes it" in alone.content.decode()
    assert "Policies that wait for a second person" in home
    assert "You may publish it." in asked
    assert "Policies that wait for a second person" not in operating.get("/").content.decode()
    assert versions.in_force().version == draft.version


def digest(page: str) -> str:
    found = re.search(r'name="digest" value="([0-9a-f]{64})"', page)
    assert found
    return found[1]


def test_what_was_changed_meanwhile_is_not_published(operating, olga):
    draft = cast.draft(NO_PAYING, by=olga)
    seen = digest(operating.get(url(draft)).content.decode())
    versions.rewrite(draft, cast.policy(SMALL), by=olga)

    answer = operating.post(url(draft), {"verb": "publish", "digest": seen})

    assert answer.status_code == 422
    assert Policy.objects.get(pk=draft.pk).status == "draft"


def test_who_may_not_publish_has_no_button_and_no_way_round(olga):
    draft = cast.draft(NO_PAYING, by=olga)
    auditing = client(admin_cast.auditor())

    page = auditing.get(url(draft)).content.decode()

    assert 'value="publish"' not in page
    for verb in ("publish", "save", "discard", "shadow_on", "draft", "simulate"):
        assert auditing.post(url(draft), {"verb": verb}).status_code == 403
    assert client(admin_cast.approver()).get(url(draft)).status_code == 403


def test_verbs_move_a_version(operating, olga):
    draft = cast.draft(SMALL, by=olga)

    for verb, status in (("publish", "proposed"), ("take_back", "draft"), ("discard", "discarded")):
        operating.post(url(draft), {"verb": verb, "digest": canonical.digest(versions.content(draft))})
        assert Policy.objects.get(pk=draft.pk).status == status
    operating.post(url(draft), {"verb": "draft"})
    assert Policy.objects.latest("number").based_on == draft
    assert operating.post(url(draft), {"verb": "shout"}).status_code == 404


def test_a_draft_is_made_from_the_list(operating):
    answer = operating.post(reverse("admin:tools_policy_add"), follow=True)

    assert "Policy 1" in answer.content.decode()
    assert operating.get(reverse("admin:tools_policy_changelist")).status_code == 200


def test_a_simulation_is_watched_and_stopped(operating, olga, ann):
    cast.paid(ann, 20, 70)
    draft = cast.draft(SMALL, by=olga)
    asked = operating.post(url(draft), {"verb": "simulate", "days": "7", "tool": "pay_out"})

    waiting = operating.get(asked["Location"]).content.decode()
    simulating.carry(Simulation.objects.get().pk)
    done = operating.get(asked["Location"]).content.decode()
    part = operating.get(asked["Location"] + "?part").content.decode()

    assert 'hx-get="?part"' in waiting
    assert "1 of 2 would be ruled otherwise" in done
    assert "20 more of pay_out.amount would run without a person" in done
    assert 'hx-get="?part"' not in done
    assert "<html" not in part
    assert str(runs_cast.Run.objects.latest("pk").pk) in done or str(runs_cast.Run.objects.earliest("pk").pk) in done
    assert operating.get(reverse("admin:runs_simulation_changelist")).status_code == 200


def test_a_draft_on_trial_says_what_it_would_have_changed(operating, olga, ann):
    draft = cast.draft(SMALL, by=olga)
    operating.post(url(draft), {"verb": "shadow_on"})
    runs = cast.paid(ann, 20, 70)

    told = shadows.report(Policy.objects.get(pk=draft.pk))
    page = operating.get(url(draft)).content.decode()

    assert (told.tried, told.otherwise) == (4, 1)
    assert told.by_rule == [{"name": "small", "was": "asks", "would_be": "runs and is told of", "count": 1}]
    assert [sample["run"] for sample in told.samples] == [str(runs[0].pk)]
    assert "otherwise on 1 of 4 calls" in page
    assert runs_cast.request_of(runs[0])  # without effect


@pytest.mark.parametrize(
    ("tried", "would_be"),
    [
        (cast.rule("who", "ask", tool="pay_out", approvers=2, group="finance"), "asks (2 of finance)"),
        (cast.rule("who", "ask", tool="pay_out", group="finance"), "asks (1 of finance)"),
    ],
)
def test_a_draft_on_trial_that_asks_others_would_have_changed_it(tried, would_be, operating, olga, ann):
    Group.objects.create(name="finance")
    for number in range(2):
        api.person(f"paying {number}", "finance")
    draft = cast.draft(tried, by=olga)
    operating.post(url(draft), {"verb": "shadow_on"})
    cast.paid(ann, 70)

    told = shadows.report(Policy.objects.get(pk=draft.pk))

    assert told.by_rule == [{"name": "who", "was": "asks", "would_be": would_be, "count": 1}]


def test_what_was_approved_beforehand_is_no_change_of_a_draft_that_asks_too(operating, olga, ann, bob):
    (run,) = cast.paid(ann, 70)
    beforehand = Terms(pattern={"amount": Matcher("at_most", ("90",)), "order": Matcher("any", ())}, uses_at_most=3)
    runs_cast.decide(runs_cast.request_of(run), bob, standing=beforehand)
    draft = cast.draft(cast.rule("ask too", "ask", tool="pay_out"), by=olga)
    operating.post(url(draft), {"verb": "shadow_on"})

    (second,) = cast.paid(ann, 70)
    told = shadows.report(Policy.objects.get(pk=draft.pk))

    assert second.status == "succeeded"
    assert (told.tried, told.otherwise) == (2, 0)


@pytest.mark.parametrize(
    "names_shop",
    [rule("shop", "deny", app="shop"), rule("shop", "ask", tool="pay_out", condition="caller.name == 'shop'")],
)
def test_a_user_whom_the_policy_in_force_names_keeps_the_name(names_shop, olga, bob):
    shop = api.person("shop", roles.APP)
    admin = client(User.objects.create_superuser("root", password="root"))
    page = reverse("admin:auth_user_change", args=[shop.pk])
    form = {"username": "kiosk", "is_active": "on", "date_joined_0": "2026-01-01", "date_joined_1": "00:00:00"}
    cast.in_force(names_shop, by=olga, second=bob)

    told = admin.post(page, form).content.decode()
    shop.username = "kiosk"
    with pytest.raises(ValueError, match="of the policy in force names 'shop'"):
        shop.save()
    shop.refresh_from_db()
    kept = shop.username
    cast.in_force(by=olga, second=bob)
    admin.post(page, form)
    shop.refresh_from_db()

    assert "of the policy in force names" in told
    assert (kept, shop.username) == ("shop", "kiosk")


def test_what_a_tool_brings_and_sinks_is_switched(operating):
    tool = Tool.objects.get(name="pay_out")
    page = reverse("admin:tools_tool_change", args=[tool.pk])
    same = {"enabled": "on", "risk": tool.risk, "confirmation": tool.confirmation, "family": "payments"}

    wrong = operating.post(page, {**same, "brings": ["untrusted"], "sinks": '{"iban": {"kind": "destination"}}'})
    operating.post(
        page, {**same, "brings": ["untrusted"], "sinks": '{"amount": {"kind": "amount"}, "order": {"kind": "content"}}'}
    )
    tool.refresh_from_db()
    kept = (tool.brings, tool.sinks)
    operating.post(page, {**same, "sinks": "{}"})
    tool.refresh_from_db()
    nothing = (tool.brings, tool.sinks)
    operating.post(page, {**same, "sinks": ""})
    tool.refresh_from_db()

    assert "no argument &#x27;iban&#x27;" in wrong.content.decode()
    assert kept == (["untrusted"], {"amount": {"kind": "amount"}, "order": {"kind": "content"}})
    assert nothing == ([], {})
    assert tool.sinks is None
