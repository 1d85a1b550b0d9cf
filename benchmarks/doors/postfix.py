"""Postfix with its queue, relaying: alone, or with Rspamd as its milter ."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.doors import Standing
from benchmarks.doors.rspamd import WORKERS, rspamd
from benchmarks.scanners.rspamd import version
from tests.e2e import peers


class Postfix:
    """Without a filter."""

    name = "postfix"

    def missing(self) -> str:
        """The program that is not installed."""
        return "" if Path("/usr/lib/postfix/sbin/master").exists() else "postfix not installed"

    def facts(self) -> dict[str, Any]:
        """Its version."""
        return {"postfix": version(["postconf", "-h", "mail_version"])}

    @contextlib.contextmanager
    def open(self, folder: Path, sink_port: int, connections: int) -> Iterator[Standing]:
        """As Door."""
        with _relaying(sink_port, connections, "") as (port, root):
            yield Standing(port, [root])


class PostfixRspamd(Postfix):
    """With Rspamd."""

    name = "postfix + rspamd"

    def missing(self) -> str:
        """The programs that are not installed."""
        return super().missing() or ("" if shutil.which("rspamd") else "rspamd not installed")

    def facts(self) -> dict[str, Any]:
        """Versions."""
        return super().facts() | {"rspamd": version(["rspamd", "--version"]), "workers": WORKERS}

    @contextlib.contextmanager
    def open(self, folder: Path, sink_port: int, connections: int) -> Iterator[Standing]:
        """As Door."""
        with rspamd(folder, milter=True) as (milter_port, rspamd_root):
            milter = f"smtpd_milters = inet:127.0.0.1:{milter_port}\nmilter_default_action = tempfail\n"
            with _relaying(sink_port, connections, milter) as (port, root):
                yield Standing(port, [root, rspamd_root])


@contextlib.contextmanager
def _relaying(sink_port: int, connections: int, extra: str) -> Iterator[tuple[int, int]]:
    limits = f"default_process_limit = {connections + 100}\n"
    with peers.postfix(relayhost=f"[127.0.0.1]:{sink_port}", extra=limits + extra) as one:
        yield one.port, int((one.folder / "queue" / "pid" / "master.pid").read_text())
