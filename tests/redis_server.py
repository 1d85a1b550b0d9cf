"""A real Redis for tests: a server of its own in a temporary folder, over a unix socket, that keeps nothing on disk."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from tests.standing_still import standing_still


class RedisServer:
    """Not started yet."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.socket = folder / "redis.sock"
        self.url = f"unix://{self.socket}"
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Until it takes connections; it remembers nothing of an earlier life."""
        program = shutil.which("redis-server")
        if program is None:
            raise RuntimeError("no Redis: tests/install_peers.sh installs it")
        self.socket.unlink(missing_ok=True)
        options = [
            "--port",
            "0",
            "--unixsocket",
            str(self.socket),
            "--unixsocketperm",
            "777",
            "--save",
            "",
            *self._options,
        ]
        self._process = subprocess.Popen(
            [program, *options, "--dir", str(self.socket.parent)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 20
        while not self.socket.exists():
            assert time.monotonic() < deadline and self._process.poll() is None, "redis-server does not start"
            time.sleep(0.01)

    def kill(self) -> bool:
        """SIGKILL; whether one ran and is dead."""
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return False
        process.kill()
        return process.wait(20) < 0

    def standing_still(self) -> AbstractContextManager[None]:
        """It takes connections and answers nobody."""
        return standing_still(self._process)


@contextmanager
def redis_server(*options: str) -> Iterator[RedisServer]:
    """One that runs, and is gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="darban-redis-"))
    folder.chmod(0o755)
    one = RedisServer(folder, *options)
    try:
        one.start()
        yield one
    finally:
        one.kill()
        shutil.rmtree(folder, ignore_errors=True)
