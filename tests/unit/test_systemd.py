"""systemd.py, by the protocols themselves: a datagram socket that listens, descriptors that a child is born with."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.errors import ConfigError
from gateway.systemd import Notifier, forget, handed_over


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """A service manager's end, and how NOTIFY_SOCKET names it."""
    name = str(tmp_path / "notify") if request.param == "path" else f"@darban-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind(name.replace("@", "\0", 1) if name.startswith("@") else name)
        end.settimeout(5)
        yield end, name


def heard(end: socket.socket) -> dict[str, str]:
    return dict(line.split("=", 1) for line in end.recv(4096).decode().split("\n"))


def test_what_is_told(manager: tuple[socket.socket, str]) -> None:
    end, name = manager
    notifier = Notifier({"NOTIFY_SOCKET": name})
    notifier.ready("4 processes")
    assert heard(end) == {"READY": "1", "MAINPID": str(os.getpid()), "STATUS": "4 processes"}
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    notifier.reloading()
    said = heard(end)
    assert said["RELOADING"] == "1"
    assert before <= int(said["MONOTONIC_USEC"]) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    notifier.stopping()
    assert heard(end)["STOPPING"] == "1"


def test_the_watchdog_gets_its_sign_twice_in_its_time(manager: tuple[socket.socket, str]) -> None:
    end, name = manager
    notifier = Notifier({"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "400000", "WATCHDOG_PID": str(os.getpid())})
    for _ in range(50):
        notifier.alive()
        time.sleep(0.01)
    end.setblocking(False)
    signs = 0
    while True:
        try:
            assert heard(end) == {"WATCHDOG": "1"}
            signs += 1
        except BlockingIOError:
            break
    assert 2 <= signs <= 4  # in half a second, one each 0.2 s


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"NOTIFY_SOCKET": ""},
        {"NOTIFY_SOCKET": "vsock:2:1234"},
        {"NOTIFY_SOCKET": "/nobody/listens/here"},
        {"NOTIFY_SOCKET": "@nobody-listens-here", "WATCHDOG_USEC": "soon"},
    ],
)
def test_nobody_who_listens_is_no_fault(environment: dict[str, str]) -> None:
    notifier = Notifier(environment)
    notifier.ready("")
    notifier.reloading()
    notifier.alive()
    notifier.stopping()


def test_a_watchdog_of_another_process_is_not_ours(manager: tuple[socket.socket, str]) -> None:
    end, name = manager
    Notifier({"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"}).alive()
    end.setblocking(False)
    with pytest.raises(BlockingIOError):
        end.recv(100)


def test_what_was_told_us_is_not_told_our_children() -> None:
    environment = {"NOTIFY_SOCKET": "/x", "LISTEN_FDS": "1", "LISTEN_PID": "1", "PATH": "/bin"}
    forget(environment)
    assert environment == {"PATH": "/bin"}


TAKING = """
import os
from gateway.systemd import handed_over
os.environ["LISTEN_PID"] = str(os.getpid())
for name, sockets in handed_over(os.environ).items():
    print(name, *(one.getsockname()[1] for one in sockets), *(os.get_inheritable(one.fileno()) for one in sockets))
"""


def test_sockets_by_their_names() -> None:
    doors = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
    place = {"LISTEN_FDS": "3", "LISTEN_FDNAMES": "smtp:smtp:metrics"}

    def born() -> None:
        for number, door in enumerate(doors):
            os.dup2(os.dup(door.fileno()), 50 + number)
        for number in range(3):
            os.dup2(50 + number, 3 + number)

    done = subprocess.run(
        [sys.executable, "-c", TAKING],
        env=os.environ | place, capture_output=True, text=True, check=True, close_fds=False, preexec_fn=born,
    )  # fmt: skip
    ports = [door.getsockname()[1] for door in doors]
    assert done.stdout.split("\n")[:2] == [
        f"smtp {ports[0]} {ports[1]} False False",
        f"metrics {ports[2]} False",
    ]
    for door in doors:
        door.close()


def taken(descriptor: int, name: str) -> dict[str, list[socket.socket]]:
    environment = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1", "LISTEN_FDNAMES": name}
    return handed_over(environment, first=descriptor)


@pytest.mark.parametrize("kind", ["datagram", "not listening", "a file", "nothing"])
def test_what_is_no_listening_socket_is_said(kind: str, tmp_path: Path) -> None:
    if kind == "a file":
        descriptor = os.open(tmp_path / "file", os.O_CREAT | os.O_RDWR)
    elif kind == "nothing":
        descriptor = 900
    else:
        descriptor = socket.socket(type=socket.SOCK_DGRAM if kind == "datagram" else socket.SOCK_STREAM).detach()
    with pytest.raises(ConfigError, match=r"^socket activation: smtp: .*ListenStream=$"):
        taken(descriptor, "smtp")


@pytest.mark.parametrize(
    "environment",
    [{}, {"LISTEN_PID": "1", "LISTEN_FDS": "1"}, {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "many"}],
)
def test_nothing_is_taken_that_is_not_for_us(environment: dict[str, str]) -> None:
    assert handed_over(environment) == {}
