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


NAMES_A_VALUE = """
import sys, structlog
sys.stderr.isatty = lambda: True
from gateway import log
log.configure()
def read(content):
    raise ValueError("odd")
try:
    read("what somebody " + "wrote")
except ValueError:
    structlog.get_logger("darban").exception("stage failed")
"""


def test_a_terminal_shows_a_fault_without_the_mail_that_made_it() -> None:
    done = subprocess.run([sys.executable, "-c", NAMES_A_VALUE], capture_output=True, text=True, check=True)
    assert "ValueError: odd" in done.stderr
    assert "what somebody wrote" not in done.stderr
