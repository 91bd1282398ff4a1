from tests.api.conftest import _fresh_roster, approver, operator, scene, shop  # noqa: F401
