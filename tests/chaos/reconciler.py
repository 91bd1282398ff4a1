"""A process that only reconciles: the threads of `runs.reconcile`, without a worker around them."""

import os
import threading
from pathlib import Path

import django


def main() -> None:
    django.setup()
    from agents import listener, llm  # noqa: F401  (imported now: slow, and must not be inside a thread's work)
    from runs import leases
    from runs.reconcile import Reconciler

    listener.start_listener(leases.this_worker())
    Reconciler().start()
    Path(os.environ["BATON_READY_FILE"]).write_text(str(os.getpid()))
    threading.Event().wait()


if __name__ == "__main__":
    main()
