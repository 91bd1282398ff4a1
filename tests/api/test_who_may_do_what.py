"""The whole table: every endpoint, asked by everybody. A path without a row fails the last test."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from django.db import transaction
from django.urls import get_resolver

from agents import manifests
from orchestrator_site.core import canonical, roles, tokens
from runs.models import Node
from runs.policies import simulating
from tests.agents.cast import spec
from tests.api import cast
from tests.api.cast import Caller, Scene
from tools.models import Policy
from tools.policies import versions

pytestmark = pytest.mark.django_db

MANIFEST = spec().model_dump(mode="json")


@dataclass(frozen=True)
class Row:
    """`expected` is for operator, approver, auditor, owner, other app; `outsiders` for who comes without a token, or
    with one that is no good any more. Who holds an operator's token without `scope` alone gets a 403."""

    name: str
    method: str
    path: str
    expected: tuple[int, int, int, int, int]
    scope: str = ""
    outsiders: int = 401


READ, WRITE = "runs:read", "runs:write"
LEAVES, LEAVE = "breakers:read", "breakers:write"
STOPS, STOP = "switches:read", "switches:write"
ASKED, DECIDE = "approvals:read", "approvals:decide"
GIVEN = "/approvals/standing/{standing.pk}"
RUN, DONE = "/runs/{run.pk}", "/runs/{done.pk}"
AGENT = "/agents/order-desk"
RULES, RULE = "policies:read", "policies:write"
POLICY, SIMULATION = "/policies/{policy.number}", "/policies/simulations/{simulation.pk}"

