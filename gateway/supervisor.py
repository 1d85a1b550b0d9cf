"""Starts the gateway's processes, watches them, starts again what dies, reloads, stops. Holds no mail and no secrets.

Children are forked from this small process, each with one function to run and a pipe on which it says that it is
ready. A dead child is started again, with a growing pause when it dies at once. SIGTERM or SIGINT: every child is
asked to finish, and killed after the grace time. SIGHUP: a whole new generation is started beside the old one, and
the old one is asked to finish only when all of the new is ready; if it does not get ready the old one stays.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import structlog

from gateway.errors import DarbanError

_PR_SET_PDEATHSIG = 1
_PAUSES_S = (0.0, 0.2, 1.0, 5.0, 15.0)
_SHORT_LIFE_S = 10.0

log = structlog.get_logger("darban.supervisor")

Ready = Callable[[], None]


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """One process to keep up."""

    name: str
    run: Callable[[Ready], None]  # calls Ready once it serves; returns when asked to stop


@dataclass(slots=True)
class _Child:
    spec: ProcessSpec
    pid: int
    ready_pipe: int
    started_at: float
    is_ready: bool = False


@dataclass(slots=True)
class _Slot:
    """A spec's place: its child now, and how often it died young."""

    spec: ProcessSpec
    child: _Child | None = None
    early_deaths: int = 0
    not_before: float = field(default=0.0)


