"""The Rspamd behind other doors: local rules, no network, no Bayes, no action but headers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from benchmarks.processes import family, running
from benchmarks.scanners import Misconfigured
from benchmarks.scanners.rspamd import CONFIGURATION, NO_NETWORK, START_S, free_port, own, title, user, wait_until

WORKERS = 2
_LOADED = "has been loaded"


@contextlib.contextmanager
def rspamd(folder: Path, *, milter: bool) -> Iterator[tuple[int, int]]:
    """(port, process). As a milter it scans in its proxy workers (`self_scan`): one hop less than its default."""
    port = free_port()
    for name in ("db", "log", "local.d", "override.d"):
        (folder / name).mkdir()
    here, elsewhere = (
        f'bind_socket = "127.0.0.1:{port}"; count = {WORKERS};',
        f'bind_socket = "127.0.0.1:{free_port()}";',
    )
    scans_itself = 'upstream "local" { default = yes; self_scan = yes; }'
    files = NO_NETWORK | {
        "worker-normal.inc": f"{elsewhere} count = 1;" if milter else here,
        "worker-controller.inc": f'bind_socket = "127.0.0.1:{free_port()}";',
        "worker-proxy.inc": f"{here} milter = yes;" if milter else "enabled = false;",
        "options.inc": f'dns {{ nameserver = ["127.0.0.1:{free_port()}"]; }}',
        "actions.conf": "reject = 999; add_header = 6; greylist = null; rewrite_subject = null;",
    }
    for name, text in files.items():
        (folder / "local.d" / name).write_text(text + "\n")
    if milter:
        (folder / "override.d" / "worker-proxy.inc").write_text(scans_itself + "\n")
    own(folder)
    log = folder / "log" / "rspamd.log"
    places = {"LOCAL_CONFDIR": "", "DBDIR": "/db", "RUNDIR": "/db", "LOGDIR": "/log"}
    variables = [f"--var={name}={folder}{below}" for name, below in places.items()]
    command = ["rspamd", "--no-fork", "--config", str(CONFIGURATION), *user(), *variables]
    word = b"proxy" if milter else b"normal"
    with running([0, 1], command, folder / "log" / "out") as process:

        def loaded() -> bool:
            workers = [pid for pid in family(process.pid) if word in title(pid)]
            text = log.read_text("utf-8", "replace") if log.exists() else ""
            return len(workers) == WORKERS and _LOADED in text

        try:
            wait_until(loaded, START_S, "rspamd has not loaded its patterns")
        except Misconfigured:
            said = log.read_text("utf-8", "replace")[-2000:] if log.exists() else ""
            raise Misconfigured(f"rspamd does not start: {said}") from None
        yield port, process.pid
