"""A real PostgreSQL for tests: a cluster of its own in a temporary folder, reached over a unix socket only."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import psutil

_PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin"))


class Cluster:
    """Runs as the user postgres when we are root, as PostgreSQL demands. `folder` has the socket."""

    def __init__(self, folder: Path, *, is_durable: bool = False) -> None:
        self.folder = folder
        self._data = folder / "data"
        self._fsync = "on" if is_durable else "off"
        self._as_user: list[str] = []
        if os.geteuid() == 0:
            self._as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
            shutil.chown(folder, "postgres", "postgres")
        self._run("initdb", "-D", str(self._data), "-U", "darban", "--auth=trust", "--no-sync")

    def start(self) -> None:
        """Until it takes connections; after a death it recovers first."""
        options = f"-c listen_addresses= -c unix_socket_directories={self.folder} -c fsync={self._fsync}"
        self._run("pg_ctl", "-D", str(self._data), "-w", "-o", options, "-l", str(self.folder / "log"), "start")

    def stop(self) -> None:
        """At once, whether or not it runs."""
        with contextlib.suppress(subprocess.CalledProcessError):
            self._run("pg_ctl", "-D", str(self._data), "-m", "immediate", "stop")

    def processes(self) -> list[psutil.Process]:
        """The first one, and one for each connection and task."""
        try:
            first = psutil.Process(int((self._data / "postmaster.pid").read_text().split()[0]))
            return [first, *first.children()]
        except (OSError, psutil.NoSuchProcess):
            return []

    def kill(self) -> bool:
        """SIGKILL to all of it; whether it is dead."""
        processes = self.processes()
        for one in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        return bool(processes) and not psutil.wait_procs(processes, timeout=20)[1]

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """Nothing of it moves; who connects, or is connected, waits."""
        processes = self.processes()
        for one in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.suspend()
        try:
            deadline = time.monotonic() + 10
            while processes[0].status() != psutil.STATUS_STOPPED:  # on a busy machine the signal takes its time
                assert time.monotonic() < deadline
                time.sleep(0.01)
            yield
        finally:
            for one in processes:
                with contextlib.suppress(psutil.NoSuchProcess):
                    one.resume()

    def _run(self, program: str, *words: str) -> None:
        command = [*self._as_user, str(_PROGRAMS[-1] / program), *words]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd="/")


@contextmanager
def cluster(*, is_durable: bool = False) -> Iterator[Cluster]:
    """One that runs, and is gone afterwards."""
    if not _PROGRAMS:
        raise RuntimeError("no PostgreSQL: tests/install_peers.sh installs it")
    folder = Path(tempfile.mkdtemp(prefix="darban-pg-"))
    try:
        one = Cluster(folder, is_durable=is_durable)
        try:
            one.start()
            yield one
        finally:
            one.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def server(*, is_durable: bool = False) -> Iterator[Path]:
    """The folder of the socket of one that runs."""
    with cluster(is_durable=is_durable) as one:
        yield one.folder


def fresh_database(socket_folder: Path) -> str:
    """The URL of a new, empty database."""
    import psycopg

    name = f"t{uuid4().hex[:12]}"
    with psycopg.connect(host=str(socket_folder), user="darban", dbname="postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return f"postgresql://darban@/{name}?host={socket_folder}"
