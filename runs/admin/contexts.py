"""What agents are shown of their own past, to be read."""

from django.contrib import admin

from orchestrator_site.core.admin_bases import Growing, among_newest, run_link, shown_as_json, shown_as_text
from runs.models import ContextView


@admin.register(ContextView)
class ContextViewAdmin(Growing):
    id_paths = ("dispatch", "dispatch__run")
    list_display = ["name", "run_shown", "of", "after_step", "tokens_before", "tokens_after", "created_at"]
    search_fields = ["dispatch__manifest__agent__slug"]
    search_help_text = among_newest("The id of a dispatch or of its run", "an agent")
    list_select_related = ["dispatch__manifest__agent"]
    left_out_shown = shown_as_json("left_out", "calls whose results were left out")
    summary_shown = shown_as_text("summary")
    fields = [
        *["run_shown", "dispatch", "number", "after_step", "left_out_shown", "summarised_to", "summary_shown"],
        *["failed", "node", "made_by", "tokens_before", "tokens_after", "created_at"],
    ]

    @admin.display(description="view")
    def name(self, view: ContextView) -> str:
        return f"summary of {view.summarised_to} turns" if view.summarised_to else f"{len(view.left_out)} left out"

    @admin.display(description="run")
    def run_shown(self, view: ContextView) -> str:
        return run_link(view.dispatch.run_id)

    @admin.display(description="of")
    def of(self, view: ContextView) -> str:
        return view.dispatch.manifest.agent.slug
