from importlib import import_module

from django.apps import AppConfig
from django.conf import settings


class ToolsConfig(AppConfig):
    name = "tools"

    def ready(self) -> None:
        """Import the modules in which an installation registers its own callables."""
        for module in settings.BATON_CALLABLES:
            import_module(module)
