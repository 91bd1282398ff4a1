from tests.api.conftest import _fresh_roster  # noqa: F401
