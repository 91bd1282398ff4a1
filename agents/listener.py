"""The thread that keeps a process's roster up to date, and says in the database what the process serves."""

import logging
import os
import socket
import threading
import time
from contextlib import closing

import psycopg
from django.conf import settings
from django.db import Error, connection

from agents import roster
from tools.executors import isolation

logger = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 5.0
# A process that says nothing for a day is gone; its row goes when another one starts.
FORGOTTEN_AFTER = "1 day"
# How long one wait for a signal lasts; stopping takes no longer than this.
WAIT_SECONDS = 0.5
SHORTEST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.1, 2.0
# A server that vanished without a goodbye is noticed within about ten seconds.
CONNECTION = {
    "application_name": "baton roster",
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}

_SEEN = """
INSERT INTO agents_workerroster (worker, host, pid, isolates, epoch, error) VALUES (%s, %s, %s, %s, %s, %s)
ON CONFLICT (worker) DO UPDATE SET host = excluded.host, pid = excluded.pid, epoch = excluded.epoch,
    isolates = excluded.isolates, error = excluded.error, seen_at = now(),
    started_at = CASE WHEN agents_workerroster.pid = excluded.pid AND agents_workerroster.host = excluded.host
                      THEN agents_workerroster.started_at ELSE now() END
"""

Served = tuple[int, str]


class Listener(threading.Thread):
    """LISTENs on a connection of its own, outside the pool; whatever breaks, it begins again.

    On every connect the roster is read unconditionally: signals sent meanwhile are lost.
    """

    def __init__(self, worker_id: str) -> None:
        super().__init__(name="roster-listener", daemon=True)
        self.worker_id = worker_id
        self._stopping = threading.Event()
        self._told: Served | None = None
        self._told_at = 0.0

    def stop(self) -> None:
        self._stopping.set()

    def run(self) -> None:
        pause = SHORTEST_PAUSE_SECONDS
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                with closing(self._connect()) as database:
                    self._serve(database)
            except (psycopg.Error, Error) as error:
                logger.warning("roster listener of %s begins again: %s", self.worker_id, error)
            except Exception:
                # A dead listener would leave this process serving yesterday's roster, and nobody would be told.
                logger.exception("roster listener of %s begins again", self.worker_id)
            if time.monotonic() - began > LONGEST_PAUSE_SECONDS:
                pause = SHORTEST_PAUSE_SECONDS
            self._stopping.wait(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    def _connect(self) -> psycopg.Connection:
        parameters = connection.get_connection_params() | CONNECTION
        return psycopg.connect(**parameters, autocommit=True)

    def _serve(self, database: psycopg.Connection) -> None:
        database.execute(f"LISTEN {roster.CHANNEL}")
        self._load()
        database.execute("DELETE FROM agents_workerroster WHERE seen_at < now() - %s::interval", [FORGOTTEN_AFTER])
        self._tell(database)
        polled_at = time.monotonic()
        while not self._stopping.is_set():
            heard = list(database.notifies(timeout=WAIT_SECONDS, stop_after=1))
            if heard or time.monotonic() - polled_at >= _poll_seconds():
                self._catch_up(database)
                polled_at = time.monotonic()
            self._tell(database)
        database.execute(
            "DELETE FROM agents_workerroster WHERE worker = %s AND pid = %s", [self.worker_id, os.getpid()]
        )

    def _catch_up(self, database: psycopg.Connection) -> None:
        row = database.execute("SELECT epoch FROM agents_rosterepoch").fetchone()
        here = roster.loaded()
        # Not "greater than": a database restored from a backup is behind what this process remembers.
        if here is None or here.epoch != (row[0] if row else 0):
            self._load()

    def _load(self) -> None:
        try:
            roster.load()
        finally:
            connection.close()  # back to the pool: nobody else does it for a thread of our own

    def _tell(self, database: psycopg.Connection) -> None:
        here = roster.loaded()
        served: Served = (here.epoch, here.error_text()) if here else (0, "")
        if served == self._told and time.monotonic() - self._told_at < HEARTBEAT_SECONDS:
            return
        database.execute(_SEEN, [self.worker_id, socket.gethostname(), os.getpid(), isolation.is_possible(), *served])
        self._told, self._told_at = served, time.monotonic()


def _poll_seconds() -> float:
    return getattr(settings, "BATON_ROSTER_POLL_SECONDS", 2)


_listener: Listener | None = None


def start_listener(worker_id: str) -> Listener:
    """Start this process's listener; a second call answers with the one that runs. Not before a fork."""
    global _listener
    if _listener is None or not _listener.is_alive():
        _listener = Listener(worker_id)
        _listener.start()
    return _listener


def stop_listener(timeout_seconds: float = 5) -> None:
    """Stop it and take its row away; harmless when none runs."""
    global _listener
    if _listener is not None:
        _listener.stop()
        _listener.join(timeout_seconds)
        _listener = None
