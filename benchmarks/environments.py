"""Each peer's own Python environment, with the versions pinned in `peers/*.txt`; made once, kept out of git."""

import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent
# Module of the peer -> its pins; what is not named here runs in the platform's own environment.
PINS = {"floor": "floor", "on_langgraph": "langgraph", "on_dbos": "dbos"}


def python_of(module: str) -> str:
    """The interpreter of a peer; installs the environment when the pins have changed since."""
    if module not in PINS:
        return sys.executable
    pins = FOLDER / "peers" / f"{PINS[module]}.txt"
    environment = FOLDER / ".venvs" / pins.stem
    python, mark = environment / "bin" / "python", environment / "installed.txt"
    if not mark.exists() or mark.read_text() != pins.read_text():
        print(f"installing {pins.name} into {environment.relative_to(FOLDER.parent)}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "-r", str(pins)], check=True)
        mark.write_text(pins.read_text())
    return str(python)
