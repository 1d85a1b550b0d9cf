"""/metrics for Prometheus, /healthz (this process answers), /readyz (every process runs, a message could be held).

Counters of all processes are summed from the files that prometheus-client maps (its multiprocess mode).
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fastapi import FastAPI, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from gateway import __version__
from gateway.errors import StoreError
from gateway.learning import LearningState
from gateway.metrics import FLUSH_S
from gateway.ports import QuarantineStore
from gateway.web.learning_metrics import LearningMetrics


@dataclass(slots=True)
class DnsState:
    """How the DNS looks from the admin process, which asks on a schedule. Scorers find out by themselves."""

    is_up: bool = True  # a nameserver answers
    lists: Mapping[str, str] = field(default_factory=dict)  # list -> why it is switched off, "" when it is not


class _Now(Collector):
    """What is true at the moment of the scrape."""

    def __init__(self, processes: Path, quarantine: QuarantineStore, dns: DnsState) -> None:
        self._processes = processes
        self._quarantine = quarantine
        self._dns = dns

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Gauges of the quarantine, the processes, the DNS and the build."""
        held = GaugeMetricFamily("darban_quarantine_messages", "Messages in the quarantine by state.", labels=["state"])
        for state, number in _counts(self._quarantine).items():
            held.add_metric([state], number)
        up = GaugeMetricFamily("darban_process_up", "1 when the process is ready and runs.", labels=["process"])
        for process in _read(self._processes):
            up.add_metric([str(process["name"])], 1.0 if _is_up(process) else 0.0)
        build = GaugeMetricFamily("darban_build_info", "The running version.", labels=["version"])
        build.add_metric([__version__], 1.0)
        dns = GaugeMetricFamily("darban_dns_up", "1 when a nameserver answers.")
        dns.add_metric([], 1.0 if self._dns.is_up else 0.0)
        lists = GaugeMetricFamily("darban_dns_list_up", "1 when a DNS list's test entries are right.", labels=["list"])
        for name, why in self._dns.lists.items():
            lists.add_metric([name], 0.0 if why else 1.0)
        yield from (held, up, build, dns, lists)


def health_app(
    processes: Path,
    quarantine: QuarantineStore,
    dns: DnsState | None = None,
    learning: LearningState | None = None,
) -> FastAPI:
    """The application behind [metrics] listen. `processes` is the supervisor's list; the states may change."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    registry = CollectorRegistry()
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    registry.register(_Now(processes, quarantine, dns or DnsState()))
    if learning is not None:
        registry.register(LearningMetrics(learning))

    @app.get("/metrics")
    def metrics() -> Response:
        time.sleep(2 * FLUSH_S)  # until every process has written down what it had counted when we were asked
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    @app.get("/healthz")
    async def healthz() -> Response:
        return Response("ok\n", media_type="text/plain")

    @app.get("/readyz")
    async def readyz() -> Response:
        missing = [str(process["name"]) for process in _read(processes) if not _is_up(process)] or _silent(processes)
        try:
            await asyncio.to_thread(quarantine.check)
        except StoreError:
            missing.append("quarantine store")
        text = f"not ready: {', '.join(missing)}\n" if missing else "ready\n"
        return Response(text, status_code=503 if missing else 200, media_type="text/plain")

    return app


def _counts(quarantine: QuarantineStore) -> dict[str, int]:
    """State -> messages, with a zero for the states that have none; empty when the store does not answer."""
    try:
        return {"held": 0, "released": 0, "deleted": 0, **quarantine.counts()}
    except StoreError:
        return {}


def _read(processes: Path) -> list[dict[str, object]]:
    try:
        found = json.loads(processes.read_text())
    except (OSError, ValueError):
        return []
    return found if isinstance(found, list) else []


def _is_up(process: Mapping[str, object]) -> bool:
    """It said that it serves, and is not stopped (SIGSTOP, a debugger) or dead since; one that hangs looks the same."""
    try:
        state = Path(f"/proc/{process['pid']}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return bool(process["ready"]) and state not in "TtZX"


def _silent(processes: Path) -> list[str]:
    return [] if _read(processes) else ["supervisor"]
