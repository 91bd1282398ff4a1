"""Settings, read from the environment. README.md lists every variable."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from orchestrator_site import env

BASE_DIR = Path(__file__).resolve().parent.parent
DATA_DIR = Path(env.text("BATON_DATA_DIR", str(BASE_DIR / ".data")))

DEBUG = env.boolean("BATON_DEBUG", True)
SECRET_KEY = env.text("SECRET_KEY", "development-only-key") if DEBUG else env.text("SECRET_KEY")
ALLOWED_HOSTS = env.words("BATON_ALLOWED_HOSTS", ["127.0.0.1", "localhost", "[::1]"])
USE_TZ = True
TIME_ZONE = "UTC"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
ROOT_URLCONF = "orchestrator_site.urls"

INSTALLED_APPS = [
    "unfold",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "orchestrator_site.core",
    "tools",
    "agents",
    "approvals",
    "runs",
]

_db = urlsplit(env.text("DATABASE_URL", f"postgresql://postgres@/baton?host={DATA_DIR / 'run'}"))
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": _db.path.lstrip("/"),
        "USER": unquote(_db.username or ""),
        "HOST": str(DATA_DIR / "run"),
    }
}
