import pytest
from django.core.exceptions import ImproperlyConfigured

from orchestrator_site import env

NAME = "BATON_TEST_READER"


@pytest.mark.parametrize(
    ("read", "raw", "complaint"),
    [
        (lambda: env.integer(NAME, 1), "many", "must be a whole number, not 'many'"),
        (lambda: env.integer(NAME, 1, at_least=1), "0", "must be at least 1, not 0"),
        (lambda: env.seconds(NAME, 1), "soon", "must be a number of seconds, not 'soon'"),
        (lambda: env.seconds(NAME, 1), "0", "must be above 0 seconds, not 0"),
        (lambda: env.share(NAME, 0.5), "half", "must be a number from 0 to 1, not 'half'"),
        (lambda: env.share(NAME, 0.5), "1.5", "must be from 0 to 1, not 1.5"),
        (lambda: env.share(NAME, 0.5), "nan", "must be from 0 to 1, not nan"),
        (lambda: env.boolean(NAME, True), "maybe", "must be true or false, not 'maybe'"),
        (lambda: env.text(NAME), None, "is not set"),
        (
            lambda: env.postgres(NAME, ""),
            "mysql://root@localhost/baton",
            "must start with postgres:// or postgresql://",
        ),
        (lambda: env.postgres(NAME, ""), "postgresql://localhost", "names no database"),
        (lambda: env.postgres(NAME, ""), "postgresql://localhost:http/baton", "is not a valid URL"),
        (lambda: env.redis(NAME, ""), "http://localhost", "must start with redis:// or rediss:// or unix://"),
    ],
)
def test_a_wrong_value_names_its_variable(read, raw, complaint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NAME, raw) if raw is not None else monkeypatch.delenv(NAME, raising=False)

    with pytest.raises(ImproperlyConfigured) as refused:
        read()

    assert str(refused.value).startswith(f"{NAME} ")
    assert complaint in str(refused.value)


def test_a_refused_address_does_not_show_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NAME, "mysql://root:hunter2@localhost/baton")

    with pytest.raises(ImproperlyConfigured) as refused:
        env.postgres(NAME, "")

    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (
            "postgresql://ann:p%40ss@db.example.com:6432/baton?sslmode=require",
            {"USER": "ann", "PASSWORD": "p@ss", "HOST": "db.example.com", "PORT": "6432", "NAME": "baton"},
        ),
        ("postgres://ann@/baton?host=/run/pg", {"HOST": "/run/pg", "PORT": "", "PASSWORD": "", "USER": "ann"}),
    ],
)
def test_a_database_address_becomes_connection_settings(url, expected, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NAME, url)

    found = env.postgres(NAME, "")

    assert {key: found[key] for key in expected} == expected
    assert found["OPTIONS"] == ({"sslmode": "require"} if "sslmode" in url else {})
