"""Who sees which page; what one may not see is 404."""

import pytest
from django.urls import reverse

from orchestrator_site.core.ids import new_id
from tests.runs.cast import agent, carry_all, script, start, text

PAGES = ["home", "runs:index", "runs:start", "runs:uncertain", "approvals:queue", "ops"]


@pytest.mark.django_db
@pytest.mark.parametrize("name", PAGES)
def test_a_stranger_is_asked_to_sign_in_and_comes_back(client, name):
    response = client.get(reverse(name))

    assert response.status_code == 302
    assert response.url == f"{reverse('login')}?next={reverse(name)}"


@pytest.mark.django_db
@pytest.mark.parametrize("name", PAGES)
def test_every_page_answers_an_operator(at, olga, name):
    response = at(olga).get(reverse(name))

    assert response.status_code == 200
    assert "bundled demo model server" in response.content.decode()


@pytest.mark.django_db
def test_the_banner_goes_when_a_real_model_answers(at, olga, settings):
    settings.ANTHROPIC_API_KEY, settings.BATON_DEMO_MODEL_URL = "a key", None

    assert "bundled demo model server" not in at(olga).get("/").content.decode()


@pytest.mark.django_db
def test_the_health_page_is_for_those_who_look_after_the_installation(at, alice):
    assert at(alice).get(reverse("ops")).status_code == 404


@pytest.mark.django_db(transaction=True)
def test_a_run_is_there_for_its_owner_and_for_operators_only(at, model, app, olga, eve):
    agent()
    run = carry_all(start(app, script(text("Hello."))))
    page = reverse("runs:page", args=[run.pk])

    assert [at(user).get(page).status_code for user in (app, olga, eve)] == [200, 200, 404]
    assert at(eve).get(reverse("runs:events", args=[run.pk])).status_code == 404


@pytest.mark.django_db(transaction=True)
def test_a_request_is_there_for_approvers_and_its_requester_only(at, asked, alice, app, eve):
    page = reverse("approvals:page", args=[asked.pk])

    assert [at(user).get(page).status_code for user in (alice, app, eve)] == [200, 200, 404]
    assert at(eve).post(reverse("approvals:decide", args=[asked.pk]), {"verdict": "approved"}).status_code == 404


@pytest.mark.django_db
def test_what_does_not_exist_is_a_page_in_our_look(at, olga):
    response = at(olga).get(reverse("runs:page", args=[new_id()]))

    assert response.status_code == 404
    assert "There is nothing here" in response.content.decode()


@pytest.mark.django_db
def test_who_may_not_start_runs_is_not_offered_it(at, alice):
    client = at(alice)

    assert "Ask the desk" not in client.get("/").content.decode()
    assert client.get(reverse("runs:start")).status_code == 403


@pytest.mark.django_db
def test_signing_in_and_out(client, olga):
    signed_in = client.post(reverse("login"), {"username": "olga", "password": "olga", "next": "/runs/"})
    signed_out = client.post(reverse("logout"))

    assert (signed_in.status_code, signed_in.url) == (302, "/runs/")
    assert signed_out.url == reverse("login")


@pytest.mark.django_db
def test_pages_have_no_inline_script_or_handler(at, olga):
    client = at(olga)

    for name in PAGES:
        html = client.get(reverse(name)).content.decode()
        assert "<script>" not in html
        assert " onclick=" not in html
        assert "https://" not in html
