import os
import secrets
from pathlib import Path

from orchestrator_site.services.places import made


def kept_key(path: Path) -> str:
    """The key in `path`, made at the first call: sessions survive a restart, and no two installations share one."""
    try:
        return path.read_text()
    except FileNotFoundError:
        _make(path)
        return path.read_text()


def _make(path: Path) -> None:
    made(path.parent)
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    fresh.touch(mode=0o600)
    fresh.write_text(secrets.token_urlsafe(50))
    try:
        os.link(fresh, path)  # two processes may start at once: the first one's key stands
    except FileExistsError:
        pass
    finally:
        fresh.unlink()
