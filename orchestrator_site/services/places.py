"""Where the embedded services keep their sockets. Settings import this, so it needs neither Django nor a server."""

import hashlib
import os
import tempfile
from pathlib import Path

# Linux takes 107 bytes, macOS 103; PostgreSQL adds the longest name in the folder.
LONGEST_SOCKET_PATH = 103
LONGEST_SOCKET_NAME = "/.s.PGSQL.5432.lock"


def socket_folder(data: Path) -> Path:
    """`<data>/run`, or a short folder of our own under the temporary one when no server could use that."""
    folder = data / "run"
    too_long = len(os.fsencode(folder)) + len(LONGEST_SOCKET_NAME) > LONGEST_SOCKET_PATH
    if too_long or (os.geteuid() == 0 and not is_open_to_others(data)):
        mark = hashlib.sha256(os.fsencode(data)).hexdigest()[:10]
        return Path(tempfile.gettempdir()) / f"baton-{os.geteuid()}-{mark}"
    return folder


def is_open_to_others(folder: Path) -> bool:
    """Whether another user may walk down to `folder`; parts that do not exist yet will be made so that they may."""
    return all(part.stat().st_mode & 0o001 for part in [folder, *folder.parents] if part.exists())


def redis_socket(data: Path) -> Path:
    return socket_folder(data) / "redis.sock"


def made(data: Path) -> Path:
    """The data folder, there from now on; made by root, it lets PostgreSQL's user walk through."""
    missing = [part for part in [data, *data.parents] if not part.exists()]
    for part in reversed(missing):
        part.mkdir(exist_ok=True)
        part.chmod(0o711 if os.geteuid() == 0 else 0o700)
    return data
