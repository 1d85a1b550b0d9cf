"""The processes under load and change: no connection is lost by a reload, sessions finish, what dies is replaced, root
is given up, the service manager is told and hands sockets over.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import os
import pwd
import shutil
import signal
import smtplib
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.builders import message_bytes
from tests.e2e import peers
from tests.smtp_sink import sink

pytestmark = pytest.mark.e2e
WORKERS = "workers = 2"
CALLERS = 24


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[peers.Gateway]:
    folder = tmp_path_factory.mktemp("workers")
    with peers.gateway(folder, f"maildir:{folder}/mail", smtp_extra=WORKERS) as running:
        yield running


def listeners(running: peers.Gateway) -> set[int]:
    return {pid for name, pid in running.processes().items() if name.startswith("listener")}


def is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def until(found: Callable[[], object], within_s: float = 90.0) -> None:
    deadline = time.monotonic() + within_s
    while not found():
        assert time.monotonic() < deadline, "did not happen"
        time.sleep(0.05)


def reload(running: peers.Gateway) -> set[int]:
    """SIGHUP, until the new generation serves; the listeners of the old one."""
    before = set(running.processes().values())
    old = listeners(running)
    running.process.send_signal(signal.SIGHUP)
    until(lambda: 0 not in running.processes().values() and not before & set(running.processes().values()))
    return old


def delivered(running: peers.Gateway) -> int:
    return sum(1 for file in (running.folder / "mail").rglob("new/*") if file.is_file())


async def call(port: int) -> str:
    """The code a connection is greeted with, or the name of what went wrong."""
    try:
        reader, writer = await asyncio.wait_for(asyncio.open_connection("127.0.0.1", port), 30)
        said = await asyncio.wait_for(reader.readline(), 30)
        writer.write(b"QUIT\r\n")
        while await asyncio.wait_for(reader.read(1000), 30):
            pass
        writer.close()
    except (OSError, TimeoutError) as error:
        return type(error).__name__
    return said[:3].decode() or "closed"


async def storm(port: int, until_done: asyncio.Task[None]) -> collections.Counter[str]:
    """Callers that connect again and again."""
    greeted: collections.Counter[str] = collections.Counter()

    async def caller() -> None:
        while not until_done.done():
            greeted[await call(port)] += 1

    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    return greeted


async def test_no_connection_is_lost_by_reloads(door: peers.Gateway) -> None:
    """Also none that waits in a socket's backlog while its process closes."""

    async def reloads() -> None:
        for _ in range(3):
            await asyncio.sleep(0.5)
            await asyncio.to_thread(reload, door)

    greeted = await storm(door.smtp_port, asyncio.create_task(reloads()))
    assert set(greeted) == {"220"}, greeted
    assert greeted["220"] > 3000


def connect(port: int) -> smtplib.SMTP:
    return smtplib.SMTP("127.0.0.1", port, local_hostname="client.example.org", timeout=60)


def is_refused(port: int) -> bool:
    try:
        connect(port).close()
    except ConnectionRefusedError:
        return True
    except (OSError, smtplib.SMTPException):
        pass
    return False


def test_sessions_finish_on_the_old_configuration(door: peers.Gateway) -> None:
    before = delivered(door)
    with connect(door.smtp_port) as idle, connect(door.smtp_port) as busy:
        idle.ehlo()
        busy.ehlo()
        busy.mail("sara@example.org")
        config = door.config.read_text()
        door.config.write_text(config.replace("mx.darban.test", "mx2.darban.test"))
        old = reload(door)
        busy.rcpt("you@darban.test")
        assert busy.data(message_bytes("half before, half after"))[0] == 250
        idle.sendmail("sara@example.org", ["you@darban.test"], message_bytes(Subject="all of it after"))
        assert idle.ehlo()[1].startswith(b"mx.darban.test")  # the old configuration to the end
        with connect(door.smtp_port) as fresh:
            assert fresh.ehlo()[1].startswith(b"mx2.darban.test")
        assert any(map(is_alive, old))
        assert delivered(door) == before + 2
    until(lambda: not any(map(is_alive, old)))  # and no longer than that
    door.config.write_text(config)
    reload(door)
    # its row went to the admin process of the new generation
    until(lambda: "all of it after" in door.cli("trace", "all of it after").stdout)


