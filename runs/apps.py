from django.apps import AppConfig


class RunsConfig(AppConfig):
    name = "runs"

    def ready(self) -> None:
        from runs import (
            approval_kinds,
            board,
            contracts,
            handoff_kinds,
            plan_kinds,
            platform_tools,
            routing_kinds,
            supervisor_tools,
            workspace_tools,
        )
        from runs.handing_over import proposals
        from runs.orchestration import plans
        from runs.pacing import receivers as pacing
        from runs.planning import asking
        from runs.policies import deferred, names  # noqa: F401  the first registers its observer by itself

        for tools in (platform_tools, proposals, supervisor_tools, workspace_tools, board):
            tools.register()
        for asked in (approval_kinds, handoff_kinds, plan_kinds, routing_kinds):
            asked.register()
        pacing.connect()
        names.register()
        contracts.register(asking.RULES, plans.faults_of_answer)
