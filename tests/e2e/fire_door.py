"""The gateway in the fault test, with all its doors, which is started again however it ended."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import psutil

from tests.e2e import peers

PORTS = ("smtp", "milter", "spamd", "http", "web", "metrics", "a", "b", "l", "dns")
_CONFIG = """\
hostname = "mx.fire.test"
[smtp]
listen = ["127.0.0.1:{smtp}"]
workers = 2
[milter]
listen = "127.0.0.1:{milter}"
[spamd]
listen = "127.0.0.1:{spamd}"
[http]
listen = "127.0.0.1:{http}"
[dns]
nameservers = ["127.0.0.1:{dns}"]
timeout_s = 0.5
[limits]
scan_s = 10
scorers = 2
[storage]
database = "{database}"
blobs = "{blobs}"
state = "var"
redis = "{redis}"
[web]
listen = "127.0.0.1:{web}"
[metrics]
listen = "127.0.0.1:{metrics}"
"""
_DOMAIN = """\
[[domain]]
name = "{name}.test"
next_hop = "{next_hop}"
tag_at = {tag_at}
quarantine_at = {quarantine_at}
reject_at = {reject_at}
"""


class Door:
    """The running gateway. Mail for h.test is held, mail for r.test refused, all other mail passed on."""

    def __init__(
        self,
        folder: Path,
        ports: Mapping[str, int],
        postfix_port: int,
        database: str,
        redis: str = "",
        blobs: str = "file:///var/blobs",
    ) -> None:
        self.folder, self.ports = folder, ports
        a, b, lmtp = (ports[name] for name in ("a", "b", "l"))
        domains = {
            "a": (f"smtp://127.0.0.1:{a}", 99), "b": (f"smtp://127.0.0.1:{b}", 99),
            "l": (f"lmtp://127.0.0.1:{lmtp}", 99), "m": ("maildir:var/maildir", 99),
            "p": (f"smtp://127.0.0.1:{postfix_port}", 99), "h": (f"smtp://127.0.0.1:{a}", -99),
            "r": (f"smtp://127.0.0.1:{a}", -99),
        }  # fmt: skip
        (folder / "darban.toml").write_text(
            _CONFIG.format(**ports, database=database, redis=redis, blobs=blobs)
            + "".join(
                _DOMAIN.format(
                    name=name, next_hop=hop, tag_at=at, quarantine_at=at, reject_at=-99 if name == "r" else 99
                )
                for name, (hop, at) in domains.items()
            )
        )
        self.log = folder / "log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, within_s: float = 240.0) -> None:
        """Blocking, until it is ready. Its predecessor's children may still be about to leave the ports."""
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            offset = self.log.stat().st_size if self.log.exists() else 0
            with self.log.open("ab") as log:
                self.process = subprocess.Popen(
                    [sys.executable, "-m", "gateway", "run", "--config", str(self.folder / "darban.toml")],
                    stdout=log, stderr=log, cwd=peers.ROOT, env=os.environ | {"PYTHONPATH": str(peers.ROOT)},
                )  # fmt: skip
            while self.process.poll() is None:
                if "Darban stands at the door." in self.log_since(offset):
                    self.wait_ready()
                    return
                time.sleep(0.05)
            time.sleep(0.3)
        raise TimeoutError("the gateway does not start")

    def wait_ready(self, within_s: float = 180.0) -> None:
        """Every process is up."""
        assert self.process is not None
        running = peers.Gateway(self.folder, 0, 0, self.ports["metrics"], self.process)
        peers.wait_for_ready(running, within_s)

    def pids(self, prefix: str) -> list[int]:
        """Of the processes of that name."""
        with contextlib.suppress(OSError, ValueError):
            listed = json.loads((self.folder / "var/run/processes.json").read_text())
            return [one["pid"] for one in listed if one["name"].startswith(prefix) and one["pid"]]
        return []

    def children(self, pid: int) -> list[int]:
        """A process's own."""
        with contextlib.suppress(psutil.NoSuchProcess):
            return [one.pid for one in psutil.Process(pid).children()]
        return []

    def kill_all(self) -> bool:
        """SIGKILL to every process, the first one first."""
        assert self.process is not None
        with contextlib.suppress(psutil.NoSuchProcess):
            first = psutil.Process(self.process.pid)
            family = [first, *first.children(recursive=True)]
            for one in family:
                with contextlib.suppress(psutil.NoSuchProcess):
                    one.kill()
            self.process.wait(20)
            return not psutil.wait_procs(family, timeout=20)[1]
        return False

    def log_since(self, offset: int) -> str:
        """What was written after that many bytes."""
        with self.log.open("rb") as file:
            file.seek(offset)
            return file.read().decode("utf-8", "replace")
