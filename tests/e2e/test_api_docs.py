"""The examples of docs/api.md, run as they stand against a gateway that holds mail."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.builders import message_bytes
from tests.e2e import peers
from tests.e2e.test_gateway import eventually

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not (shutil.which("curl") and shutil.which("jq")), reason="needs curl and jq"),
]
TEXT = (peers.ROOT / "docs" / "api.md").read_text()
BLOCKS = re.findall(r"^```sh\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[peers.Gateway]:
    folder = tmp_path_factory.mktemp("api")
    extra = f"""
[[domain]]
name = "held.test"
next_hop = "maildir:{folder}/mail"
tag_at = -90.0
quarantine_at = -90.0
reject_at = 90.0
"""
    with peers.gateway(folder, f"maildir:{folder}/mail", extra=extra) as running:
        yield running


def test_every_example_works(gateway: peers.Gateway, tmp_path: Path) -> None:
    for number in range(3):
        content = message_bytes(Subject=f"example {number}")
        assert peers.send(gateway.smtp_port, content, rcpt_to=["you@held.test"])[0] == 250
    made = subprocess.run(
        [sys.executable, "-m", "gateway", "admin", "create", "siem", "--password-stdin", "--config", str(gateway.config)],
        input="a long enough password\n", text=True, capture_output=True, check=False, cwd=peers.ROOT,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    eventually(lambda: gateway.cli("trace", "you@held.test", "--json").stdout.count("\n") >= 3)
    darban = tmp_path / "darban"
    darban.write_text(f'#!/bin/sh\ncd {peers.ROOT}\nexec {sys.executable} -m gateway "$@" --config {gateway.config}\n')
    darban.chmod(0o700)
    script = "set -eux\n" + "\n".join(BLOCKS)
    script = script.replace("http://127.0.0.1:8025", f"http://127.0.0.1:{gateway.web_port}")
    ran = subprocess.run(
        ["bash", "-o", "pipefail", "-c", script], text=True, capture_output=True, check=False, timeout=120, cwd=tmp_path,
        env=os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"},
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert len(BLOCKS) >= 4 and TEXT.count("curl -sf") > 15
    assert '"released"' in ran.stdout
    assert ran.stdout.splitlines()[0] == "owner"
    assert json.loads(gateway.cli("token", "list", "--json").stdout)["used_at"] > 0
    eventually(lambda: gateway.cli("quarantine", "list", "--json").stdout == "")
