"""The python tools of the nemesis, over the outside ledger. Named in BATON_CALLABLES of the processes under test.

`raise`, `exit` and `exit-before` happen here, in the tool's own process; the other troubles are the ledger's.
A tool that raises says that it did not do it, so these raise before they ask for anything.
"""

import http.client
import json
import os
from typing import Any

from tools import callables
from tools.values import CallContext

PATIENCE_SECONDS = 60


def ask_ledger(method: str, path: str, arguments: Any = None, key: str = "") -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", int(os.environ["CHAOS_LEDGER_PORT"]), timeout=PATIENCE_SECONDS)
    try:
        body = None if arguments is None else json.dumps(arguments).encode()
        connection.request(method, path, body, {"Idempotency-Key": key, "Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, json.load(response)
    finally:
        connection.close()


def lookup(key: str) -> Any:
    status, value = ask_ledger("GET", f"/effects/{key}")
    return value if status == 200 else None


def act(kind: str, call: CallContext, arguments: dict[str, Any]) -> Any:
    trouble = arguments.get("trouble")
    if trouble == "raise":
        raise RuntimeError("the cupboard is bare")
    if trouble == "exit-before":
        os._exit(3)
    status, value = ask_ledger("POST", f"/{kind}", arguments, call.idempotency_key)
    if trouble == "exit":
        os._exit(3)
    if status != 200:
        raise RuntimeError(f"the target answered {status}")
    return value


@callables.register("chaos.pure", trusted=True)
def pure(*, call: CallContext, **arguments: Any) -> Any:
    return act("pure", call, arguments)


@callables.register("chaos.keyed")
def keyed(*, call: CallContext, **arguments: Any) -> Any:
    return act("keyed", call, arguments)


@callables.register("chaos.verifiable", lookup=lookup)
def verifiable(*, call: CallContext, **arguments: Any) -> Any:
    return act("verifiable", call, arguments)


@callables.register("chaos.unsafe")
def unsafe(*, call: CallContext, **arguments: Any) -> Any:
    return act("unsafe", call, arguments)
