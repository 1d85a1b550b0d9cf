"""The benchmarks run and tell what they must, on a few messages of our own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.machine import percentile
from gateway.cli.demo import samples

ROOT = Path(__file__).parent.parent.parent
pytestmark = pytest.mark.e2e


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in samples():
        (tmp_path / name).write_bytes(content)
    return tmp_path


def run(module: str, *arguments: str) -> dict:
    command = [sys.executable, "-m", f"benchmarks.{module}", "--number", "40", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "accounted" not in done.stderr
    result = json.loads(done.stdout)
    assert set(result["machine"]) == {"cpu", "cores", "python", "commit", "date"}
    return result


def test_scan(folder: Path) -> None:
    result = run("scan", "--passes", "1", "--messages", str(folder))
    assert result["messages"] == 40
    assert result["messages_per_s"] > 0
    assert set(result["stages"]) == {"parse", "authenticate", "checks", "rules", "classify"}
    assert abs(sum(stage["share"] for stage in result["stages"].values()) - 1) < 0.01


def test_classify(folder: Path) -> None:
    result = run("classify", "--passes", "1", "--messages", str(folder))
    assert result["messages"] == 40
    for figures in result["us"].values():
        assert 0 < figures["p50"] <= figures["p99"] <= figures["max"]
    assert result["model_file_kib"] < 4096


def test_smtp_load(folder: Path) -> None:
    result = run("smtp_load", "--connections", "4", "--messages", str(folder))
    assert sum(result["gateway"]["replies"].values()) == 40
    assert result["straight_to_sink"]["replies"] == {"250": 40}
    assert result["gateway"]["cpu_ms_per_message"] > 0


def test_no_messages_is_said(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.scan", "--messages", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert (done.returncode, "no .eml files there" in done.stderr, "Traceback" in done.stderr) == (1, True, False)


@pytest.mark.parametrize(("share", "value"), [(0.5, 2.0), (0.99, 4.0), (1, 4.0), (0.25, 1.0)])
def test_percentile(share: float, value: float) -> None:
    assert percentile([4.0, 1.0, 3.0, 2.0], share) == value
