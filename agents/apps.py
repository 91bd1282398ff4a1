from django.apps import AppConfig


class AgentsConfig(AppConfig):
    name = "agents"

    def ready(self) -> None:
        from agents import receivers, roster
        from agents.models import Agent
        from tools import outbound
        from tools.policies import versions

        receivers.connect()
        outbound.serve_from(lambda: roster.current().outbound)
        versions.agents_named_by(lambda: Agent.objects.values_list("slug", flat=True))
