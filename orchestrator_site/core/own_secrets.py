"""Environment variables that are the platform's own: no tool and no model of the catalogue may name them as theirs."""

PLATFORM_OWN = frozenset({"SECRET_KEY", "DATABASE_URL", "REDIS_URL", "ANTHROPIC_API_KEY", "BATON_CHECKPOINT_KEY_FILE"})
