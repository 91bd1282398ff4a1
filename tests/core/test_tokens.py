import datetime as dt
import hashlib
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db.models.functions import Now
from django.test import Client

from orchestrator_site.core import canonical, roles, tokens
from orchestrator_site.core.models import Event, Token
from tests.api import cast
from tests.api.cast import Caller, Scene

pytestmark = pytest.mark.django_db


def platform_events() -> list[tuple[str, dict]]:
    rows = Event.objects.filter(chain="platform", type__startswith="token_").order_by("seq")
    return [(row.type, canonical.loads(row.data)) for row in rows]


def test_only_the_hash_of_a_secret_is_kept_and_it_is_recognisable():
    token, secret = tokens.create(cast.person("ola", roles.OPERATOR), ["runs:read"], by=None)

    assert secret.startswith("baton_")
    assert len(secret) >= 6 + 43  # 256 bits
    assert token.secret_digest == hashlib.sha256(secret.encode()).hexdigest()
    assert token.prefix == secret[:12]
    assert not any(secret in str(value) for row in Token.objects.values_list() for value in row)
    assert not any(secret in row.data for row in Event.objects.all())


def test_making_and_revoking_stand_in_the_platform_chain_once_each():
    ola = cast.person("ola", roles.OPERATOR)
    token, _ = tokens.create(ola, ["runs:read"], by=ola, name="laptop")
    tokens.revoke(token, by=ola)
    tokens.revoke(token, by=ola)

    (made, told), (revoked, _) = platform_events()
    assert (made, revoked) == ("token_created", "token_revoked")
    assert told["scopes"] == ["runs:read"]
    assert told["name"] == "laptop"
    assert Event.objects.filter(chain="platform", actor="user:ola").count() == 2


@pytest.mark.parametrize(
    ("scopes", "days", "told"),
    [
        (["runs:fly"], 90, "runs:fly"),
        ([], 90, "without a scope"),
        (["runs:read"], 0, "1 to 366 days"),
        (["runs:read"], 100_000, "1 to 366 days"),
    ],
)
def test_what_cannot_be_made_says_why(scopes: list[str], days: int, told: str):
    with pytest.raises(tokens.InvalidToken, match=told):
        tokens.create(cast.person("ola", roles.OPERATOR), scopes, by=None, days=days)


def test_an_app_is_given_no_token_that_decides():
    with pytest.raises(tokens.InvalidToken, match="never decides"):
        tokens.create(cast.person("shop", roles.APP), ["approvals:decide"], by=None)


def test_an_apps_token_never_decides_even_with_the_scope_and_the_permission(scene: Scene):
    both = cast.person("both", roles.OPERATOR, roles.APP)
    asker = cast.caller(both, "runs:read")
    Token.objects.filter(pk=asker.token.pk).update(scopes=["approvals:decide"])

    answer = asker.post(
        f"/approvals/{scene.approval.pk}/decide/", {"verdict": "approved", "digest": scene.approval.digest}
    )

    assert answer.status_code == 403
    assert "never decides" in answer.json()["detail"]


def test_an_apps_token_answers_only_its_own_runs_question(scene: Scene):
    both = cast.caller(cast.person("both", roles.OPERATOR, roles.APP), "runs:write")

    assert both.post(f"/runs/{scene.run.pk}/answer/", {"answer": "blue"}).status_code == 403
    assert (
        cast.caller(scene.shop, "runs:write").post(f"/runs/{scene.run.pk}/answer/", {"answer": "blue"}).status_code
        == 200
    )


def test_a_token_never_gives_more_than_its_user_may(scene: Scene):
    """An operator's token goes with the operator's role."""
    ola = cast.person("ola", roles.OPERATOR)
    caller = cast.caller(ola)
    assert caller.get(f"/runs/{scene.run.pk}/").status_code == 200

    ola.groups.clear()

    assert caller.get(f"/runs/{scene.run.pk}/").status_code == 404
    assert caller.get("/agents/").status_code == 403


def test_a_deactivated_user_has_no_token():
    ola = cast.person("ola", roles.OPERATOR)
    caller = cast.caller(ola)
    ola.is_active = False
    ola.save()

    assert caller.get("/runs/").status_code == 401


@pytest.mark.parametrize(
    "header", ["Bearer", "Bearer ", "Bearer nonsense", "Basic b2xhOm9sYQ==", "baton_x", "Bearer \xff"]
)
def test_what_is_no_token_is_401_with_a_challenge(header: str):
    answer = Client(headers={"Authorization": header}).get("/api/v1/runs/")

    assert answer.status_code == 401
    assert answer["WWW-Authenticate"].startswith("Bearer")
    assert answer["Content-Type"] == "application/problem+json"


def test_use_is_noted_at_most_once_a_minute(operator: Caller):
    noted: Any = Token.objects.filter(pk=operator.token.pk).values_list("last_used_at", flat=True)
    operator.get("/runs/")
    first = noted.get()

    operator.get("/runs/")
    assert noted.get() == first

    Token.objects.filter(pk=operator.token.pk).update(last_used_at=Now() - dt.timedelta(seconds=61))
    operator.get("/runs/")
    assert noted.get() >= first


# The commands


def test_the_command_prints_the_secret_once_and_alone_on_stdout():
    cast.person("ola", roles.OPERATOR)
    out, err = StringIO(), StringIO()

    call_command("create_token", "ola", "--scope", "runs:read", "--scope", "runs:write", stdout=out, stderr=err)

    secret = out.getvalue().strip()
    assert Caller(secret).get("/runs/").status_code == 200
    assert secret not in err.getvalue()
    assert Token.objects.get().scopes == ["runs:read", "runs:write"]


def test_the_command_says_what_is_wrong():
    with pytest.raises(CommandError, match="no user 'nemo'"):
        call_command("create_token", "nemo", "--scope", "runs:read")
    cast.person("ola", roles.OPERATOR)
    with pytest.raises(CommandError, match="runs:fly"):
        call_command("create_token", "ola", "--scope", "runs:fly")


def test_revoked_by_command(operator: Caller):
    call_command("revoke_token", operator.token.prefix, stdout=StringIO())

    assert operator.get("/runs/").status_code == 401
    with pytest.raises(CommandError, match="no token"):
        call_command("revoke_token", "baton_nobody")


# Sessions


def test_a_session_reads_and_posts_only_with_its_csrf_token(scene: Scene):
    ola = cast.person("ola", roles.OPERATOR)
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(ola)

    assert browser.get("/api/v1/runs/").status_code == 200
    refused = browser.post(f"/api/v1/runs/{scene.run.pk}/cancel/", "{}", content_type="application/json")
    assert refused.status_code == 403
    assert refused["Content-Type"] == "application/problem+json"

    browser.cookies["csrftoken"] = "a" * 32
    posted = browser.post(
        f"/api/v1/runs/{scene.run.pk}/cancel/", "{}", content_type="application/json", headers={"X-CSRFToken": "a" * 32}
    )
    assert posted.status_code == 200


def test_a_decision_by_session_is_kept_as_such(scene: Scene):
    browser = Client()
    browser.force_login(cast.person("ann", roles.APPROVER))

    answer = browser.post(
        f"/api/v1/approvals/{scene.approval.pk}/decide/",
        {"verdict": "rejected", "digest": scene.approval.digest, "reason": "No."},
        content_type="application/json",
    )

    assert answer.json()["request"]["decision"]["via"] == "session"
