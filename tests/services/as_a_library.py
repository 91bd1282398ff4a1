"""Run by `test_platform.py` in a process of its own: the platform as another command uses it. Prints what it saw."""

import json
import os
import signal
import sys
import urllib.request
from typing import Any

import django


def main() -> None:
    django.setup()
    from orchestrator_site.services.platform import Platform

    exits: list[tuple[str, int]] = []
    said: list[str] = []
    seen: dict[str, Any] = {}

    def before_web(platform: Platform) -> None:
        seen["running before web"] = list(platform.children)
        platform.add_child(
            "guest", [sys.executable, "-c", "import os, time; print(os.environ['MARK']); time.sleep(60)"]
        )

    with Platform(port=8700, workers=2, env={"MARK": "seen"}, say=said.append, before_web=before_web) as platform:
        platform.on_exit(lambda name, pid: exits.append((name, pid)))
        seen["children"] = list(platform.children)
        with urllib.request.urlopen(f"{platform.url}/api/v1/health/live/") as answer:
            seen["status"] = answer.status
        victim = platform.kill("worker-2", signal.SIGKILL)
        platform.watch(until=lambda: platform.children["worker-2"].is_ready() and bool(exits))
        seen["guest saw"] = platform.children["guest"].log.read_text().strip()
        os.kill(os.getpid(), signal.SIGTERM)
        platform.watch()

    seen |= {"exits are the victim's": exits == [("worker-2", victim)], "said": said}
    print(json.dumps(seen))


if __name__ == "__main__":
    main()
