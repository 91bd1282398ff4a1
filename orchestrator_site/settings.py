"""Settings, read from the environment. README.md lists every variable."""

import re
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from orchestrator_site import env
from orchestrator_site.secret_key import kept_key
from orchestrator_site.services.places import redis_socket, socket_folder

BASE_DIR = Path(__file__).resolve().parent.parent
DATA_DIR = Path(env.text("BATON_DATA_DIR", str(BASE_DIR / ".data"))).absolute()

DEBUG = env.boolean("BATON_DEBUG", True)
SECRET_KEY = env.optional("SECRET_KEY") or (kept_key(DATA_DIR / "secret_key") if DEBUG else env.text("SECRET_KEY"))

# The demo's agents and commands: there in development, in production only when asked for.
BATON_DEMO = env.boolean("BATON_DEMO", DEBUG)
BATON_DEMO_MODEL_URL = env.optional("BATON_DEMO_MODEL_URL")
BATON_PUBLIC_URL = env.text("BATON_PUBLIC_URL", "http://127.0.0.1:8000").rstrip("/")

# The model server. Without a key, demo agents use the bundled demo model server.
ANTHROPIC_API_KEY = env.optional("ANTHROPIC_API_KEY")
ANTHROPIC_BASE_URL = env.optional("ANTHROPIC_BASE_URL")

# How work is carried.
BATON_WORKER_THREADS = env.integer("BATON_WORKER_THREADS", 40, at_least=1)
BATON_LEASE_SECONDS = env.seconds("BATON_LEASE_SECONDS", 30)
BATON_RECONCILE_SECONDS = env.seconds("BATON_RECONCILE_SECONDS", 2)
BATON_ROSTER_POLL_SECONDS = env.seconds("BATON_ROSTER_POLL_SECONDS", 2)
BATON_ASK_FOR_PLANS = env.one_of("BATON_ASK_FOR_PLANS", ("acting", "always", "never"))
BATON_ROUTER_CONFIDENCE = env.share("BATON_ROUTER_CONFIDENCE", 0.5)
BATON_APPROVAL_SECONDS = env.seconds("BATON_APPROVAL_SECONDS", 24 * 3600)
BATON_MODEL_TIMEOUT_SECONDS = env.seconds("BATON_MODEL_TIMEOUT_SECONDS", 600)
# A breaker opens after so many failures within a window (0: never), and lets so many probes through after a while.
BATON_BREAKER_FAILURES = env.integer("BATON_BREAKER_FAILURES", 20)
BATON_BREAKER_SHARE = env.share("BATON_BREAKER_SHARE", 0.5)
BATON_BREAKER_WINDOW_SECONDS = env.seconds("BATON_BREAKER_WINDOW_SECONDS", 60)
BATON_BREAKER_OPEN_SECONDS = env.seconds("BATON_BREAKER_OPEN_SECONDS", 30)
BATON_BREAKER_PROBES = env.integer("BATON_BREAKER_PROBES", 1, at_least=1)
BATON_CALLABLES = env.words("BATON_CALLABLES", [])
# Where tools may connect, beside the rules of the admin: scheme://place:port. And where else the platform is reached.
BATON_EGRESS = env.words("BATON_EGRESS", [])
BATON_EGRESS_ONLY_RULES = env.boolean("BATON_EGRESS_ONLY_RULES", False)
BATON_OWN_ORIGINS = env.words("BATON_OWN_ORIGINS", [])
# A tool's result that is longer is kept as an artifact, and its agent is told the beginning.
BATON_SPILL_BYTES = env.integer("BATON_SPILL_BYTES", 8 * 1024, at_least=1024)
# Who summarises the old turns of a dispatch that outgrows its model's window, where its manifest names nobody.
BATON_SUMMARISER = env.text("BATON_SUMMARISER", "summariser")
# An artifact's bytes are in the database up to this many, and in the artifacts' storage beyond.
BATON_BLOB_ROW_BYTES = env.integer("BATON_BLOB_ROW_BYTES", 64 * 1024)
BATON_ARTIFACT_STORAGE = env.text("BATON_ARTIFACT_STORAGE", "orchestrator_site.core.durable_files.DurableFiles")
_files = {"location": str(DATA_DIR / "artifacts")} if BATON_ARTIFACT_STORAGE.endswith(".DurableFiles") else {}
BATON_ARTIFACT_OPTIONS = env.json_object("BATON_ARTIFACT_OPTIONS", _files)
BATON_EMBEDDER = env.text("BATON_EMBEDDER", "agents.routing.embedders.WordVectors")
# For those embedders that ask: a model's name, where a provider answers, "env:NAME" of its key, and its patience.
BATON_EMBEDDER_MODEL = env.optional("BATON_EMBEDDER_MODEL")
BATON_EMBEDDER_URL = env.optional("BATON_EMBEDDER_URL")
BATON_EMBEDDER_CREDENTIAL = env.text("BATON_EMBEDDER_CREDENTIAL", "")
BATON_EMBEDDER_SECONDS = env.seconds("BATON_EMBEDDER_SECONDS", 10)
BATON_GRACE_SECONDS = env.seconds("BATON_GRACE_SECONDS", 20)
BATON_SLICE_TURNS = env.integer("BATON_SLICE_TURNS", 20, at_least=1)

