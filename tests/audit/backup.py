"""A backup of the test's own database, by PostgreSQL's own programs, and the same put back in its place."""

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import psycopg
from django.db import connection
from psycopg import sql

from orchestrator_site.services.postgres import package_folder


class Backup:
    """Taken when it is made. `restore()` throws away everything that was committed since."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="baton-backup-")
        self._file = Path(self._folder.name) / "backup"
        _run("pg_dump", "--format=custom", "--file", str(self._file), _name())

    def restore(self) -> None:
        """Whoever is connected is thrown out, as when a server is replaced."""
        connection.close()
        connection.close_pool()  # type: ignore[attr-defined]
        with psycopg.connect(**_login(), dbname="postgres", autocommit=True) as database:
            name = sql.Identifier(_name())
            database.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))
            database.execute(sql.SQL("CREATE DATABASE {}").format(name))
        _run("pg_restore", "--dbname", _name(), str(self._file))

    def forget(self) -> None:
        self._folder.cleanup()


def _run(program: str, *arguments: str) -> None:
    login = _login()
    options = [f"--host={login['host']}", f"--username={login['user']}"]
    options += [f"--port={login['port']}"] if login["port"] else []
    done = subprocess.run(
        [_program(program), *options, *arguments],
        env={"PGPASSWORD": login["password"], "LC_ALL": "C"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def _program(name: str) -> str:
    own = package_folder() / "pginstall" / "bin" / name
    found = str(own) if own.exists() else shutil.which(name)
    assert found, f"no {name} beside the embedded PostgreSQL, and none on the path"
    return found


def _name() -> str:
    return connection.settings_dict["NAME"]


def _login() -> dict[str, Any]:
    parts = connection.settings_dict
    return {"host": parts["HOST"], "user": parts["USER"], "password": parts["PASSWORD"], "port": parts["PORT"] or ""}
