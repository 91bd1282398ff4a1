"""The matrix of transitions as an operator moves it."""

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from agents import roster
from agents.models import Transition
from agents.values import AgentKind
from tests.admin import cast
from tests.admin.cast import Everything

URL = reverse("admin:agents_transition_matrix")
HAND_OVER, DISPATCH = "may_hand_over:desk:refunds", "may_dispatch:lead:refunds"


@pytest.fixture
def desk(everything: Everything) -> Everything:
    """Beside what there is, an agent that may hand over to refunds, and a supervisor."""
    cast.at_work("desk", handoff_targets=("refunds",))
    cast.at_work("lead", kind=AgentKind.SUPERVISOR)
    return everything


def row(source: str, target: str) -> Transition | None:
    return Transition.objects.filter(source__slug=source, target__slug=target).first()


def test_a_box_stands_where_there_is_something_to_forbid(desk: Everything, operating: Client) -> None:
    html = operating.get(URL).content.decode()

    assert f'name="{HAND_OVER}" checked' in html
    assert f'name="{DISPATCH}" checked' in html
    assert ("may_hand_over:refunds:desk" in html, "may_dispatch:desk:refunds" in html) == (False, False)


def test_what_is_unticked_is_forbidden_at_once(desk: Everything, operating: Client, olga: User) -> None:
    page = operating.post(URL, {f"was:{HAND_OVER}": "on", f"was:{DISPATCH}": "on", DISPATCH: "on"}, follow=True)

    made = row("desk", "refunds")
    assert made is not None
    assert (made.may_hand_over, made.may_dispatch) == (False, True)
    assert row("lead", "refunds") is None
    assert "desk may not hand over to refunds" in page.content.decode()
    assert not roster.today().edge("desk", "refunds").may_hand_over
    told = cast.platform_events("transition_saved")[-1]
    assert (told["actor"], told["transition"], told["may_hand_over"]) == ("user:olga", "desk → refunds", False)


def test_what_others_saved_meanwhile_stays(desk: Everything, operating: Client) -> None:
    """The page showed both as allowed; since then somebody has forbidden one of them."""
    agents = {each.slug: each for each in roster.Agent.objects.all()}
    Transition.objects.create(source=agents["desk"], target=agents["refunds"], may_hand_over=False)

    operating.post(URL, {f"was:{HAND_OVER}": "on", HAND_OVER: "on", f"was:{DISPATCH}": "on"})

    kept, made = row("desk", "refunds"), row("lead", "refunds")
    assert kept is not None
    assert not kept.may_hand_over
    assert made is not None
    assert not made.may_dispatch


def test_a_box_that_is_not_there_cannot_be_posted(desk: Everything, operating: Client) -> None:
    operating.post(URL, {"was:may_hand_over:refunds:desk": "on"})

    assert row("refunds", "desk") is None


def test_an_auditor_looks_and_changes_nothing(desk: Everything, auditing: Client) -> None:
    page = auditing.get(URL)

    assert page.status_code == 200
    assert "disabled" in page.content.decode()
    assert auditing.post(URL, {f"was:{HAND_OVER}": "on"}).status_code == 403
    assert row("desk", "refunds") is None


def test_whoever_may_not_see_agents_does_not_see_the_matrix(desk: Everything, approving: Client) -> None:
    assert approving.get(URL).status_code == 403


def test_a_rows_form_names_what_is_wrong_with_a_contract(desk: Everything, operating: Client) -> None:
    made = row("orders", "refunds")
    assert made is not None
    form = {
        "source": made.source_id,
        "target": made.target_id,
        "contract": '{"type": "list"}',
        "transfer": "structured",
        "ring_limit": "2",
    }

    page = operating.post(cast.change_url(made), form)
    errors = page.context["adminform"].form.errors
    operating.post(cast.change_url(made), form | {"contract": '{"type": "object"}'})

    assert list(errors) == ["contract"]
    assert Transition.objects.get(pk=made.pk).contract == {"type": "object"}
