from django.apps import AppConfig


class RunsConfig(AppConfig):
    name = "runs"

    def ready(self) -> None:
        from runs import approval_kinds, platform_tools

        platform_tools.register()
        approval_kinds.register()
