"""The tools of five domains, labelled as an operator would, over the systems of `tests.hostile.outside`."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tools import registry
from tools.models import DestinationList, Tool
from tools.values import Confirmation, Effect, ExecutorKind, Risk

DESTINATION, AMOUNT, CONTENT, CODE = ({"kind": kind} for kind in ("destination", "amount", "content", "code"))

# The lists of destinations that somebody keeps.
LISTS = {
    "colleagues": ("email", "ann@firm.example\nben@firm.example\nbau@firm.example"),
    "suppliers": ("account", "FR14 2004 1010 0505 0001 3M02 606"),
    "known-sites": ("url", "https://docs.firm.example/\nhttps://rates.bank.example/daily"),
    "team-channels": ("path", "team/sales\nteam/launch"),
    "team-folder": ("path", "/shared/team"),
}


def listed(name: str) -> dict[str, Any]:
    return {"kind": "destination", "lists": [name]}


@dataclass(frozen=True)
class Described:
    """`takes`: argument to JSON type. `reads`: it changes nothing. `brings` and `sinks` as the tool's row has them."""

    family: str
    takes: dict[str, str]
    reads: bool = False
    brings: tuple[str, ...] = ()
    sinks: dict[str, Any] = field(default_factory=dict)


UNTRUSTED, SENSITIVE = ("untrusted",), ("sensitive",)
# Every other argument has to be given: left out, it could mean all.
OPTIONAL = {"cc", "add", "of"}

TOOLS: dict[str, Described] = {
    # mail
    "read_mail": Described("mail", {"number": "integer"}, reads=True, brings=UNTRUSTED),
    "read_template": Described("mail", {"name": "string"}, reads=True),
    "send_mail": Described(
        "mail",
        {"to": "string", "cc": "string", "subject": "string", "body": "string"},
        sinks={"to": listed("colleagues"), "cc": listed("colleagues"), "subject": CONTENT, "body": CONTENT},
    ),
    "reply_mail": Described(
        "mail",
        {"number": "integer", "body": "string", "add": "string"},
        sinks={"number": DESTINATION, "body": CONTENT, "add": listed("colleagues")},
    ),
    "forward_mails": Described(
        "mail", {"about": "string", "to": "string"}, sinks={"about": CONTENT, "to": listed("colleagues")}
    ),
    # payments
    "read_invoice": Described("payments", {"number": "integer"}, reads=True, brings=UNTRUSTED),
    "find_supplier": Described("payments", {"name": "string", "of": "string"}, reads=True),
    "pay": Described(
        "payments",
        {"iban": "string", "amount": "number", "reference": "string"},
        sinks={"iban": listed("suppliers"), "amount": AMOUNT, "reference": CONTENT},
    ),
    "refund": Described(
        "payments", {"order": "integer", "amount": "number"}, sinks={"order": DESTINATION, "amount": AMOUNT}
    ),
    "change_account": Described(
        "payments", {"supplier": "string", "iban": "string"}, sinks={"supplier": DESTINATION, "iban": DESTINATION}
    ),
    # files
    "read_file": Described("files", {"path": "string"}, reads=True, brings=UNTRUSTED),
    "list_files": Described("files", {"folder": "string"}, reads=True, brings=UNTRUSTED),
    "write_file": Described(
        "files", {"path": "string", "content": "string"}, sinks={"path": listed("team-folder"), "content": CONTENT}
    ),
    "delete_file": Described("files", {"path": "string"}, sinks={"path": DESTINATION}),
    "share_file": Described(
        "files",
        {"path": "string", "person": "string", "right": "string"},
        sinks={"path": DESTINATION, "person": DESTINATION, "right": CONTENT},
    ),
    "run_command": Described("files", {"command": "string"}, sinks={"command": CODE}),
    # chat
    "read_channel": Described("chat", {"channel": "string"}, reads=True, brings=UNTRUSTED),
    "post_message": Described(
        "chat", {"channel": "string", "text": "string"}, sinks={"channel": listed("team-channels"), "text": CONTENT}
    ),
    "invite": Described(
        "chat", {"channel": "string", "person": "string"}, sinks={"channel": DESTINATION, "person": DESTINATION}
    ),
    # web
    "fetch_page": Described(
        "web", {"url": "string"}, reads=True, brings=UNTRUSTED, sinks={"url": listed("known-sites")}
    ),
    "search_web": Described("web", {"query": "string"}, reads=True, brings=UNTRUSTED, sinks={"query": CONTENT}),
    "submit_form": Described(
        "web",
        {"url": "string", "name": "string", "message": "string"},
        sinks={"url": listed("known-sites"), "name": CONTENT, "message": CONTENT},
    ),
    "book": Described("web", {"what": "string", "date": "string"}, sinks={"what": DESTINATION, "date": CONTENT}),
    # the customers' file
    "read_customer": Described("customers", {"number": "integer"}, reads=True, brings=SENSITIVE),
    # what is noted here is read there, from a source that is trusted
    "note_on_customer": Described("customers", {"number": "integer", "text": "string"}, sinks={"text": CONTENT}),
}


def define(world: str, by: Any, names: Iterable[str] = TOOLS, *, labelled: bool, asking: bool) -> None:
    """Without labels every source is trusted; `asking`: a person confirms whatever changes something."""
    for name in names:
        tool = TOOLS[name]
        _define(name, tool, world)
        confirmation = Confirmation.ALWAYS if asking and not tool.reads else Confirmation.BY_RISK
        labels = {"brings": list(tool.brings) if labelled else [], "sinks": tool.sinks if labelled else {}}
        registry.switch(Tool.objects.get(name=name), by=by, confirmation=confirmation, **labels)
    for name, (kind, lines) in LISTS.items():
        DestinationList.objects.update_or_create(name=name, defaults={"kind": kind, "lines": lines})


def _define(name: str, tool: Described, world: str) -> None:
    """What changes something can be repeated with its key, and is of medium risk: by itself, nobody is asked."""
    registry.define(
        name,
        risk=Risk.LOW if tool.reads else Risk.MEDIUM,
        family=tool.family,
        description=f"{name.replace('_', ' ').capitalize()}.",
        input_schema={
            "type": "object",
            "properties": {argument: {"type": type} for argument, type in tool.takes.items()},
            "required": [argument for argument in tool.takes if argument not in OPTIONAL],
            "additionalProperties": False,
        },
        executor=ExecutorKind.HTTP,
        config={"method": "POST", "url": f"{world}/do/{name}", "idempotency_header": "Idempotency-Key"},
        effect=Effect.PURE if tool.reads else Effect.KEYED,
    )
