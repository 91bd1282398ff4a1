from django.apps import AppConfig


class CoreConfig(AppConfig):
    name = "orchestrator_site.core"
    label = "core"

    def ready(self) -> None:
        from orchestrator_site.core import connections, renames, roles

        connections.tune()
        roles.connect()
        renames.connect()
