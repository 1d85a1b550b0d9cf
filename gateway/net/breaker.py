"""The breaker of one server behind us: after FAULTS_BEFORE_DOWN faults in a row it is left alone until it answers.

While it is down nobody waits for it: its mail is deferred at RCPT, or goes to the next server. A probe (connect,
greeting, EHLO, TLS) comes after PROBE_FIRST_S and then ever later, up to PROBE_MAX_S, each time by a random quarter
sooner or later, so that many gateways do not come at once. One that answers is up again, on trial: the next fault has
it down at once, and for longer; a transaction that succeeds ends the trial. Each process finds out by itself.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

import structlog
from prometheus_client import Counter, Gauge

UP = Gauge("darban_next_hop_up", "0 while a next hop is left alone.", ["next_hop"], multiprocess_mode="livemin")
FAULTS = Counter(
    "darban_next_hop_faults_total", "Dialogues with a next hop that failed, by step.", ["next_hop", "step"]
)

FAULTS_BEFORE_DOWN = 3
PROBE_FIRST_S = 2.0
PROBE_MAX_S = 300.0

log = structlog.get_logger("darban.next_hop")


class Breaker:
    """How one server did of late."""

    def __init__(self, name: str, probe: Callable[[], Awaitable[bool]]) -> None:
        """`probe` says whether the server answers; it never raises."""
        self._name = name
        self._probe = probe
        self._faults = 0
        self._times_down = 0  # since it last worked
        self._probing: asyncio.Task[None] | None = None
        self._shown: int | None = None  # in the metrics; nothing before it was used, as values do not survive a fork
        self.is_down = False

    @property
    def is_steady(self) -> bool:
        """No fault since it last worked: what it says can be believed for a while."""
        return not self._faults

    def worked(self) -> None:
        """A transaction had its answers."""
        if self._shown is None:
            self._show(1)
        self._faults = self._times_down = 0

    def failed(self, step: str, error: str, queue_id: str = "") -> None:
        """It could not be reached, or broke a dialogue."""
        FAULTS.labels(self._name, step).inc()
        log.warning("next hop fault", next_hop=self._name, step=step, queue_id=queue_id, error=error)
        self._faults += 1
        if self._faults >= FAULTS_BEFORE_DOWN and not self.is_down:
            self.is_down = True
            self._show(0)
            log.error("next hop is down: it is left alone until it answers", next_hop=self._name, error=error)
            self._probing = asyncio.get_running_loop().create_task(self._until_it_answers())

    def close(self) -> None:
        """No more probes."""
        if self._probing is not None:
            self._probing.cancel()
        if self._shown == 0:
            self._show(1)  # nobody is left to say so later

    def _show(self, value: int) -> None:
        UP.labels(self._name).set(value)
        FAULTS.labels(self._name, "connect")  # a series that is there from the start can be alarmed on
        self._shown = value

    async def _until_it_answers(self) -> None:
        while True:
            self._times_down += 1
            await asyncio.sleep(wait_s(self._times_down))
            if await self._probe():
                break
        self.is_down = False
        self._faults = FAULTS_BEFORE_DOWN - 1
        self._show(1)
        log.warning("next hop answers again", next_hop=self._name)


def wait_s(times: int) -> float:
    """Seconds before the probe of this number, from 1 on."""
    doubled = PROBE_FIRST_S * 2.0 ** min(times - 1, 20)
    return min(PROBE_MAX_S, doubled) * random.uniform(0.75, 1.25)  # noqa: S311 - no secret
