"""The stores of the fault test: SQLite beside the blobs, or a PostgreSQL and a Redis of its own; what can happen to each."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import time
from pathlib import Path
from typing import Any, Protocol

import psycopg

from tests.postgres import Cluster, fresh_database
from tests.redis_server import RedisServer

_WAIT_S = 30.0
Rows = list[tuple[Any, ...]]


class Store(Protocol):
    """A database, seen from outside the gateway."""

    url: str  # as [storage] database names it
    redis: str  # likewise

    def rows(self, query: str) -> Rows:
        """Of a query that reads; waits for a database that is busy or away."""

    def lock(self, for_s: float) -> bool:
        """Nobody else writes for so long; False when it is away itself, as its disk or server is."""


class Sqlite:
    """On the gateway's own disk."""

    url = "sqlite:///var/darban.db"
    redis = ""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "var/darban.db"

    def rows(self, query: str) -> Rows:
        """As Store."""
        with contextlib.closing(sqlite3.connect(self._path, timeout=_WAIT_S)) as connection:
            return connection.execute(query).fetchall()

    def lock(self, for_s: float) -> bool:
        """As Store."""
        with (
            contextlib.suppress(sqlite3.OperationalError),
            contextlib.closing(sqlite3.connect(self._path, timeout=_WAIT_S)) as connection,
        ):
            connection.isolation_level = None
            connection.execute("BEGIN IMMEDIATE")
            time.sleep(for_s)
            connection.execute("ROLLBACK")
            return True
        return False


class Postgres:
    """Servers of its own, whose processes can be killed and stopped."""

    def __init__(self, cluster: Cluster, memory: RedisServer) -> None:
        self._cluster = cluster
        self.memory = memory
        self.url, self.redis = fresh_database(cluster.folder), memory.url

    def rows(self, query: str) -> Rows:
        """As Store."""
        deadline = time.monotonic() + _WAIT_S
        while True:
            try:
                with psycopg.connect(self.url) as connection:
                    return connection.execute(query).fetchall()  # type: ignore[arg-type]
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def lock(self, for_s: float) -> bool:
        """As Store."""
        with contextlib.suppress(psycopg.OperationalError), psycopg.connect(self.url) as connection:
            connection.execute("LOCK TABLE held_message, counter IN EXCLUSIVE MODE")
            time.sleep(for_s)
            connection.rollback()
            return True
        return False

    def kill(self, away_s: float) -> bool:
        """SIGKILL to all of it, and later it is there again; whether it was dead."""
        is_dead = self._cluster.kill()
        time.sleep(away_s)
        for _ in range(20):
            with contextlib.suppress(subprocess.CalledProcessError):  # a connection's process is about to end
                self._cluster.start()
                return is_dead
            time.sleep(0.5)
        raise RuntimeError("PostgreSQL does not start again")

    def hold_up(self, for_s: float) -> None:
        """All of it stands still, connections stay."""
        with self._cluster.standing_still():
            time.sleep(for_s)

    def end_sessions(self) -> int:
        """The connections of others are cut; how many."""
        others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
        return len(self.rows(f"{others} AND pid <> pg_backend_pid()"))