def test_a_configuration_that_is_wrong_changes_nothing(door: peers.Gateway) -> None:
    before, config = door.processes(), door.config.read_text()
    wrong = [
        ('hostname = "mx.darban.test"', 'hostnam = "mx.darban.test"', "hostnam"),
        ("[smtp]", '[smtp]\ntls_certificate = "darban.toml"\ntls_key = "darban.toml"', "tls_certificate"),
        ("[web]", '[process]\nuser = "nobody"\n[web]', "a change needs a restart"),
        ("127.0.0.1:", "192.0.2.1:", "write an address of ours"),
    ]
    for old, new, words in wrong:
        refused = door.log().count("reload refused")
        door.config.write_text(config.replace(old, new, 1))
        door.process.send_signal(signal.SIGHUP)
        until(lambda before=refused: door.log().count("reload refused") > before)
        assert words in next(line for line in reversed(door.log().split("\n")) if "reload refused" in line)
    door.config.write_text(config)
    assert door.processes() == before
    assert peers.send(door.smtp_port, message_bytes("still here"))[0] == 250


def test_the_number_of_workers_changes_while_it_runs(door: peers.Gateway) -> None:
    config = door.config.read_text()

    async def reloads() -> None:
        for number in (3, 1, 2):
            door.config.write_text(config.replace(WORKERS, f"workers = {number}"))
            await asyncio.to_thread(reload, door)
            assert len(listeners(door)) == number

    async def run() -> collections.Counter[str]:
        return await storm(door.smtp_port, asyncio.create_task(reloads()))

    assert set(asyncio.run(run())) == {"220"}


def test_limits_hold_for_all_listeners_together(tmp_path: Path) -> None:
    extra = "[reputation]\ntrusted_networks = []\n[defence]\nconnections_per_client = 6\n"
    with peers.gateway(
        tmp_path, f"maildir:{tmp_path}/mail", extra=extra, smtp_extra="workers = 3\nmax_connections = 8"
    ) as running:

        def greeted(ip: str, number: int) -> list[socket.socket]:
            """Those that were, of so many, one after the other: of two at once each may be looked at before both count."""
            callers, said = [], []
            for _ in range(number):
                callers.append(socket.create_connection(("127.0.0.1", running.smtp_port), 30, (ip, 0)))
                said.append(callers[-1].recv(1000)[:3])
            assert set(said) <= {b"220", b"421"}
            return [caller for caller, code in zip(callers, said, strict=True) if code == b"220"]

        held = greeted("127.0.0.5", 20)
        assert len(held) == 6
        assert len(greeted("127.0.6.5", 20)) <= 2
        # a listener that dies leaves nothing counted
        old = listeners(running)
        for pid in old:
            os.kill(pid, signal.SIGKILL)
        until(lambda: not (old | {0}) & listeners(running))
        assert len(greeted("127.0.0.5", 20)) == 6


def test_what_dies_is_replaced_and_nobody_waits_in_vain(door: peers.Gateway) -> None:
    before = listeners(door)

    async def deaths() -> None:
        for pid in before:
            await asyncio.sleep(0.3)
            os.kill(pid, signal.SIGKILL)
        await asyncio.to_thread(until, lambda: 0 not in listeners(door) and not listeners(door) & before)

    async def run() -> collections.Counter[str]:
        return await storm(door.smtp_port, asyncio.create_task(deaths()))

    greeted = asyncio.run(run())
    lost = sum(number for said, number in greeted.items() if said != "220")
    assert lost <= 2 * CALLERS, greeted  # at most those whose process died; nobody who waited for one
    assert greeted["220"] > 100


async def test_a_stop_finishes_what_is_in_our_hands(tmp_path: Path) -> None:
    def talk(running: peers.Gateway) -> None:
        with connect(running.smtp_port) as idle, connect(running.smtp_port) as busy:
            idle.ehlo()
            busy.ehlo()
            busy.mail("sara@example.org")
            busy.rcpt("you@darban.test")
            running.process.send_signal(signal.SIGTERM)
            assert idle.getreply() == (421, b"4.3.2 Shutting down, please connect again")
            until(lambda: is_refused(running.smtp_port), 20)
            assert busy.data(message_bytes("in our hands"))[0] == 250
            assert busy.getreply() == (421, b"4.3.2 Shutting down, please connect again")
        assert running.process.wait(60) == 0

    async with sink() as behind:
        hop = f"smtp://127.0.0.1:{behind.port}"
        with peers.gateway(tmp_path, hop, smtp_extra=WORKERS) as running:
            await asyncio.to_thread(talk, running)
        assert len(behind.contents) == 1


# --- the service manager ----------------------------------------------------------------------------------------------


def said_to_manager(end: socket.socket, wanted: str) -> dict[str, str]:
    """The first message that says it."""
    while True:
        said = dict(line.split("=", 1) for line in end.recv(4096).decode().split("\n"))
        if wanted in said:
            return said


