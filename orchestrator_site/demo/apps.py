from django.apps import AppConfig


class DemoConfig(AppConfig):
    name = "orchestrator_site.demo"
    label = "demo"
    verbose_name = "Demo shop"

    def ready(self) -> None:
        from orchestrator_site.demo import tools  # noqa: F401  registers the shop's callables
