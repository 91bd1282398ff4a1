"""The settings under test: the real ones over a data folder and a Redis database of this run's own.

Loaded before any fixture, so everything here is only computed; `conftest.py` starts the services.
"""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

from tests.waiting import PATIENCE_SECONDS

# Handed on to parallel test processes, which use the services of the one that started them.
if "BATON_TEST_DATA_DIR" not in os.environ:
    os.environ["BATON_TEST_DATA_DIR"] = tempfile.mkdtemp(prefix="baton-test-")
    atexit.register(shutil.rmtree, os.environ["BATON_TEST_DATA_DIR"], ignore_errors=True)
    Path(os.environ["BATON_TEST_DATA_DIR"]).chmod(0o711)
_data = Path(os.environ["BATON_TEST_DATA_DIR"])
_process = os.environ.get("PYTEST_XDIST_WORKER", "gw-1").removeprefix("gw")

# A developer's own key, server or mode must not leak into a test.
for _name in [*os.environ]:
    if _name.startswith(("ANTHROPIC_", "BATON_")) and not _name.startswith("BATON_TEST_"):
        del os.environ[_name]
os.environ |= {
    "BATON_DATA_DIR": str(_data),
    "BATON_CALLABLES": "tests.runs.callables",
    "BATON_DB_POOL": "1",
    "BATON_EGRESS": "*://127.0.0.1:*",  # where the targets of tests listen
    "BATON_STATEMENT_SECONDS": str(2 * PATIENCE_SECONDS),
    "SECRET_KEY": "for tests only, long enough to sign with",
}
if "REDIS_URL" not in os.environ or os.environ.get("BATON_TEST_REDIS_IS_OURS"):
    from orchestrator_site.services.places import redis_socket

    os.environ["REDIS_URL"] = f"unix://{redis_socket(_data)}?db={int(_process) + 1}"
    os.environ["BATON_TEST_REDIS_IS_OURS"] = "1"

from orchestrator_site.settings import *  # noqa: E402, F403

# Some tests hold many transactions open at once.
DATABASES["default"]["OPTIONS"]["pool"] |= {"min_size": 1, "max_size": 64}  # noqa: F405

# A test may hold its transaction open for as long as it works, also on a machine that stands still for a minute.
DATABASES["default"]["OPTIONS"]["options"] += " -c idle_in_transaction_session_timeout=0"  # noqa: F405

PASSWORD_HASHERS = ["tests.hashing.QuickHasher"]
LOGGING_CONFIG = None
EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
