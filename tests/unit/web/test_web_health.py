"""web/health.py: /readyz says what is not ready."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from gateway.web.health import health_app
from tests.memory import MemoryQuarantine

UP = [{"name": "scorers", "pid": 1, "ready": True}, {"name": "listener-1", "pid": 2, "ready": True}]


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
