"""Which stage of which message a scorer is in, readable after its death; and how much CPU time a stage may take.

The limit is counted anew when an eighth of it may have been used up: a system call at each stage, some ten of them a
message, would be for nothing. So a stage has at least seven eighths of it.

A small file beside the scorers' socket, mapped into memory: writing it costs no system call, and it outlives a
SIGKILL. The listener reads it when the connection ends, to know what not to do again.
"""

from __future__ import annotations

import math
import mmap
import signal
import struct
import time
from collections.abc import Callable
from pathlib import Path

_STATE = struct.Struct("=I24s")  # message's sequence on its connection, stage


def state_file(folder: Path, pid: int) -> Path:
    """Where the scorer with this process id writes."""
    return folder / f"scorer-{pid}.stage"


class StageMarker:
    """The scorer's side. The kernel ends the process when `limit_s` of CPU time have passed in one stage."""

    def __init__(self, path: Path, limit_s: float) -> None:
        try:
            path.write_bytes(bytes(_STATE.size))
            with path.open("r+b") as file:
                self._map = mmap.mmap(file.fileno(), _STATE.size)
        except OSError:  # a full disk: nobody will know where it died, and mail is judged all the same
            self._map = mmap.mmap(-1, _STATE.size)
        self._limit_s = limit_s
        self._armed_at = -math.inf
        self._last = (0, "")

    def for_message(self, sequence: int) -> Callable[[str], None]:
        """The function that marks a stage of this message."""

        def mark(stage: str) -> None:
            if self._last != (sequence, stage):
                self._last = (sequence, stage)
                _STATE.pack_into(self._map, 0, sequence, stage.encode("ascii")[:24])
                self.rearm()

        return mark

    def rearm(self) -> None:
        """Count from now. ITIMER_PROF, as nothing else interrupts C code."""
        now = time.monotonic()  # one thread uses no more CPU than time goes by
        if now - self._armed_at > self._limit_s / 8:
            self._armed_at = now
            signal.setitimer(signal.ITIMER_PROF, self._limit_s)


def read_state(path: Path) -> tuple[int, str]:
    """(sequence, stage); (0, "") when nothing was written. The file is removed."""
    try:
        sequence, stage = _STATE.unpack(path.read_bytes())
        path.unlink()
    except (OSError, struct.error):
        return 0, ""
    return int(sequence), stage.rstrip(b"\0").decode("ascii", "replace")