# The audit's signed checkpoints: how often, their second place beside the database, and the key that signs them.
BATON_CHECKPOINT_SECONDS = env.seconds("BATON_CHECKPOINT_SECONDS", 60)
BATON_CHECKPOINT_DIR = Path(env.text("BATON_CHECKPOINT_DIR", str(DATA_DIR / "checkpoints"))).absolute()
BATON_CHECKPOINT_OLD_KEYS = env.optional("BATON_CHECKPOINT_OLD_KEYS")
BATON_CHECKPOINT_KEY_FILE = env.optional("BATON_CHECKPOINT_KEY_FILE")
# In development a key is made at its first use; in production somebody has to say where the one to use is kept.
BATON_CHECKPOINT_KEY_MADE_AT = str(DATA_DIR / "checkpoint_key.pem") if DEBUG else None

# Dotted paths of callables `(name, pid) -> None` that the supervisor tells when a process of its own was seen to exit.
BATON_ON_PROCESS_EXIT = ["runs.leases.process_exited"]

INSTALLED_APPS = [
    "unfold",
    "unfold.contrib.filters",
    "unfold.contrib.forms",
    "unfold.contrib.inlines",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "django.contrib.postgres",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_filters",
    "channels",
    "orchestrator_site.core",
    "tools",
    "agents",
    "approvals",
    "runs",
    "orchestrator_site",
    *(["orchestrator_site.demo"] if BATON_DEMO else []),
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "orchestrator_site.unavailable.Unavailable",
]

ROOT_URLCONF = "orchestrator_site.urls"
ASGI_APPLICATION = "orchestrator_site.asgi.application"
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "/"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.debug",
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

# PostgreSQL. A pool in place of persistent connections; health checks cost 0.1 ms and survive a server restart.
DATABASES: dict[str, dict[str, Any]] = {
    "default": env.postgres("DATABASE_URL", f"postgresql://postgres@/baton?host={socket_folder(DATA_DIR)}")
}
DATABASES["default"]["CONN_MAX_AGE"] = 0
# Statements travel with their values beside them, and are prepared on a connection that saw them five times.
DATABASES["default"]["OPTIONS"] |= {"server_side_binding": True, "prepare_threshold": 5}
DATABASES["default"]["CONN_HEALTH_CHECKS"] = True
# A command works alone, and one without a server to talk to should say so at once.
_is_command = Path(sys.argv[0]).name == "manage.py"
BATON_DB_POOL = env.boolean("BATON_DB_POOL", not _is_command)
if BATON_DB_POOL:
    DATABASES["default"]["OPTIONS"]["pool"] = {"min_size": 2, "max_size": 10, "timeout": 15}
# 0 leaves the server's own limit in force, as a transaction-mode PgBouncer needs it.
BATON_STATEMENT_SECONDS = env.integer("BATON_STATEMENT_SECONDS", 60)
if BATON_STATEMENT_SECONDS:
    _limits = f"-c statement_timeout={BATON_STATEMENT_SECONDS}s"
    if not _is_command:
        # A process that stands still in the middle of a transaction loses its locks as it loses its leases.
        _limits += f" -c idle_in_transaction_session_timeout={BATON_LEASE_SECONDS:g}s"
    _own = DATABASES["default"]["OPTIONS"].get("options", "")
    DATABASES["default"]["OPTIONS"]["options"] = f"{_limits} {_own}".strip()
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# Redis: doorbells and live fan-out. The client reads unix:// URLs, Celery's transport wants its own spelling of them.
REDIS_URL = env.redis("REDIS_URL", f"unix://{redis_socket(DATA_DIR)}?db=0")
_redis = urlsplit(REDIS_URL)
_redis_db = re.search(r"db=(\d+)", _redis.query) if _redis.scheme == "unix" else re.search(r"/(\d+)$", _redis.path)
REDIS_DB = int(_redis_db.group(1)) if _redis_db else 0
# Redis publishes across its numbered databases: whoever publishes puts this in front of the channel's name.
REDIS_CHANNEL_PREFIX = f"baton:{REDIS_DB}:"

