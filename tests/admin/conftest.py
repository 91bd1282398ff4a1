import pytest
from django.contrib.auth.models import User
from django.test import Client

from tests.admin import cast
from tests.admin.cast import Everything


@pytest.fixture
def everything(db: None) -> Everything:
    return Everything()


@pytest.fixture
def olga(db: None) -> User:
    """An operator."""
    return cast.operator()


@pytest.fixture
def operating(olga: User) -> Client:
    client = Client()
    client.force_login(olga)
    return client


@pytest.fixture
def auditing(db: None) -> Client:
    client = Client()
    client.force_login(cast.auditor())
    return client


@pytest.fixture
def approving(db: None) -> Client:
    client = Client()
    client.force_login(cast.approver())
    return client
