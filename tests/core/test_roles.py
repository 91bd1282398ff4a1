import pytest
from django.apps import apps
from django.contrib.auth.models import AnonymousUser, Group, Permission
from django.db.models.signals import post_migrate

from orchestrator_site.core import roles
from runs.models import Run
from tests.api import cast
from tests.api.cast import Scene

pytestmark = pytest.mark.django_db


def permissions_of(role: str) -> set[str]:
    held = Group.objects.get(name=role).permissions.select_related("content_type")
    return {f"{each.content_type.app_label}.{each.codename}" for each in held}


def test_an_app_starts_and_cancels_and_holds_nothing_else():
    assert permissions_of(roles.APP) == {"runs.start_run", "runs.cancel_run"}


def test_an_approver_sees_and_decides_requests_and_holds_nothing_else():
    assert permissions_of(roles.APPROVER) == {
        "approvals.view_approvalrequest",
        "approvals.view_decision",
        "approvals.decide_approvalrequest",
    }


def test_an_auditor_may_only_look():
    held = permissions_of(roles.AUDITOR)

    assert all(".view_" in permission for permission in held)
    assert {"runs.view_run", "core.view_event", "tools.view_tool", "agents.view_manifest"} <= held


def test_an_operator_reaches_no_users_and_deletes_nothing():
    held = permissions_of(roles.OPERATOR)

    assert {"runs.view_run", "runs.resolve_uncertain", "approvals.decide_approvalrequest"} <= held
    assert not any(each.startswith(("auth.", "sessions.")) or ".delete_" in each for each in held)


def test_every_name_in_the_table_means_a_permission():
    known = {
        f"{each.content_type.app_label}.{each.codename}" for each in Permission.objects.select_related("content_type")
    }
    named = {pattern for patterns in roles.ROLES.values() for pattern in patterns if "*" not in pattern}

    assert named <= known


def test_granting_again_takes_away_nothing_an_operator_gave():
    given = Permission.objects.get(codename="view_tool")
    Group.objects.get(name=roles.APPROVER).permissions.add(given)

    for config in apps.get_app_configs():
        post_migrate.send(config, app_config=config, using="default", verbosity=0, interactive=False, apps=apps)

    assert "tools.view_tool" in permissions_of(roles.APPROVER)
    assert Group.objects.count() == len(roles.ROLES)


# Which runs one sees


def seen_by(user) -> int:
    return Run.objects.visible_to(user).count()


def test_operators_and_auditors_see_all_an_approver_what_people_are_asked_an_app_its_own(db):
    scene = Scene()
    quiet = cast.start(scene.shop)
    asked_of_requester = cast.start(scene.shop)
    cast.question(cast.waiting(asked_of_requester))
    blog = cast.person("blog", roles.APP)
    cast.start(blog)

    assert seen_by(cast.person("ola", roles.OPERATOR)) == 4
    assert seen_by(cast.person("eve", roles.AUDITOR)) == 4
    assert set(Run.objects.visible_to(cast.person("ann", roles.APPROVER))) == {scene.run, asked_of_requester}
    assert set(Run.objects.visible_to(scene.shop)) == {scene.run, quiet, asked_of_requester}
    assert seen_by(blog) == 1


def test_nobody_and_the_inactive_see_nothing(db):
    scene = Scene()
    scene.shop.is_active = False

    assert seen_by(AnonymousUser()) == 0
    assert seen_by(scene.shop) == 0
    assert seen_by(cast.person("new")) == 0
