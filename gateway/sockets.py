"""The listening sockets of every process, bound once, by the supervisor, and kept open over deaths and reloads.

A socket that its last process closes resets whoever waits in its backlog. These are held by the supervisor and
inherited by the children, so that a connection waits for the next process instead. An address has one socket for each
process that serves it (SO_REUSEPORT: the kernel spreads the connections); the number only grows, and fewer processes
take several each. Sockets that systemd hands over stand in place of an option's addresses, shared by its processes.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path

from gateway.errors import ConfigError

BACKLOG = 1024
_PRIVATE = 0o660  # of a path: who is of our group may ask
_MODE = {"milter": 0o666}  # whoever may enter the folder: an MTA is of another group


class Sockets:
    """By what they are for ("smtp", "web", ...) and their address."""

    def __init__(self, handed_over: Mapping[str, Sequence[socket.socket]] | None = None) -> None:
        self._handed_over = {name: list(sockets) for name, sockets in (handed_over or {}).items()}
        self._bound: dict[tuple[str, str], list[socket.socket]] = {}
        self._wanted: set[tuple[str, str]] = set()
        self._fresh: list[tuple[tuple[str, str], socket.socket]] = []  # since the last settle()

    def share(self, name: str, addresses: Sequence[str], processes: int = 1) -> list[list[socket.socket]]:
        """For each process the sockets it serves; they are bound here, and listen only when a process does.

        Raises ConfigError for an address that cannot be had.
        """
        if name in self._handed_over:
            return [list(self._handed_over[name]) for _ in range(processes)]
        shares: list[list[socket.socket]] = [[] for _ in range(processes)]
        for address in addresses:
            sockets = self._sockets(name, address, processes)
            for number in range(max(processes, len(sockets))):
                shares[number % processes].append(sockets[number % len(sockets)])
        return shares

    def _sockets(self, name: str, address: str, processes: int) -> list[socket.socket]:
        key = name, address
        self._wanted.add(key)
        sockets = self._bound.setdefault(key, [])
        wanted = 1 if address.startswith("unix:") else processes
        while len(sockets) < wanted:
            try:
                one = bind(address, _MODE.get(name, _PRIVATE))
            except OSError as error:
                if sockets and error.errno == errno.EACCES:
                    break  # the right to bind was given up: the processes share those that there are
                raise ConfigError(f"[{name}] listen: {address}: {error.strerror}; {_advice(error)}") from None
            sockets.append(one)
            self._fresh.append((key, one))
        return sockets

    def settle(self, *, is_taken: bool) -> None:
        """After a start or reload: close what nobody serves any more, or what was bound for nothing."""
        if is_taken:
            for key in [one for one in self._bound if one not in self._wanted]:
                for left in self._bound.pop(key):
                    left.close()
        else:
            for key, left in self._fresh:
                self._bound[key].remove(left)
                left.close()
            self._bound = {key: sockets for key, sockets in self._bound.items() if sockets}
        self._wanted, self._fresh = set(), []

    def keep(self, mine: Sequence[socket.socket] = ()) -> None:
        """In a child: close the others, or a port would stay open for as long as any process lives."""
        for one in self._all():
            if one not in mine:
                one.close()

    def close(self) -> None:
        """Stopping: from now on a door is open only while a process serves it."""
        self.keep()

    def names(self) -> frozenset[str]:
        """What was handed over."""
        return frozenset(self._handed_over)

    def _all(self) -> list[socket.socket]:
        groups = (*self._bound.values(), *self._handed_over.values())
        return [one for group in groups for one in group]


def bind(address: str, mode: int = _PRIVATE) -> socket.socket:
    """A socket at "host:port" or "unix:/path" that does not listen yet. Raises OSError."""
    if address.startswith("unix:"):
        return _bind_path(Path(address.removeprefix("unix:")), mode)
    host, port, family = _parts(address)
    one = socket.socket(family, socket.SOCK_STREAM)
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        one.bind((host, port))
    except OSError:
        one.close()
        raise
    return one


def check_free(addresses: Sequence[str]) -> None:
    """SO_REUSEPORT would let a second gateway share our ports in silence. Raises ConfigError."""
    for address in addresses:
        try:
            if address.startswith("unix:"):
                _check_path(address.removeprefix("unix:"))
                continue
            host, port, family = _parts(address)
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((host, port))
        except OSError as error:
            raise ConfigError(f"{address}: {error.strerror}; {_advice(error)}") from None


def _parts(address: str) -> tuple[str, int, socket.AddressFamily]:
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    return host, int(port), socket.AF_INET6 if ":" in host else socket.AF_INET


def _bind_path(path: Path, mode: int) -> socket.socket:
    """Replaces the socket of one that is gone without a gap."""
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        one.bind(str(fresh))
        fresh.chmod(mode)
        fresh.rename(path)
    except OSError:
        one.close()
        fresh.unlink(missing_ok=True)
        raise
    return one


def _check_path(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as probe, contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
        probe.connect(path)
        raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


def _advice(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "is another gateway running?"
    if error.errno == errno.EACCES:
        return "only root, or who has CAP_NET_BIND_SERVICE, may; a reload has given that up: restart"
    return "write an address of ours"
