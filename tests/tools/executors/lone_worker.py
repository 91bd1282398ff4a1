"""A process like a worker: it runs one call that never ends, in a thread, and says who carries it.

`how` its fork server begins: as a `copy` of it, or as an `interpreter` of its own.
"""

import json
import sys
import threading
import time
from uuid import UUID

from tests.tools import targets  # noqa: F401  registers the callables
from tools import executors
from tools.values import CallContext, ExecutorKind, ToolSpec


def main(path: str, how: str) -> None:
    if how == "copy":
        executors.prepare()
    spec = ToolSpec("appends", 1, "", {"type": "object"}, ExecutorKind.PYTHON, {"callable": "targets.appends"})
    call = CallContext("key", UUID(int=1), UUID(int=2), UUID(int=3))
    print(json.dumps(executors.process_identities()), flush=True)
    options = {"timeout_seconds": 120.0, "result_limit_bytes": 1000, "call": call}
    threading.Thread(target=executors.run, args=[spec, {"path": path}], kwargs=options).start()
    time.sleep(120)


if __name__ == "__main__":
    main(*sys.argv[1:])
