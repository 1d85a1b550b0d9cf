"""Dashboard and alerts against a real Prometheus that scrapes the gateway."""

from __future__ import annotations

import json
import re
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.builders import message_bytes
from tests.e2e import peers
from tests.e2e.test_gateway import eventually

pytestmark = pytest.mark.e2e
GRAFANA = peers.ROOT / "grafana"
PANELS = [one for one in json.loads((GRAFANA / "dashboards" / "darban.json").read_text())["panels"] if "targets" in one]
EXPRESSIONS = sorted({target["expr"] for panel in PANELS for target in panel["targets"]})


@pytest.fixture(scope="module")
def door(postfix_behind: peers.Postfix, tmp_path_factory: pytest.TempPathFactory) -> Iterator[peers.Gateway]:
    """With all its doors: what is drawn of each is there from the start."""
    hop = f"smtp://127.0.0.1:{postfix_behind.port}"
    others = "".join(f'[{name}]\nlisten = "127.0.0.1:{peers.free_port()}"\n' for name in ("milter", "spamd", "http"))
    with peers.gateway(tmp_path_factory.mktemp("gateway"), hop, extra=others) as running:
        yield running


@pytest.fixture(scope="module")
def prometheus(door: peers.Gateway, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Its port, once it has scraped a gateway that served some mail."""
    folder, port = tmp_path_factory.mktemp("prometheus"), peers.free_port()
    (folder / "prometheus.yml").write_text(
        f"""global: {{scrape_interval: 1s}}
rule_files: [{GRAFANA}/alerts/darban.yaml]
scrape_configs:
  - job_name: darban
    static_configs: [{{targets: ["127.0.0.1:{door.metrics_port}"]}}]
"""
    )
    for number in range(5):
        peers.send(door.smtp_port, message_bytes(Subject=f"measured {number}"))
    process = subprocess.Popen(
        ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
         f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"],
    )  # fmt: skip
    try:
        peers.wait_for_port(port, 60, process)
        eventually(lambda: is_ready(port), 60)
        eventually(lambda: bool(query(port, "count_over_time(darban_messages_total[1m]) >= 3")), 30)
        yield port
    finally:
        process.terminate()
        process.wait(30)


def is_ready(port: int) -> bool:
    """It listens before it can answer."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/-/ready", timeout=30) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def query(port: int, expression: str) -> list[dict]:
    url = f"http://127.0.0.1:{port}/api/v1/query?" + urllib.parse.urlencode({"query": expression})
    with urllib.request.urlopen(url, timeout=30) as answer:
        said = json.load(answer)
    assert said["status"] == "success", said
    return said["data"]["result"]


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_every_panel_can_be_drawn(prometheus: int, door: peers.Gateway, expression: str) -> None:
    found = query(prometheus, expression.replace("$__rate_interval", "1m"))
    with urllib.request.urlopen(f"http://127.0.0.1:{door.metrics_port}/metrics") as answer:
        known = set(re.findall(r"^# TYPE (\w+)", answer.read().decode(), re.MULTILINE))
    named = {re.sub(r"_(bucket|sum|count)$", "", name) for name in re.findall(r"darban_\w+", expression)}
    assert named <= known
    assert found or 'code=~"[45].."' in expression, "an empty panel"


def test_alerts_are_loaded_and_quiet(prometheus: int) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{prometheus}/api/v1/rules") as answer:
        rules = [rule for group in json.load(answer)["data"]["groups"] for rule in group["rules"]]
    assert len(rules) >= 6
    assert {rule["health"] for rule in rules} <= {"ok", "unknown"}
    assert [rule["name"] for rule in rules if rule["state"] == "firing"] == []
    assert all(rule["annotations"]["action"] for rule in rules)


def test_promtool_accepts_the_alerts() -> None:
    done = subprocess.run(
        ["promtool", "check", "rules", str(Path(GRAFANA / "alerts" / "darban.yaml"))],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "cases", sorted((peers.ROOT / "tests" / "cases" / "alerts").glob("*.yaml")), ids=lambda one: one.stem
)
def test_alerts_ring_when_they_should(cases: Path) -> None:
    done = subprocess.run(["promtool", "test", "rules", str(cases)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
