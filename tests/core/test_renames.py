"""What a username is looked up for when its user is saved, and whom a new one is told."""

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext

from runs.models import RateLimit
from runs.models.pacing import APP

pytestmark = pytest.mark.django_db


@pytest.fixture
def ann():
    RateLimit.objects.create(scope=APP, name="ann", count=5)
    return User.objects.create(username="ann")


def names_looked_up(save):
    with CaptureQueriesContext(connection) as captured:
        save()
    looked_up = [each["sql"] for each in captured.captured_queries if each["sql"].startswith("SELECT")]
    return sum('"auth_user"."username"' in sql for sql in looked_up)


def limited():
    return list(RateLimit.objects.filter(scope=APP).values_list("name", flat=True))


def test_the_old_name_is_looked_up_once(ann):
    ann.username = "anna"

    assert names_looked_up(ann.save) == 1
    assert limited() == ["anna"]


def test_a_save_that_does_not_write_the_name_looks_up_none(ann):
    ann.username = "anna"

    assert names_looked_up(lambda: ann.save(update_fields=["email"])) == 0
    assert limited() == ["ann"]


def test_each_name_is_followed_in_turn(ann):
    for name in ("anna", "anne"):
        ann.username = name
        ann.save()

    assert limited() == ["anne"]
