"""The nemesis: `python -m tests.chaos --minutes 10 --seed 7`. See docs/chaos.md."""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

# A developer's own key, server or mode must not leak into it; the embedded services are always its own.
FOREIGN = ("ANTHROPIC_", "BATON_", "CHAOS_")


def main() -> int:
    options = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    options.add_argument("--minutes", type=float, default=2.0, help="how long the nemesis strikes (default 2)")
    options.add_argument("--seed", default="", help="of all dice; without it one is taken and printed")
    options.add_argument("--pause", type=float, default=1.6, help="mean seconds between two faults")
    options.add_argument("--open", type=int, default=32, help="runs at work at once")
    options.add_argument("--only", nargs="*", default=[], metavar="FAULT", help="these kinds of faults and no other")
    options.add_argument("--control", default="", help="break this guarantee, and see whether it is caught")
    options.add_argument("--no-controls", action="store_true", help="do not end by running the controls")
    options.add_argument("--keep", action="store_true", help="keep the data folder, also when all is well")
    given = options.parse_args()
    seed = given.seed or str(int(time.time()))
    if given.control:
        return _control(given.control, seed, given.keep)
    print(f"seed {seed}, {given.minutes:g} minutes", flush=True)
    folder = _prepare()

    from tests.chaos import acts, controls

    is_well = acts.play(
        folder, seed, seconds=given.minutes * 60, pause_seconds=given.pause, most_open=given.open, only=given.only
    )
    acts.leave(folder, keep=given.keep or not is_well)
    has_teeth = given.no_controls or controls.all_caught(seed)
    return 0 if is_well and has_teeth else 1


def _control(name: str, seed: str, keep: bool) -> int:
    folder = _prepare()

    from tests.chaos import acts, controls

    is_caught = acts.play_control(folder, seed, controls.CONTROLS[name])
    acts.leave(folder, keep=keep)
    return 0 if is_caught else 1


def _prepare() -> Path:
    """A data folder of its own, and Django over it."""
    for name in [*os.environ]:
        if name.startswith(FOREIGN) or name in ("DATABASE_URL", "REDIS_URL", "DJANGO_SETTINGS_MODULE"):
            del os.environ[name]
    folder = Path(tempfile.mkdtemp(prefix="baton-chaos-"))
    folder.chmod(0o711)  # run by root, PostgreSQL is another user, who has to walk to it
    os.environ |= {
        "BATON_DATA_DIR": str(folder),
        "BATON_DB_POOL": "0",
        "BATON_DEMO": "0",
        "BATON_LOG_LEVEL": "ERROR",
        "BATON_CALLABLES": "tests.chaos.callables",
        "SECRET_KEY": "for the nemesis only, long enough to sign with",
        "DJANGO_SETTINGS_MODULE": "orchestrator_site.settings",
    }
    import django

    django.setup()
    return folder


if __name__ == "__main__":
    sys.exit(main())
