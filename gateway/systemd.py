"""What a service manager is told, and the sockets it hands over: sd_notify(3), sd_listen_fds(3), without its library.

Both are small protocols by environment variables: datagrams of KEY=VALUE lines to a unix socket, and open file
descriptors from 3 on. Without the variables nothing is said and nothing is taken.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Mapping

import structlog

from gateway.errors import ConfigError

_FIRST_FD = 3
_MAX_FDS = 1024
_WORDS = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")

log = structlog.get_logger("darban.systemd")


class Notifier:
    """Tells the service manager how we are. Never raises, never waits: a manager that does not listen is no fault."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._address = _address(environment.get("NOTIFY_SOCKET", ""))
        self._pause_s = _watchdog_s(environment) / 2  # sd_watchdog_enabled(3): half of it
        self._due = 0.0
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) if self._address else None
        if self._socket is not None:
            self._socket.setblocking(False)

    def ready(self, status: str) -> None:
        """It serves, also after a reload."""
        self._say(f"READY=1\nMAINPID={os.getpid()}\nSTATUS={status}")

    def reloading(self) -> None:
        """A new generation is being made; ready() follows, also when there is none."""
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._say(f"RELOADING=1\nMONOTONIC_USEC={now}\nSTATUS=Reloading")

    def stopping(self) -> None:
        """It has been asked to stop."""
        self._say("STOPPING=1\nSTATUS=Finishing what was accepted")

    def alive(self) -> None:
        """The watchdog's sign, when one is due; call it often."""
        now = time.monotonic()
        if self._pause_s and now >= self._due:
            self._due = now + self._pause_s
            self._say("WATCHDOG=1")

    def _say(self, text: str) -> None:
        if self._socket is not None and self._address is not None:
            with contextlib.suppress(OSError):
                self._socket.sendto(text.encode(), self._address)


def handed_over(environment: Mapping[str, str], first: int = _FIRST_FD) -> dict[str, list[socket.socket]]:
    """Name -> listening sockets, by their FileDescriptorName=. Raises ConfigError for what is none."""
    if environment.get("LISTEN_PID") != str(os.getpid()):
        return {}
    number = environment.get("LISTEN_FDS", "")
    count = min(int(number), _MAX_FDS) if number.isdecimal() else 0
    names = environment.get("LISTEN_FDNAMES", "").split(":")
    found: dict[str, list[socket.socket]] = {}
    for index in range(count):
        name = names[index] if index < len(names) else ""
        found.setdefault(name, []).append(_listening(first + index, name))
    return found


def forget(environment: dict[str, str] | os._Environ[str]) -> None:
    """What was said to us is not said to our children."""
    for word in _WORDS:
        environment.pop(word, None)


def _listening(fd: int, name: str) -> socket.socket:
    try:
        os.set_inheritable(fd, False)
        one = socket.socket(fileno=fd)
        is_listening = one.type == socket.SOCK_STREAM and one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError:
        is_listening = 0
    if not is_listening:
        raise ConfigError(f"socket activation: {name or fd}: is no listening stream socket; write ListenStream=")
    return one


def _address(named: str) -> str | None:
    """NOTIFY_SOCKET: a path, or an abstract name behind @."""
    if named.startswith("@"):
        return "\0" + named[1:]
    return named if named.startswith("/") else None


def _watchdog_s(environment: Mapping[str, str]) -> float:
    """0.0 for none, or one that watches another process."""
    wanted, pid = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
    is_ours = pid in ("", str(os.getpid()))
    return int(wanted) / 1_000_000 if wanted.isdecimal() and is_ours else 0.0
