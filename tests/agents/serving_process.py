"""Serve the roster and nothing else, until the input ends: `python -m tests.agents.serving_process WORKER`.

It prints a line for every roster it holds: the epoch and the slugs.
"""

import sys
import threading
import time

import django


def main() -> None:
    django.setup()
    from agents import listener, roster

    listener.HEARTBEAT_SECONDS = 0.5
    listener.start_listener(sys.argv[1])
    ended = threading.Event()

    def wait_for_the_end() -> None:
        sys.stdin.read()
        ended.set()

    threading.Thread(target=wait_for_the_end, daemon=True).start()
    shown = None
    while not ended.is_set():
        if (here := roster.loaded()) is not None and here is not shown:
            print(here.epoch, *sorted(here.entries), flush=True)
            shown = here
        time.sleep(0.005)
    listener.stop_listener()


if __name__ == "__main__":
    main()
