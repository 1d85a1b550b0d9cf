"""/metrics for Prometheus, /healthz (this process answers), /readyz (every process is up, a message could be held).

Counters of all processes are summed from the files that prometheus-client maps (its multiprocess mode).
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from pathlib import Path

from fastapi import FastAPI, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from gateway import __version__
from gateway.errors import StoreError
from gateway.ports import QuarantineStore


class _Now(Collector):
    """What is true at the moment of the scrape."""

    def __init__(self, processes: Path, quarantine: QuarantineStore) -> None:
        self._processes = processes
        self._quarantine = quarantine

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Gauges of the quarantine, the processes and the build."""
        held = GaugeMetricFamily("darban_quarantine_messages", "Messages in the quarantine by state.", labels=["state"])
        for state, number in _counts(self._quarantine).items():
            held.add_metric([state], number)
        up = GaugeMetricFamily("darban_process_up", "1 when the process is ready.", labels=["process"])
        for process in _read(self._processes):
            up.add_metric([str(process["name"])], 1.0 if process["ready"] else 0.0)
        build = GaugeMetricFamily("darban_build_info", "The running version.", labels=["version"])
        build.add_metric([__version__], 1.0)
        yield from (held, up, build)


def health_app(processes: Path, quarantine: QuarantineStore) -> FastAPI:
    """The application behind [metrics] listen. `processes` is the supervisor's list."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    registry = CollectorRegistry()
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    registry.register(_Now(processes, quarantine))

    @app.get("/metrics")
    def metrics() -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    @app.get("/healthz")
    async def healthz() -> Response:
        return Response("ok\n", media_type="text/plain")

    @app.get("/readyz")
    async def readyz() -> Response:
        missing = [str(process["name"]) for process in _read(processes) if not process["ready"]] or _silent(processes)
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


def _silent(processes: Path) -> list[str]:
    return [] if _read(processes) else ["supervisor"]
