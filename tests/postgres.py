"""A real PostgreSQL for tests: a cluster of its own in a temporary folder, reached over a unix socket only."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4


@contextmanager
def server(*, is_durable: bool = False) -> Iterator[Path]:
    """The folder of the socket. Runs as the user postgres when we are root, as PostgreSQL demands."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not found:
        raise RuntimeError("no PostgreSQL: tests/install_peers.sh installs it")
    folder = Path(tempfile.mkdtemp(prefix="darban-pg-"))
    as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []
    if as_user:
        shutil.chown(folder, "postgres", "postgres")
    try:
        data = folder / "data"
        _run([*as_user, str(found[-1] / "initdb"), "-D", str(data), "-U", "darban", "--auth=trust", "--no-sync"])
        options = f"-c listen_addresses= -c unix_socket_directories={folder} -c fsync={'on' if is_durable else 'off'}"
        _run(
            [
                *as_user,
                str(found[-1] / "pg_ctl"),
                "-D",
                str(data),
                "-w",
                "-o",
                options,
                "-l",
                str(folder / "log"),
                "start",
            ]
        )
        try:
            yield folder
        finally:
            _run([*as_user, str(found[-1] / "pg_ctl"), "-D", str(data), "-m", "immediate", "stop"])
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def fresh_database(socket_folder: Path) -> str:
    """The URL of a new, empty database."""
    import psycopg

    name = f"t{uuid4().hex[:12]}"
    with psycopg.connect(host=str(socket_folder), user="darban", dbname="postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return f"postgresql://darban@/{name}?host={socket_folder}"


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd="/")
