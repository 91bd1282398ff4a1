"""Messages between dispatches, to be read."""

from django.contrib import admin

from orchestrator_site.core.admin_bases import Growing, among_newest, run_link, short, shown_as_text
from runs.models import Message


@admin.register(Message)
class MessageAdmin(Growing):
    id_paths = ("dispatch", "dispatch__run")
    list_display = ["name", "run_shown", "to", "sender", "step", "created_at"]
    search_fields = ["sender"]
    search_help_text = among_newest("The id of a dispatch or of its run", "who sent it")
    list_select_related = ["dispatch__manifest__agent"]
    text_shown = shown_as_text("text")
    fields = ["run_shown", "dispatch", "number", "sender", "sender_dispatch", "text_shown", "step", "created_at"]

    @admin.display(description="message")
    def name(self, message: Message) -> str:
        return short(message.text)

    @admin.display(description="run")
    def run_shown(self, message: Message) -> str:
        return run_link(message.dispatch.run_id)

    @admin.display(description="to")
    def to(self, message: Message) -> str:
        return message.dispatch.manifest.agent.slug
