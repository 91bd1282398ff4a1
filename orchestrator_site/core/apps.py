from django.apps import AppConfig


class CoreConfig(AppConfig):
    name = "orchestrator_site.core"
    label = "core"
