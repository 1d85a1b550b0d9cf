"""Haraka (npm) with its rspamd plugin, relaying by smtp_forward: as many processes as there are cores.

Rspamd is that of `rspamd.py`, asked over HTTP by its normal workers. HARAKA names the folder with Haraka in it
(`npm install Haraka haraka-plugin-rspamd` there), else /opt/haraka.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.doors import Standing
from benchmarks.doors.rspamd import rspamd
from benchmarks.processes import running
from benchmarks.scanners.rspamd import free_port, version
from tests.e2e import peers

_NODES = 2


class HarakaRspamd:
    """See the module."""

    name = "haraka + rspamd"

    def missing(self) -> str:
        """The programs that are not installed."""
        if not (_home() / "node_modules" / "Haraka").is_dir() or shutil.which("node") is None:
            return "Haraka not installed (HARAKA names its folder)"
        return "" if shutil.which("rspamd") else "rspamd not installed"

    def facts(self) -> dict[str, Any]:
        """Versions."""
        found = json.loads((_home() / "node_modules" / "Haraka" / "package.json").read_text())
        return {"haraka": found["version"], "nodes": _NODES, "rspamd": version(["rspamd", "--version"])}

    @contextlib.contextmanager
    def open(self, folder: Path, sink_port: int, connections: int) -> Iterator[Standing]:
        """As Door."""
        port = free_port()
        (folder / "rspamd").mkdir()
        with rspamd(folder / "rspamd", milter=False) as (scan_port, rspamd_root):
            place = folder / "haraka"
            shutil.copytree(_home() / "node_modules" / "Haraka" / "config", place / "config")
            for name, text in _files(port, sink_port, scan_port).items():
                (place / "config" / name).write_text(text)
            (place / "node_modules").symlink_to(_home() / "node_modules")
            (place / "package.json").write_text('{"name": "door", "version": "1.0.0"}')
            command = ["node", str(_home() / "node_modules" / "Haraka" / "bin" / "haraka"), "-c", str(place)]
            with running([0, 1], command, folder / "haraka.log") as process:
                peers.wait_for_port(port, 60)
                yield Standing(port, [process.pid, rspamd_root])


def _home() -> Path:
    return Path(os.environ.get("HARAKA", "/opt/haraka"))


def _files(port: int, sink_port: int, scan_port: int) -> dict[str, str]:
    return {
        "smtp.ini": f"listen=127.0.0.1:{port}\nnodes={_NODES}\n",
        "plugins": "rcpt_to.in_host_list\nrspamd\nqueue/smtp_forward\n",
        "host_list": "darban.test\n",
        "smtp_forward.ini": f"host=127.0.0.1\nport={sink_port}\n",
        "rspamd.ini": f"host=127.0.0.1\nport={scan_port}\nadd_headers=always\n[reject]\nspam=false\n"
        "[check]\nauthenticated=true\nprivate_ip=true\nlocal_ip=true\n",
    }