# fmt: off
TABLE = [
    #   path name             method   path                              operator approver auditor owner other
    Row("runs",               "GET",   "/runs/",                             (200, 200, 200, 200, 200), READ),
    Row("runs",               "POST",  "/runs/",                             (201, 403, 403, 201, 201), WRITE),
    Row("run",                "GET",   RUN + "/",                            (200, 200, 200, 200, 404), READ),
    Row("run-events",         "GET",   RUN + "/events/",                     (200, 200, 200, 200, 404), READ),
    Row("run-trace",          "GET",   RUN + "/trace/",                      (200, 200, 200, 200, 404), READ),
    Row("run-audit",          "GET",   RUN + "/audit/",                      (200, 200, 200, 200, 404), "audit:read"),
    Row("run-cancel",         "POST",  RUN + "/cancel/",                     (200, 403, 403, 200, 404), WRITE),
    Row("run-pause",          "POST",  RUN + "/pause/",                      (200, 403, 403, 200, 404), WRITE),
    Row("run-resume",         "POST",  RUN + "/resume/",                     (409, 403, 403, 409, 404), WRITE),
    Row("run-comment",        "POST",  DONE + "/comment/",                   (200, 403, 403, 200, 404), WRITE),
    Row("run-answer",         "POST",  RUN + "/answer/",                     (200, 200, 403, 200, 404), WRITE),
    Row("run-retry",          "POST",  DONE + "/retry/",                     (201, 403, 403, 201, 404), WRITE),
    Row("run-teach",          "POST",  RUN + "/teach/",                      (200, 403, 403, 403, 403), "agents:write"),
    Row("budgets",            "GET",   "/budgets/",                          (200, 403, 200, 403, 403), READ),
    Row("uncertain",          "GET",   "/uncertain/",                        (200, 200, 200, 200, 200), READ),
    Row("uncertain-resolve",  "POST",  "/uncertain/{doubt.pk}/resolve/",     (200, 403, 403, 403, 403), WRITE),
    Row("handoffs",           "GET",   "/handoffs/",                         (200, 200, 200, 200, 200), READ),
    Row("handoff",            "GET",   "/handoffs/{handoff.pk}/",            (200, 200, 200, 200, 404), READ),
    Row("artifact",           "GET",   "/artifacts/{artifact.pk}/",          (200, 200, 200, 200, 404), READ),
    Row("artifact-content",   "GET",   "/artifacts/{artifact.pk}/content/",  (200, 200, 200, 200, 404), READ),
    Row("approvals",          "GET",   "/approvals/",                        (200, 200, 200, 200, 200), ASKED),
    Row("approval",           "GET",   "/approvals/{approval.pk}/",          (200, 200, 200, 200, 404), ASKED),
    Row("approval-decide",    "POST",  "/approvals/{approval.pk}/decide/",   (200, 200, 403, 403, 403), DECIDE),
    Row("approval-split",     "POST",  "/approvals/{approval.pk}/split/",    (200, 200, 403, 403, 403), DECIDE),
    Row("standing-approvals", "GET",   "/approvals/standing/",               (200, 200, 200, 200, 200), ASKED),
    Row("standing-approval-revoke", "POST", GIVEN + "/revoke/",               (200, 200, 403, 403, 403), DECIDE),
    Row("agents",             "GET",   "/agents/",                           (200, 403, 200, 403, 403), "agents:read"),
    Row("agents",             "POST",  "/agents/",                           (201, 403, 403, 403, 403), "agents:write"),
    Row("agent",              "GET",   AGENT + "/",                          (200, 403, 200, 403, 403), "agents:read"),
    Row("agent-versions",     "GET",   AGENT + "/versions/",                 (200, 403, 200, 403, 403), "agents:read"),
    Row("agent-versions",     "POST",  AGENT + "/versions/",                 (201, 403, 403, 403, 403), "agents:write"),
    Row("agent-publish",      "POST",  "/agents/drafted/publish/",           (200, 403, 403, 403, 403), "agents:write"),
    Row("agent-rollback",     "POST",  AGENT + "/rollback/",                 (200, 403, 403, 403, 403), "agents:write"),
    Row("agent-retire",       "POST",  AGENT + "/retire/",                   (200, 403, 403, 403, 403), "agents:write"),
    Row("agent-reinstate",    "POST",  AGENT + "/reinstate/",                (200, 403, 403, 403, 403), "agents:write"),
    Row("roster",             "GET",   "/roster/",                           (200, 403, 200, 403, 403), "agents:read"),
    Row("models",             "GET",   "/models/",                           (200, 403, 200, 403, 403), "agents:read"),
    Row("tools",              "GET",   "/tools/",                            (200, 403, 200, 403, 403), "tools:read"),
    Row("tool",               "GET",   "/tools/refund/",                     (200, 403, 200, 403, 403), "tools:read"),
    Row("tool",               "PATCH", "/tools/refund/",                     (200, 403, 403, 403, 403), "tools:write"),
    Row("breakers",           "GET",   "/breakers/",                         (200, 403, 200, 403, 403), LEAVES),
    Row("breakers",           "POST",  "/breakers/",                         (200, 403, 403, 403, 403), LEAVE),
    Row("switches",           "GET",   "/switches/",                         (200, 403, 200, 403, 403), STOPS),
    Row("switches",           "POST",  "/switches/",                         (200, 403, 403, 403, 403), STOP),
    Row("policies",           "GET",   "/policies/",                         (200, 403, 200, 403, 403), RULES),
    Row("policies",           "POST",  "/policies/",                         (201, 403, 403, 403, 403), RULE),
    Row("policy-facts",       "GET",   "/policies/facts/",                   (200, 403, 200, 403, 403), RULES),
    Row("policy-simulate",    "POST",  "/policies/simulate/",                (202, 403, 403, 403, 403), RULE),
    Row("policy-simulation",  "GET",   SIMULATION + "/",                     (200, 403, 200, 403, 403), RULES),
    Row("policy-simulation-cancel", "POST", SIMULATION + "/cancel/",         (200, 403, 403, 403, 403), RULE),
    Row("policy",             "GET",   POLICY + "/",                         (200, 403, 200, 403, 403), RULES),
    Row("policy",             "PATCH", POLICY + "/",                         (200, 403, 403, 403, 403), RULE),
    Row("policy-publish",     "POST",  POLICY + "/publish/",                 (200, 403, 403, 403, 403), RULE),
    Row("policy-discard",     "POST",  POLICY + "/discard/",                 (200, 403, 403, 403, 403), RULE),
    Row("policy-take-back",   "POST",  POLICY + "/take_back/",               (409, 403, 403, 403, 403), RULE),
    Row("policy-shadow",      "POST",  POLICY + "/shadow/",                  (200, 403, 403, 403, 403), RULE),
    Row("health-live",        "GET",   "/health/live/",                      (200, 200, 200, 200, 200), outsiders=200),
    Row("health-ready",       "GET",   "/health/ready/",                     (200, 200, 200, 200, 200), outsiders=200),
    Row("docs",               "GET",   "/docs/",                             (200, 200, 200, 200, 200), outsiders=200),
    Row("schema",             "GET",   "/schema/",                           (200, 200, 200, 200, 200), outsiders=200),
    Row("nothing",            "GET",   "/no/such/thing/",                    (404, 404, 404, 404, 404), outsiders=404),
]
# fmt: on

