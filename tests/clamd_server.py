"""A real clamd for tests, in a temporary folder: it knows signatures of our own, and takes 1 MiB at most."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from tests.standing_still import standing_still

VIRUS = b"This is no virus, but Darban's tests call it one."
PHISH = b"This is no phishing either, whatever the tests say."
KNOWN = {"Darban.Test.Virus": VIRUS, "Html.Phishing.Darban": PHISH}  # clamd adds ".UNOFFICIAL"


class ClamdServer:
    """Not started yet."""

    def __init__(self, folder: Path) -> None:
        self.socket = folder / "clamd.sock"
        self.address = f"unix:{self.socket}"
        self._config = folder / "clamd.conf"
        self._process: subprocess.Popen[bytes] | None = None
        (folder / "db").mkdir()
        lines = (f"{name}:0:*:{said.hex()}\n" for name, said in KNOWN.items())
        (folder / "db/darban.ndb").write_text("".join(lines))
        self._config.write_text(
            f"DatabaseDirectory {folder}/db\nLocalSocket {self.socket}\nTemporaryDirectory {folder}\nForeground yes\n"
            "StreamMaxLength 1M\nMaxThreads 4\nFixStaleSocket yes\nSelfCheck 0\n"
        )

    def start(self) -> None:
        """Until it answers."""
        program = shutil.which("clamd", path="/usr/sbin:/usr/bin")
        if program is None:
            raise RuntimeError("no clamd: tests/install_peers.sh installs it")
        self.socket.unlink(missing_ok=True)
        self._process = subprocess.Popen(
            [program, f"--config-file={self._config}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 60
        while not self.socket.exists():
            assert time.monotonic() < deadline and self._process.poll() is None, "clamd does not start"
            time.sleep(0.05)

    def kill(self) -> None:
        """SIGKILL, whether or not it runs."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait(20)

    def standing_still(self) -> AbstractContextManager[None]:
        """It takes connections and answers nobody."""
        return standing_still(self._process)


@contextmanager
def clamd_server() -> Iterator[ClamdServer]:
    """One that runs, and is gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="darban-clamd-"))
    folder.chmod(0o755)
    one = ClamdServer(folder)
    try:
        one.start()
        yield one
    finally:
        one.kill()
        shutil.rmtree(folder, ignore_errors=True)
