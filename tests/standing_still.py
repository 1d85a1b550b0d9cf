"""A process that is stopped for a while: it takes connections, and answers nobody."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import psutil


@contextmanager
def standing_still(running: subprocess.Popen[bytes] | None) -> Iterator[None]:
    """SIGSTOP, and SIGCONT afterwards, if it is still there."""
    assert running is not None
    process = psutil.Process(running.pid)
    process.suspend()
    try:
        yield
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.resume()