BODIES: dict[tuple[str, str], Callable[[Scene], Any]] = {
    ("POST", "runs"): lambda scene: {"input": "Hello", "agent": "order-desk"},
    ("POST", "run-comment"): lambda scene: {"node": str(_ended().pk), "comment": "Look again."},
    ("POST", "run-answer"): lambda scene: {"answer": "blue"},
    ("POST", "run-teach"): lambda scene: {"agent": "order-desk", "lesson": "exemplar"},
    ("POST", "uncertain-resolve"): lambda scene: {"finding": "abandon"},
    ("POST", "approval-decide"): lambda scene: {"verdict": "approved", "digest": scene.approval.digest},
    ("POST", "agents"): lambda scene: MANIFEST | {"slug": "new"},
    ("POST", "agent-versions"): lambda scene: MANIFEST,
    ("POST", "agent-rollback"): lambda scene: {"number": 1},
    ("POST", "breakers"): lambda scene: {"kind": "tool", "name": "refund", "open": True, "reason": "It errs."},
    ("POST", "switches"): lambda scene: {"scope": "all", "on": True, "reason": "Prices are wrong."},
    ("POST", "policy-simulate"): lambda scene: {"content": {"rules": []}},
    ("PATCH", "policy"): lambda scene: {"note": "Another note."},
    ("POST", "policy-publish"): lambda scene: {"digest": canonical.digest(versions.content(Policy.objects.get()))},
    ("POST", "policy-shadow"): lambda scene: {"on": True},
    ("PATCH", "tool"): lambda scene: {"enabled": False},
}


def _ended() -> Node:
    return Node.objects.filter(run__status="succeeded").latest("run__created_at")


@pytest.fixture
def actors(scene: Scene) -> dict[str, Caller]:
    ola = cast.person("ola", roles.OPERATOR)
    return {
        "nobody": Caller(),
        "operator": cast.caller(ola),
        "approver": cast.caller(cast.person("ann", roles.APPROVER)),
        "auditor": cast.caller(cast.person("eve", roles.AUDITOR)),
        "owner": cast.caller(scene.shop),
        "other_app": cast.caller(cast.person("blog", roles.APP)),
        "expired": cast.expired(ola),
        "revoked": cast.revoked(ola),
    }


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row.method} {row.name}")
def test_everybody_gets_what_the_table_says(row: Row, scene: Scene, actors: dict[str, Caller]):
    manifests.draft("drafted", spec(), by=None)
    standing = cast.given_beforehand(scene.dispatch, 3)
    policy = versions.draft(by=None)
    own = {"standing": standing, "policy": policy, "simulation": simulating.ask(policy, by=None)}
    path = row.path.format(run=scene.run, done=scene.finished(), **own, **_named(scene))
    body, expected = BODIES.get((row.method, row.name), lambda scene: None)(scene), _expected(row)
    if row.scope:
        others = [scope for scope in tokens.SCOPES if scope != row.scope]
        actors["unscoped"] = cast.caller(cast.person("olaf", roles.OPERATOR), *others)

    answered = {actor: _status(caller, row.method, path, body) for actor, caller in actors.items()}

    assert answered == {actor: expected[actor] for actor in actors}


def _named(scene: Scene) -> dict[str, Any]:
    return {name: getattr(scene, name) for name in ("doubt", "handoff", "artifact", "approval")}


def _expected(row: Row) -> dict[str, int]:
    operator, approver, auditor, owner, other = row.expected
    people = {"operator": operator, "approver": approver, "auditor": auditor, "owner": owner, "other_app": other}
    outsiders = dict.fromkeys(("nobody", "expired", "revoked"), row.outsiders)
    return people | outsiders | {"unscoped": 403}


def _status(caller: Caller, method: str, path: str, body: Any) -> int:
    """Asked, and then undone, so that everybody finds the same."""
    with transaction.atomic():
        status = caller.send(method, path, body).status_code
        transaction.set_rollback(True)
    return status


# Async and outside the API's own file; held by the tests of the live hub.
ELSEWHERE = {"run-stream"}


def test_every_path_and_method_below_api_v1_has_a_row():
    methods = {
        (pattern.name, method.upper()) for pattern in _paths() for method in METHODS if _handler(pattern, method)
    }
    plain = {(pattern.name, "GET") for pattern in _paths() if not hasattr(pattern.callback, "view_class")}

    assert {each for each in methods | plain if each[0] not in ELSEWHERE} == {(row.name, row.method) for row in TABLE}


def test_every_post_takes_an_idempotency_key():
    posts = [post for pattern in _paths() if (post := _handler(pattern, "post"))]

    assert posts
    assert all(post.is_idempotent for post in posts)


METHODS = ("get", "post", "put", "patch", "delete")


def _paths() -> list[Any]:
    below = [each for each in get_resolver().url_patterns if str(each.pattern).startswith("api/v1/")]
    return [inner for each in below for inner in getattr(each, "url_patterns", [each])]


def _handler(pattern: Any, method: str) -> Any:
    return getattr(getattr(pattern.callback, "view_class", None), method, None)
