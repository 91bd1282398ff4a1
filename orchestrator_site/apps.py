from importlib import import_module

from django.apps import AppConfig


class OrchestratorSiteConfig(AppConfig):
    name = "orchestrator_site"
    label = "orchestrator_site"

    def ready(self) -> None:
        import_module("orchestrator_site.celery")  # every process can ring a worker
        import_module("orchestrator_site.checks")
