"""web/health.py: /readyz says what is not ready."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from gateway.web.health import DnsState, health_app
from tests.memory import MemoryQuarantine

UP = [{"name": name, "pid": os.getpid(), "ready": True} for name in ("scorers", "listener-1")]


@pytest.mark.parametrize(
    ("processes", "is_down", "status", "said"),
    [
        (UP, False, 200, "ready\n"),
        (UP, True, 503, "not ready: quarantine store\n"),
        ([UP[0], UP[1] | {"ready": False}], False, 503, "not ready: listener-1\n"),
        (None, False, 503, "not ready: supervisor\n"),
    ],
)
def test_ready(tmp_path: Path, processes: list[dict] | None, is_down: bool, status: int, said: str) -> None:
    if processes is not None:
        (tmp_path / "processes.json").write_text(json.dumps(processes))
    quarantine = MemoryQuarantine()
    quarantine.is_down = is_down
    answer = TestClient(health_app(tmp_path / "processes.json", quarantine)).get("/readyz")
    assert (answer.status_code, answer.text) == (status, said)


def test_a_process_that_is_stopped_or_gone_is_not_ready(tmp_path: Path) -> None:
    child = subprocess.Popen(["sleep", "60"])
    try:
        (tmp_path / "processes.json").write_text(json.dumps([UP[0] | {"pid": child.pid}, UP[1]]))
        client = TestClient(health_app(tmp_path / "processes.json", MemoryQuarantine()))
        assert client.get("/readyz").status_code == 200
        child.send_signal(signal.SIGSTOP)
        os.waitpid(child.pid, os.WUNTRACED)
        assert client.get("/readyz").text == "not ready: scorers\n"
        assert 'darban_process_up{process="scorers"} 0.0' in client.get("/metrics").text
        child.send_signal(signal.SIGCONT)
        os.waitpid(child.pid, os.WCONTINUED)
        assert client.get("/readyz").text == "ready\n"
    finally:
        child.kill()
        child.wait()
    assert client.get("/readyz").text == "not ready: scorers\n"


def test_the_dns_is_shown_from_the_start(tmp_path: Path) -> None:
    state = DnsState()
    client = TestClient(health_app(tmp_path / "processes.json", MemoryQuarantine(), state))
    text = client.get("/metrics").text
    assert "darban_dns_up 1.0" in text
    assert "# TYPE darban_dns_list_up gauge" in text
    state.is_up = False
    state.lists = {"zen": "", "old": "it says yes to everything"}
    text = client.get("/metrics").text
    assert "darban_dns_up 0.0" in text
    assert 'darban_dns_list_up{list="zen"} 1.0' in text
    assert 'darban_dns_list_up{list="old"} 0.0' in text
