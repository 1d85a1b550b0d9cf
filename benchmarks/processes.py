"""Processes of our own while a benchmark runs: started on chosen cores, CPU and memory as proc(5) tells."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_STOP_S = 20.0


def on_cores(cores: Sequence[int], command: Sequence[str]) -> list[str]:
    """The command, held to these cores with all it starts."""
    return ["taskset", "-c", ",".join(map(str, cores)), *command]


@contextlib.contextmanager
def running(
    cores: Sequence[int], command: Sequence[str], log: Path, **options: object
) -> Iterator[subprocess.Popen[bytes]]:
    """The command until the block ends, in a session of its own; what it prints goes to `log`."""
    with log.open("ab") as out:
        settings = {"stdin": subprocess.DEVNULL, "stdout": out, "stderr": out, "start_new_session": True} | options
        process = subprocess.Popen(on_cores(cores, command), **settings)  # type: ignore[call-overload]
    try:
        yield process
    finally:
        stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM, and SIGKILL to its whole session when that was not heard."""
    process.terminate()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def family(root: int) -> list[int]:
    """The process and all below it that live."""
    found, waiting = [], [root]
    while waiting:
        pid = waiting.pop()
        with contextlib.suppress(OSError):
            found.append(pid)
            for task in Path(f"/proc/{pid}/task").iterdir():
                waiting += [int(one) for one in (task / "children").read_text().split()]
    return found


def cpu_s(roots: Iterable[int]) -> float:
    """User and system seconds of the processes and all below them, those that ended and were waited for included."""
    return sum(own_cpu_s(pid) for root in roots for pid in family(root))


def own_cpu_s(pid: int) -> float:
    """Of this process, and of those it waited for.

    schedstat counts nanoseconds where stat counts ticks, but of living threads only: whichever knows of more.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    own, reaped = int(fields[11]) + int(fields[12]), int(fields[13]) + int(fields[14])
    exact = 0
    with contextlib.suppress(OSError):
        exact = sum(int((task / "schedstat").read_text().split()[0]) for task in Path(f"/proc/{pid}/task").iterdir())
    return max(exact / 1e9, own / _TICKS_PER_S) + reaped / _TICKS_PER_S


def memory_mib(pid: int) -> dict[str, float]:
    """Proportional set size (shared pages divided among those who share them), resident set size and its peak.

    Anonymous pages are those of no file.
    """
    now, ever = (_kib(Path(f"/proc/{pid}/{name}").read_text()) for name in ("smaps_rollup", "status"))
    sizes = {"pss_mib": now["Pss"], "pss_anonymous_mib": now["Pss_Anon"], "rss_mib": now["Rss"]}
    sizes["peak_rss_mib"] = ever["VmHWM"]
    return {name: round(size / 1024, 1) for name, size in sizes.items()}


def _kib(text: str) -> dict[str, int]:
    lines = (line.partition(":")[::2] for line in text.splitlines() if line.endswith(" kB"))
    return {name: int(value.split()[0]) for name, value in lines}
