"""Starts the gateway's processes, watches them, starts again what dies, reloads, stops. Holds no mail and no secrets.

Children are forked from this small process, each with one function to run and a pipe on which it says that it is
ready. A dead child is started again, with a growing pause when it dies at once. SIGTERM or SIGINT: every child is
asked to finish (SIGTERM), doors first, and killed after the grace time. SIGHUP: a whole new generation is started
beside the old one; when all of it is ready the old doors are told to let nobody in any more (SIGUSR1), and have
drain_s for their sessions; those they need end behind them. Two old generations may be at that; the one before them is
told to end. If the new one does not get ready the old one stays.
The service manager hears of all that (systemd.py).
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
from typing import Literal, NoReturn

import structlog

from gateway.errors import DarbanError
from gateway.systemd import Notifier

_PR_SET_PDEATHSIG = 1
_PAUSES_S = (0.0, 0.2, 1.0, 5.0, 15.0)
_SHORT_LIFE_S = 10.0
_MAX_DRAINING = 2  # old generations: each has its listeners, scorers and share of memory

log = structlog.get_logger("darban.supervisor")

Ready = Callable[[], None]


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """One process to keep up."""

    name: str
    run: Callable[[Ready], None]  # calls Ready once it serves; returns when asked to stop
    # door: takes connections, and leaves first; behind: what doors need, leaves when they are gone
    place: Literal["door", "behind", "aside"] = "aside"
    drain_s: float = 0.0  # of a door: its sessions may last so long after a reload


@dataclass(slots=True)
class _Child:
    spec: ProcessSpec
    pid: int
    ready_pipe: int
    started_at: float
    is_ready: bool = False


@dataclass(slots=True)
class _Leaving:
    """A child that was asked to finish, or will be, and what it hears next."""

    at: float  # monotonic
    generation: int
    signal: signal.Signals = signal.SIGTERM
    behind: frozenset[int] = frozenset()  # after these have gone


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
        on_start: Callable[[bool], None] = lambda _: None,
        on_stop: Callable[[], None] = lambda: None,
        notifier: Notifier | None = None,
        grace_s: float = 30.0,
        ready_s: float = 120.0,
    ) -> None:
        """`on_start`: a generation is ready (True), or is not and was given up (False). `on_stop`: before it stops."""
        self._plan = plan
        self._state_path = state_path
        self._on_death = on_death
        self._on_start = on_start
        self._on_stop = on_stop
        self._notifier = notifier or Notifier({})
        self._grace_s = grace_s
        self._ready_s = ready_s
        self._slots: list[_Slot] = []
        self._leaving: dict[int, _Leaving] = {}  # by pid
        self._dismissed = 0  # generations
        self._stop = self._reload = False
        self._wake_read, self._wake_write = os.pipe()

    def run(self, specs: Sequence[ProcessSpec], when_ready: Callable[[], None]) -> int:
        """Until asked to stop; the exit status. A first start that does not get ready ends with 1."""
        self._watch_signals()
        self._slots = [_Slot(spec) for spec in specs]
        if not self._start_all(self._slots, self._ready_s):
            self._stop_all()
            return 0 if self._stop else 1
        self._on_start(True)
        when_ready()
        self._notifier.ready(self._status())
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
                self._tick(0.2, restart=slots is not self._slots, extra=slots)
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
            # Ctrl-C and a terminal's end reach the whole group; the supervisor decides
            for number in (signal.SIGHUP, signal.SIGINT, signal.SIGUSR1):
                signal.signal(number, signal.SIG_IGN)
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
        waiting = select.poll()
        for fd in (self._wake_read, *pipes):
            waiting.register(fd, select.POLLIN)
        for fd, _ in waiting.poll(timeout_s * 1000):
            if fd == self._wake_read:
                os.read(fd, 4096)
            else:
                self._hear_ready(pipes[fd])
        self._reap(slots)
        self._hurry()
        self._notifier.alive()
        if restart and not self._stop:
            self._restart(self._slots)

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
        self._notifier.reloading()
        said = self._start_generation()
        self._publish()
        self._notifier.ready(f"{said}; {self._status()}" if said else self._status())

    def _start_generation(self) -> str:
        """What went wrong, or nothing."""
        try:
            specs = self._plan()
        except Exception as error:  # noqa: BLE001 - whatever is wrong with the new configuration, the old one stays
            log.error("reload refused, the running configuration stays", error=str(error))
            self._on_start(False)
            return f"reload refused: {error}"
        old, fresh = self._slots, [_Slot(spec) for spec in specs]
        is_up = self._start_all(fresh, self._ready_s)
        self._on_start(is_up)
        if is_up:
            self._slots = fresh
            self._dismiss(old)
            log.info("reloaded")
            return ""
        self._dismiss(fresh)
        log.error("reload failed, the running configuration stays")
        return "reload failed"

    def _dismiss(self, slots: Sequence[_Slot], *, drains: bool = True) -> None:
        """Doors let nobody in and may finish, what they need ends behind them, all else at once."""
        now = time.monotonic()
        self._dismissed += 1
        children = [slot.child for slot in slots if slot.child]
        doors = frozenset(child.pid for child in children if child.spec.place == "door")
        for child in children:
            # what is not ready does not listen for it yet
            is_told = drains and child.is_ready and child.spec.drain_s > 0 and _tell(child.pid, signal.SIGUSR1)
            self._leaving[child.pid] = _Leaving(
                at=now + child.spec.drain_s if is_told else now,
                generation=self._dismissed,
                behind=doors if child.spec.place == "behind" else frozenset(),
            )
        self._end_oldest()
        self._hurry()

    def _end_oldest(self) -> None:
        """However often it is reloaded, only so many generations are left to their sessions."""
        draining = sorted({one.generation for one in self._leaving.values() if one.signal == signal.SIGTERM})
        for one in self._leaving.values():
            if one.generation in draining[:-_MAX_DRAINING] and one.signal == signal.SIGTERM:
                one.at = 0.0

    def _hurry(self) -> None:
        """Say what is due: SIGTERM, and SIGKILL after the grace time."""
        now = time.monotonic()
        for pid, one in self._leaving.items():
            if now >= one.at and not one.behind & self._leaving.keys():
                _tell(pid, one.signal)
                one.at, one.signal = now + self._grace_s, signal.SIGKILL

    def _stop_all(self) -> None:
        """Doors first: a listener still needs its scorers, and who keeps its log, to finish what it accepted."""
        self._notifier.stopping()
        self._on_stop()
        for one in self._leaving.values():
            if one.signal == signal.SIGTERM:
                one.at = 0.0  # the sessions of older generations
        for place in ("door", "aside", "behind"):
            self._dismiss([slot for slot in self._slots if slot.spec.place == place], drains=False)
            while self._leaving:
                self._tick(0.2, restart=False)
        self._state_path.unlink(missing_ok=True)

    def _status(self) -> str:
        """For people, in one line."""
        return f"{len(self._slots)} processes" + (f", {len(self._leaving)} leaving" if self._leaving else "")

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


def _tell(pid: int, number: signal.Signals) -> bool:
    """False when there is no such child any more."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True