class Supervisor:
    """Keeps the processes of one configuration up; `plan` gives the specs, anew at each reload."""

    def __init__(
        self,
        plan: Callable[[], Sequence[ProcessSpec]],
        *,
        state_path: Path,
        on_death: Callable[[int], None],
        grace_s: float = 30.0,
        ready_s: float = 120.0,
    ) -> None:
        self._plan = plan
        self._state_path = state_path
        self._on_death = on_death
        self._grace_s = grace_s
        self._ready_s = ready_s
        self._slots: list[_Slot] = []
        self._leaving: dict[int, float] = {}  # pid -> when to kill
        self._stop = self._reload = False
        self._wake_read, self._wake_write = os.pipe()

    def run(self, specs: Sequence[ProcessSpec], when_ready: Callable[[], None]) -> int:
        """Until asked to stop; the exit status. A first start that does not get ready ends with 1."""
        self._watch_signals()
        self._slots = [_Slot(spec) for spec in specs]
        if not self._start_all(self._slots, self._ready_s):
            self._stop_all()
            return 0 if self._stop else 1
        when_ready()
        while not self._stop:
            self._tick(0.5)
            if self._reload:
                self._reload = False
                self._replace_generation()
        self._stop_all()
        return 0

    # --- starting -------------------------------------------------------------------------------------------------

    def _start_all(self, slots: Sequence[_Slot], within_s: float) -> bool:
        """One after the other, as later ones need earlier ones; False when one dies or is late."""
        deadline = time.monotonic() + within_s
        for slot in slots:
            self._start(slot)
            while not self._stop:
                child = slot.child
                if child is None:
                    return False
                if child.is_ready:
                    break
                if time.monotonic() > deadline:
                    log.error("process is not ready in time", process=slot.spec.name)
                    return False
                self._tick(0.2, restart=False, extra=slots)
        return not self._stop

    def _start(self, slot: _Slot) -> None:
        read_end, write_end = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(read_end)
            self._be_child(slot.spec, write_end)
        os.close(write_end)
        slot.child = _Child(slot.spec, pid, read_end, time.monotonic())
        log.debug("process started", process=slot.spec.name, pid=pid)
        self._publish()

    def _be_child(self, spec: ProcessSpec, write_end: int) -> NoReturn:
        status = 1
        parent = os.getppid()
        try:
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
            if os.getppid() != parent:
                os._exit(1)
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the supervisor decides
            os.close(self._wake_read)
            os.close(self._wake_write)
            spec.run(lambda: _say_ready(write_end))
            status = 0
        except KeyboardInterrupt:
            status = 0
        except DarbanError as error:  # a file of the operator's: the line says all there is to say
            log.error("process failed", process=spec.name, error=str(error))
        except BaseException as error:
            log.error("process failed", process=spec.name, error=f"{type(error).__name__}: {error}", exc_info=error)
        finally:
            os._exit(status)

    # --- watching -------------------------------------------------------------------------------------------------

    def _watch_signals(self) -> None:
        os.set_blocking(self._wake_write, False)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, self._ask_stop)
        signal.signal(signal.SIGINT, self._ask_stop)
        signal.signal(signal.SIGHUP, self._ask_reload)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def _ask_stop(self, *_: object) -> None:
        self._stop = True

    def _ask_reload(self, *_: object) -> None:
        self._reload = True

    def _tick(self, timeout_s: float, *, restart: bool = True, extra: Sequence[_Slot] = ()) -> None:
        """Wait for a signal or a ready child, then look after everybody."""
        slots = list({id(slot): slot for slot in (*self._slots, *extra)}.values())
        pipes = {s.child.ready_pipe: s for s in slots if s.child and not s.child.is_ready and s.child.ready_pipe >= 0}
        readable, _, _ = select.select([self._wake_read, *pipes], [], [], timeout_s)
        for fd in readable:
            if fd == self._wake_read:
                os.read(fd, 4096)
            else:
                self._hear_ready(pipes[fd])
        self._reap(slots)
        self._kill_late()
        if restart and not self._stop:
            self._restart(slots)

    def _hear_ready(self, slot: _Slot) -> None:
        child = slot.child
        if child is None:
            return
        child.is_ready = os.read(child.ready_pipe, 1) == b"1"
        os.close(child.ready_pipe)
        child.ready_pipe = -1
        self._publish()

    def _reap(self, slots: Sequence[_Slot]) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self._on_death(pid)
            if self._leaving.pop(pid, None) is None:
                self._note_death(pid, status, slots)

    def _note_death(self, pid: int, status: int, slots: Sequence[_Slot]) -> None:
        slot = next((slot for slot in slots if slot.child and slot.child.pid == pid), None)
        if slot is None or slot.child is None:
            return
        log.error("process died", process=slot.spec.name, pid=pid, status=os.waitstatus_to_exitcode(status))
        young = time.monotonic() - slot.child.started_at < _SHORT_LIFE_S
        slot.early_deaths = slot.early_deaths + 1 if young else 0
        slot.not_before = time.monotonic() + _PAUSES_S[min(slot.early_deaths, len(_PAUSES_S) - 1)]
        if slot.child.ready_pipe >= 0:
            os.close(slot.child.ready_pipe)
        slot.child = None
        self._publish()

    def _restart(self, slots: Sequence[_Slot]) -> None:
        for slot in slots:
            if slot.child is None and time.monotonic() >= slot.not_before:
                self._start(slot)

    # --- leaving --------------------------------------------------------------------------------------------------

    def _replace_generation(self) -> None:
        try:
            specs = self._plan()
        except Exception as error:  # noqa: BLE001 - whatever is wrong with the new configuration, the old one stays
            log.error("reload refused, the running configuration stays", error=str(error))
            return
        old, fresh = self._slots, [_Slot(spec) for spec in specs]
        if self._start_all(fresh, self._ready_s):
            self._slots = fresh
            self._dismiss(old)
            log.info("reloaded")
        else:
            self._dismiss(fresh)
            log.error("reload failed, the running configuration stays")
        self._publish()

    def _dismiss(self, slots: Sequence[_Slot]) -> None:
        for slot in slots:
            if slot.child is not None:
                self._leaving[slot.child.pid] = time.monotonic() + self._grace_s
                os.kill(slot.child.pid, signal.SIGTERM)

    def _kill_late(self) -> None:
        for pid, when in list(self._leaving.items()):
            if time.monotonic() > when:
                os.kill(pid, signal.SIGKILL)

    def _stop_all(self) -> None:
        """Doors first: a listener still needs its scorers to finish what it accepted."""
        for slot in reversed(self._slots):
            self._dismiss([slot])
            while self._leaving:
                self._tick(0.2, restart=False)
        self._state_path.unlink(missing_ok=True)

    def _publish(self) -> None:
        """Who is up, for /readyz."""
        state = [
            {
                "name": slot.spec.name,
                "pid": slot.child.pid if slot.child else 0,
                "ready": bool(slot.child and slot.child.is_ready),
            }
            for slot in self._slots
        ]
        fresh = self._state_path.with_suffix(".tmp")
        try:
            fresh.write_text(json.dumps(state))
            fresh.replace(self._state_path)
        except OSError as error:  # /readyz is stale for a while; no reason to stop the gateway
            log.error("the list of processes cannot be written", error=error.strerror)


def _say_ready(fd: int) -> None:
    os.write(fd, b"1")
    os.close(fd)
