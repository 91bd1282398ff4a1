"""What an installation needs beside its tables: every installed app may have a `bootstrap.py` with `bootstrap()`.

Called after each migrate, in the order of INSTALLED_APPS; running one twice must be harmless.
"""

from collections.abc import Callable, Iterator
from importlib import import_module

from django.apps import apps
from django.utils.module_loading import module_has_submodule


def bootstrap() -> None:
    for hook in _hooks():
        hook()


def _hooks() -> Iterator[Callable[[], None]]:
    for app in apps.get_app_configs():
        if app.module and module_has_submodule(app.module, "bootstrap"):
            yield import_module(f"{app.name}.bootstrap").bootstrap