def test_the_service_manager_is_told(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind(str(tmp_path / "notify"))
        end.settimeout(90)
        told = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "2000000"}
        with peers.gateway(tmp_path / "g", f"maildir:{tmp_path}/mail", environment=told) as running:
            assert said_to_manager(end, "READY")["MAINPID"] == str(running.process.pid)
            assert said_to_manager(end, "WATCHDOG") == {"WATCHDOG": "1"}
            config = running.config.read_text()
            running.config.write_text(config.replace("[smtp]", "[stmp]"))
            running.process.send_signal(signal.SIGHUP)
            assert int(said_to_manager(end, "RELOADING")["MONOTONIC_USEC"]) > 0
            assert said_to_manager(end, "READY")["STATUS"].startswith("reload refused: darban.toml: stmp")
            running.config.write_text(config)
            running.process.send_signal(signal.SIGHUP)
            said_to_manager(end, "RELOADING")
            assert "processes" in said_to_manager(end, "READY")["STATUS"]
            running.process.send_signal(signal.SIGTERM)
            assert said_to_manager(end, "STOPPING")["STOPPING"] == "1"
            assert running.process.wait(60) == 0


@pytest.mark.skipif(not shutil.which("systemd-socket-activate"), reason="systemd is not installed")
def test_a_socket_that_was_handed_over(tmp_path: Path) -> None:
    prefix = ["systemd-socket-activate", "-l", "127.0.0.1:{smtp}", "--fdname=smtp", "-E", "PATH"]
    passed = [word for name in ("PYTHONPATH", "HOME") if name in os.environ for word in ("-E", name)]
    # systemd-socket-activate starts it at the first connection, which the fixture makes
    with peers.gateway(tmp_path, f"maildir:{tmp_path}/mail", smtp_extra=WORKERS, prefix=prefix + passed) as running:
        assert peers.send(running.smtp_port, message_bytes("by activation"))[0] == 250
        old = reload(running)
        assert peers.send(running.smtp_port, message_bytes("after a reload"))[0] == 250
        until(lambda: not any(map(is_alive, old)))


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
def test_the_units_are_in_order(tmp_path: Path) -> None:
    for unit in (peers.ROOT / "deploy").glob("darban*.s*"):
        (tmp_path / unit.name).write_text(unit.read_text().replace("/opt/darban/.venv/bin/darban", "/bin/true"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *map(str, tmp_path.iterdir())],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    about_ours = [line for line in done.stderr.split("\n") if "darban" in line]
    assert about_ours == [], done.stderr


# --- root -----------------------------------------------------------------------------------------------------------


def readable_by_others() -> tuple[str, dict[str, str]]:
    """A Python whose library another user can read, with our packages on its path."""
    packages = os.pathsep.join(path for path in sys.path if path.endswith("site-packages"))
    found = {"PYTHONPATH": f"{peers.ROOT}{os.pathsep}{packages}"}
    for program in (sys.executable, f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}"):
        with contextlib.suppress(OSError, subprocess.CalledProcessError):
            subprocess.run(
                [program, "-c", "import gzip, pydantic, gateway.app.run"],
                env=found, cwd="/", capture_output=True, check=True, user="nobody", group="nogroup", extra_groups=[],
            )  # fmt: skip
            return program, found
    pytest.skip("no Python here that another user can read")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root binds port 25 and can become somebody else")
def test_port_25_is_bound_and_root_given_up() -> None:
    with tempfile.TemporaryDirectory(prefix="darban-") as name:  # pytest's own folders are closed to others
        folder = Path(name)
        folder.chmod(0o755)
        given_up(folder)


def given_up(folder: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    program, environment = readable_by_others()
    (folder / "mail").mkdir()
    os.chown(folder / "mail", nobody.pw_uid, nobody.pw_gid)
    place = folder / "g"
    with peers.gateway(
        place, f"maildir:{folder}/mail/you", smtp_extra=WORKERS, listen="127.26.0.1:25",
        extra='[process]\nuser = "nobody"\n', runs_as_other=True,
        program=program, environment=environment,
    ) as running:  # fmt: skip
        for pid in (running.process.pid, *running.processes().values()):
            status = Path(f"/proc/{pid}/status").read_text()
            ids = {line.split()[0]: line.split()[1:] for line in status.split("\n") if line[:4] in ("Uid:", "Gid:")}
            assert ids == {"Uid:": [str(nobody.pw_uid)] * 4, "Gid:": [str(nobody.pw_gid)] * 4}, status
            assert "CapEff:\t0000000000000000" in status
        for _ in range(2):
            with smtplib.SMTP("127.26.0.1", 25, local_hostname="client.example.org", timeout=60) as client:
                client.sendmail("sara@example.org", ["you@darban.test"], message_bytes("to port 25"))
            reload(running)  # the port cannot be bound again, and need not
        owners = {file.stat().st_uid for file in (place / "var").rglob("*")}
        assert owners == {nobody.pw_uid}
        assert not any(file.stat().st_mode & 0o007 for file in (place / "var").rglob("*") if file.is_file())
