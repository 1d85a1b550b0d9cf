"""log.py: a line that cannot be written is lost, and nothing else is."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

PROGRAM = """
import structlog
from gateway import log
log.configure()
for _ in range(500):
    structlog.get_logger("darban").error("message", queue_id="1", exc_info=ValueError("x"))
print("alive")
"""


@pytest.mark.parametrize("fault", ["disk full", "reader gone"])
def test_a_fault_of_the_log_does_not_reach_the_message(fault: str) -> None:
    if fault == "disk full":
        broken = os.open("/dev/full", os.O_WRONLY)
    else:
        reader, broken = os.pipe()
        os.close(reader)
    done = subprocess.run([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, stderr=broken, check=False)
    os.close(broken)
    assert done.stdout.split() == [b"alive"]