CELERY_BROKER_URL = f"redis+socket://{_redis.path}?virtual_host={REDIS_DB}" if _redis.scheme == "unix" else REDIS_URL
CELERY_RESULT_BACKEND = None
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = False  # rows are the truth: a lost message is found again by the reconciler
CELERY_WORKER_POOL = "threads"
CELERY_WORKER_CONCURRENCY = BATON_WORKER_THREADS
CELERY_WORKER_DISABLE_PREFETCH = True
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_POOL_ACQUIRE_TIMEOUT = 5
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "max_retries": 0,
    "socket_timeout": 5,
    "socket_connect_timeout": 5,
    "socket_keepalive": True,
    "health_check_interval": 25,
}
CELERY_TIMEZONE = "UTC"
CELERY_BEAT_SCHEDULE: dict[str, Any] = {}

# The web.
_public = urlsplit(BATON_PUBLIC_URL)
ALLOWED_HOSTS = env.words("BATON_ALLOWED_HOSTS", ["127.0.0.1", "localhost", "[::1]", _public.hostname or "localhost"])
CSRF_TRUSTED_ORIGINS = [f"{_public.scheme}://{_public.netloc}"]
STATIC_URL = "static/"
STATIC_ROOT = DATA_DIR / "static"  # filled by collectstatic; in development files are served from where they are
WHITENOISE_USE_FINDERS = WHITENOISE_AUTOREFRESH = DEBUG
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEBUG
        else "whitenoise.storage.CompressedManifestStaticFilesStorage"
    },
    "artifacts": {"BACKEND": BATON_ARTIFACT_STORAGE, "OPTIONS": BATON_ARTIFACT_OPTIONS},
}
MEDIA_ROOT = DATA_DIR / "media"
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
if not DEBUG:
    # Set BATON_HTTPS=0 only where nothing but a trusted network reaches the server.
    _https = env.boolean("BATON_HTTPS", True)
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SECURE_SSL_REDIRECT = SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _https
    SECURE_HSTS_SECONDS = env.integer("BATON_HSTS_SECONDS", 31_536_000) if _https else 0
    SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = _https
    SECURE_REDIRECT_EXEMPT = [r"^api/v1/health/"]  # asked from beside the server, without the proxy
SESSION_COOKIE_HTTPONLY = True

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]

LANGUAGE_CODE = "en"
FORMAT_MODULE_PATH = ["orchestrator_site.formats"]
USE_TZ = True
TIME_ZONE = "UTC"

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "orchestrator_site.core.tokens.TokenAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["orchestrator_site.core.permissions.MayAccess"],
    "DEFAULT_PARSER_CLASSES": ["orchestrator_site.core.parsers.JsonParser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_SCHEMA_CLASS": "orchestrator_site.core.schema.BatonSchema",
    "DEFAULT_PAGINATION_CLASS": "orchestrator_site.core.api.Page",
    "EXCEPTION_HANDLER": "orchestrator_site.core.problems.handler",
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Baton",
    "DESCRIPTION": "A control plane for AI agents: agents propose, people dispose.\n\n"
    "Errors are RFC 9457 problem documents; an unknown field is a 400; what you may not see is a 404.",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_AUTHENTICATION": [],  # the description is no secret, and a stale token must not hide it
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SWAGGER_UI_SETTINGS": {"deepLinking": True, "persistAuthorization": False, "validatorUrl": None},
    "REDOC_DIST": "SIDECAR",
    "ENUM_NAME_OVERRIDES": {
        "Risk": "tools.models.policies.RISKS",
        "RunStatus": "runs.states.RUN.choices",
        "DispatchStatus": "runs.states.DISPATCH.choices",
        "StepStatus": "runs.states.STEP.choices",
        "CallStatus": "runs.states.TOOL_CALL.choices",
        "AttemptStatus": "runs.states.ATTEMPT.choices",
        "ProposalStatus": "runs.states.HANDOFF.choices",
        "NodeStatus": "runs.states.NODE.choices",
        "ApprovalStatus": "approvals.states.REQUEST.choices",
        "PolicyStatus": "tools.models.policies.POLICY.choices",
        "SimulationStatus": "runs.states.SIMULATION.choices",
        "BreakerKind": "runs.models.pacing.BREAKER_KINDS",
        "Flow": ["ask", "deny"],
        "Label": "tools.models.policies.LABELS",
    },
}
UNFOLD = {
    "SITE_TITLE": "Baton",
    "SITE_HEADER": "Baton",
    "SITE_SYMBOL": "conversion_path",
    "SITE_URL": "/",
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": "orchestrator_site.admin_navigation.mark"}],
    "STYLES": ["orchestrator_site.admin_navigation.stylesheet"],
    "ENVIRONMENT": "orchestrator_site.admin_navigation.environment",
    "SIDEBAR": {"show_search": False, "navigation": "orchestrator_site.admin_navigation.sidebar"},
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": env.text("BATON_LOG_LEVEL", "INFO")},
    "loggers": {
        "django": {"handlers": [], "propagate": True},
        "httpx2": {"level": "WARNING"},  # a line for every model call helps nobody: its step is in the log of the run
    },
}
