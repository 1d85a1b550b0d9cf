"""What a figure is worth nothing without: machine, commit, date, versions."""

from __future__ import annotations

import os
import platform
import subprocess
import sysconfig
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parent.parent


def describe() -> dict[str, str | int]:
    """Of this run."""
    cpu = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=ROOT, check=False
    )
    return {
        "cpu": cpu[0].partition(":")[2].strip() if cpu else platform.machine(),
        "cores": os.cpu_count() or 0,
        "python": f"{platform.python_version()}, {_build()}",
        "commit": commit.stdout.strip(),
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M"),
    }


def _build() -> str:
    """How the interpreter was compiled, which is a tenth of everything here."""
    arguments = sysconfig.get_config_var("CONFIG_ARGS") or ""
    is_packaged = sysconfig.get_config_var("prefix") == "/usr"  # the arguments do not tell
    return "optimised" if is_packaged or "--enable-optimizations" in arguments else "not optimised"


def percentile(values: list[float], share: float) -> float:
    """The smallest value that at least this share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -(-int(share * len(ordered) * 1000) // 1000) - 1))]
