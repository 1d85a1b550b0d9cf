"""Custody under fire: clients send through the running gateway while it, its disk and everything behind it fail.

    python -m tests.e2e.fire --messages 20000 --faults 300 --seed 1 --out FILE

runs in chunks, each a gateway of its own from an empty disk; a line of JSON for each is appended to FILE, and what stands
there is not run again. tests/e2e/fire_account.py says what is counted. Needs root (a disk of its own, tests/disk.py), and
Postfix for one of the next hops.

A fault counts only when it is seen to have happened: the process is dead, the unsynced file is gone, the next hop's ledger
says that it hung up, nothing more could be written. A run in which a kind never took is a failure.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import contextlib
import dataclasses
import json
import math
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import psutil

from tests.disk import Disk, disk, unavailable
from tests.e2e import peers
from tests.e2e.fire_account import Account, Event, Place, draw_up
from tests.e2e.fire_clients import Clients
from tests.e2e.fire_hop import examine

_CLIENTS = 24
_FORGOT = ("delivery not remembered", "who was served is not known")
_MORE = 10
_FAULT_S = 120.0  # until all is up again
_CONFIG = """\
hostname = "mx.fire.test"
[smtp]
listen = ["127.0.0.1:{smtp}"]
workers = 2
[dns]
nameservers = ["127.0.0.1:{dns}"]
timeout_s = 0.5
[limits]
scan_s = 10
scorers = 2
[storage]
database = "sqlite:///var/darban.db"
blobs = "file:///var/blobs"
[web]
listen = "127.0.0.1:{web}"
[metrics]
listen = "127.0.0.1:{metrics}"
"""
_DOMAIN = """\
[[domain]]
name = "{name}.test"
next_hop = "{next_hop}"
tag_at = {tag_at}
quarantine_at = {quarantine_at}
reject_at = {reject_at}
"""


class Door:
    """The running gateway, which is started again however it ended."""

    def __init__(self, folder: Path, ports: dict[str, int], postfix_port: int) -> None:
        self.folder, self.ports = folder, ports
        a, b, lmtp = (ports[name] for name in ("a", "b", "l"))
        domains = {
            "a": (f"smtp://127.0.0.1:{a}", 99), "b": (f"smtp://127.0.0.1:{b}", 99),
            "l": (f"lmtp://127.0.0.1:{lmtp}", 99), "m": ("maildir:var/maildir", 99),
            "p": (f"smtp://127.0.0.1:{postfix_port}", 99), "h": (f"smtp://127.0.0.1:{a}", -99),
            "r": (f"smtp://127.0.0.1:{a}", -99),
        }  # fmt: skip
        (folder / "darban.toml").write_text(
            _CONFIG.format(**ports)
            + "".join(
                _DOMAIN.format(
                    name=name, next_hop=hop, tag_at=at, quarantine_at=at, reject_at=-99 if name == "r" else 99
                )
                for name, (hop, at) in domains.items()
            )
        )
        self.log = folder / "log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, within_s: float = 120.0) -> None:
        """Blocking, until it is ready. Its predecessor's children may still be about to leave the ports."""
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            offset = self.log.stat().st_size if self.log.exists() else 0
            with self.log.open("ab") as log:
                self.process = subprocess.Popen(
                    [sys.executable, "-m", "gateway", "run", "--config", str(self.folder / "darban.toml")],
                    stdout=log, stderr=log, cwd=peers.ROOT, env=os.environ | {"PYTHONPATH": str(peers.ROOT)},
                )  # fmt: skip
            while self.process.poll() is None:
                if "Darban stands at the door." in self.log_since(offset):
                    self.wait_ready()
                    return
                time.sleep(0.05)
            time.sleep(0.3)
        raise TimeoutError("the gateway does not start")

    def wait_ready(self, within_s: float = 60.0) -> None:
        """Every process is up."""
        assert self.process is not None
        running = peers.Gateway(self.folder, 0, 0, self.ports["metrics"], self.process)
        peers.wait_for_ready(running, within_s)

    def pids(self, prefix: str) -> list[int]:
        """Of the processes of that name."""
        with contextlib.suppress(OSError, ValueError):
            listed = json.loads((self.folder / "var/run/processes.json").read_text())
            return [one["pid"] for one in listed if one["name"].startswith(prefix) and one["pid"]]
        return []

    def children(self, pid: int) -> list[int]:
        """A process's own."""
        with contextlib.suppress(psutil.NoSuchProcess):
            return [one.pid for one in psutil.Process(pid).children()]
        return []

    def kill_all(self) -> bool:
        """SIGKILL to every process, the first one first."""
        assert self.process is not None
        with contextlib.suppress(psutil.NoSuchProcess):
            first = psutil.Process(self.process.pid)
            family = [first, *first.children(recursive=True)]
            for one in family:
                with contextlib.suppress(psutil.NoSuchProcess):
                    one.kill()
            self.process.wait(20)
            return not psutil.wait_procs(family, timeout=20)[1]
        return False

    def log_since(self, offset: int) -> str:
        """What was written after that many bytes."""
        with self.log.open("rb") as file:
            file.seek(offset)
            return file.read().decode("utf-8", "replace")


class Fire:
    """One chunk: a world, its clients and its faults. `run` gives the report."""

    def __init__(
        self, folder: Path, postfix: peers.Postfix, messages: int, faults: int, seed: int, tell: Callable[[str], None]
    ) -> None:
        self._tell = tell
        self.folder, self.postfix, self.messages, self.faults, self.seed = folder, postfix, messages, faults, seed
        self.ports = {name: peers.free_port() for name in ("smtp", "web", "metrics", "a", "b", "l", "dns")}
        self.door = Door(folder, self.ports, postfix.port)
        self.events: list[Event] = []
        self._chance = random.Random(f"faults {seed}")
        self._clients = Clients(self.ports["smtp"], messages, seed, self._supply, _CLIENTS)
        self._machine = asyncio.Lock()  # who kills, fills or cuts has the gateway to himself
        self._behind = asyncio.Lock()  # and so has who kills the next hops
        self._deck: list[str] = []
        self._begun = 0
        self._allowed = messages / (faults + 1)
        self._hops: subprocess.Popen[bytes]
        self._disk: Disk
        self.kinds: dict[str, Callable[[], Awaitable[tuple[bool, dict[str, Any]]]]] = {
            "listener killed": lambda: self._kill("listener"),
            "scorer killed": lambda: self._kill("scorer"),
            "scorers' parent killed": lambda: self._kill("scorers"),
            "admin killed": lambda: self._kill("admin"),
            "supervisor killed": self._kill_supervisor,
            "gateway killed": self._kill_gateway,
            "listener stopped": lambda: self._hold_up("listener"),
            "scorer stopped": lambda: self._hold_up("scorer"),
            "reload": self._reload,
            "restart": self._restart,
            "power cut": self._power_cut,
            "disk full": self._disk_full,
            "blobs read-only": self._read_only,
            "database locked": self._lock_database,
            "release": lambda: self._release(is_killed=False),
            "release killed": lambda: self._release(is_killed=True),
            "dns silent": lambda: self._suffer("silent", "dns"),
            "dns refused": lambda: self._suffer("refused", "dns"),
            "hops killed": self._kill_hops,
            "postfix killed": self._kill_postfix,
            **{
                f"hop: {step}": lambda step=step: self._suffer(step)
                for step in (
                    "refuse", "greeting", "mail", "rcpt", "rcpt 4xx", "data", "354", "content", "dot", "dot 4xx",
                    "lost", "hang", "late",
                )
            },
        }  # fmt: skip

    async def run(self) -> dict[str, Any]:
        """Until every message is settled, every fault injected, and all is counted."""
        begun = time.monotonic()
        with disk(self.folder, self.folder / "var", 320) as self._disk:
            try:
                await self._prepare()
                clients = asyncio.create_task(self._clients.run())
                sowers = [asyncio.create_task(self._sow()) for _ in range(2)]
                while not all(task.done() for task in (clients, *sowers)):
                    await asyncio.wait([clients, *sowers], timeout=5)
                    self._clients.is_closed = all(task.done() for task in sowers)
                    self._tell(f"{self._clients.settled} of {self.messages} messages, {self._took()} faults took")
                    for task in (clients, *sowers):
                        if task.done():
                            task.result()
                await asyncio.gather(clients, *sowers)
                return await asyncio.to_thread(self._report, time.monotonic() - begun)
            finally:
                self.door.kill_all()
                self._hops.kill()
                self._hops.wait()

    async def _prepare(self) -> None:
        self._start_hops()
        (self.folder / "var/blobs").mkdir()
        cache = peers.ROOT / "var" / "cache"
        if cache.is_dir():
            shutil.copytree(cache, self.folder / "var" / "cache")
        await asyncio.to_thread(self.door.start)

    def _start_hops(self) -> None:
        ports = [str(self.ports[name]) for name in ("a", "b", "l", "dns")]
        self._hops = subprocess.Popen(
            [sys.executable, "-m", "tests.e2e.fire_hop", str(self.folder / "taken"), str(self.folder / "control"), *ports],
            cwd=peers.ROOT,
        )  # fmt: skip
        for port in ports[:3]:
            peers.wait_for_port(int(port), 30, self._hops)

    # --- when --------------------------------------------------------------------------------------------------------

    def _supply(self) -> int:
        """So many messages may have been begun."""
        return math.ceil(self._allowed)

    def _took(self) -> int:
        return sum(event.took for event in self.events)

    async def _sow(self) -> None:
        """One fault after the other, in the middle of its share of the messages; two of us, so that they overlap."""
        while self._took() < self.faults and self._begun < 3 * self.faults:
            self._begun += 1
            self._allowed += (self.messages - self._allowed) / (self.faults - self._took() + 1)
            await asyncio.sleep(self._chance.uniform(0.05, 0.5))
            if not self._deck:  # every kind once, in an order of its own, and again; what did not take comes once more
                self._deck = self._chance.sample(sorted(self.kinds), len(self.kinds))
            await self._inject(self._deck.pop())
        self._allowed = self.messages

    async def _inject(self, kind: str) -> None:
        async with self._alone(kind):
            await self._until_busy()
            offset, waiting, begun = self.door.log.stat().st_size, self._clients.after_dot, time.time()
            try:
                async with asyncio.timeout(_FAULT_S):
                    took, detail = await self.kinds[kind]()
            except Exception as error:
                raise RuntimeError(f"{kind}, after {[event.kind for event in self.events[-5:]]}") from error
            ended = time.time()
        said = collections.Counter(re.findall(r'"event": "([^"]+)"', self.door.log_since(offset)))
        told = {name: said[name] for name in (*_FORGOT, "not held", "not judged") if said[name]}
        self.events.append(Event(kind, begun, ended, took, {"waiting": waiting, **told, **detail}))
        if not took:
            self._deck.insert(0, kind)
            self.messages = self._clients.messages = self.messages + _MORE  # or none might be left for it to meet
        self._tell(f"{kind}, {ended - begun:.1f} s, took: {took}, {self.events[-1].detail}")

    def _alone(self, kind: str) -> contextlib.AbstractAsyncContextManager[object]:
        if kind.startswith(("hop:", "dns", "postfix")):
            return contextlib.nullcontext()
        return self._behind if kind == "hops killed" else self._machine

    async def _until_busy(self) -> None:
        """Some messages wait for their answer, or none come."""
        for _ in range(200):
            if self._clients.after_dot > 2:
                return
            await asyncio.sleep(0.01)

    # --- what: processes ---------------------------------------------------------------------------------------------

    def _victim(self, who: str) -> int:
        if who == "scorer":
            pids = [pid for parent in self.door.pids("scorers") for pid in self.door.children(parent)]
        else:
            pids = self.door.pids(who)
        return self._chance.choice(sorted(pids)) if pids else 0

    async def _find(self, who: str) -> int:
        """0 when none comes up."""
        for _ in range(100):
            pid = self._victim(who)
            if pid:
                return pid
            await asyncio.sleep(0.1)
        return 0

    async def _kill(self, who: str) -> tuple[bool, dict[str, Any]]:
        pid = await self._find(who)
        if not pid:
            return False, {}
        victim = psutil.Process(pid)
        victim.kill()
        gone = await asyncio.to_thread(psutil.wait_procs, [victim], 10)
        await asyncio.to_thread(self.door.wait_ready)
        return not gone[1], {"pid": pid}

    async def _kill_supervisor(self) -> tuple[bool, dict[str, Any]]:
        """Its children end by themselves."""
        process = self.door.process
        assert process is not None
        process.kill()
        process.wait()
        await asyncio.to_thread(self.door.start)
        return process.returncode == -signal.SIGKILL, {}

    async def _kill_gateway(self) -> tuple[bool, dict[str, Any]]:
        took = await asyncio.to_thread(self.door.kill_all)
        await asyncio.sleep(self._chance.uniform(0, 1))
        await asyncio.to_thread(self.door.start)
        return took, {}

    async def _hold_up(self, who: str) -> tuple[bool, dict[str, Any]]:
        pid = await self._find(who)
        if not pid:
            return False, {}
        for_s = self._chance.choice((0.5, 1.0, 2.0, 5.0))
        victim = psutil.Process(pid)
        victim.suspend()
        try:
            await asyncio.sleep(for_s)
            took = victim.status() == psutil.STATUS_STOPPED
        finally:
            victim.resume()
        return took, {"for_s": for_s}

    async def _reload(self) -> tuple[bool, dict[str, Any]]:
        process = self.door.process
        assert process is not None
        offset = self.door.log.stat().st_size
        process.send_signal(signal.SIGHUP)
        for _ in range(600):
            await asyncio.sleep(0.1)
            if '"event": "reloaded"' in self.door.log_since(offset):
                return True, {}
        return False, {}

    async def _restart(self) -> tuple[bool, dict[str, Any]]:
        process = self.door.process
        assert process is not None
        process.terminate()
        code = await asyncio.to_thread(process.wait, 90)
        await asyncio.to_thread(self.door.start)
        return code == 0, {"exit": code}

    # --- what: disk and database ---------------------------------------------------------------------------------------

    async def _power_cut(self) -> tuple[bool, dict[str, Any]]:
        """Nothing is flushed, everything is dead; later the power is back. What was not synced must be gone."""
        canary = self.folder / "var" / "canary"
        canary.unlink(missing_ok=True)
        await asyncio.sleep(self._chance.uniform(0, 1))
        canary.write_bytes(b"not synced" * 100)
        self._disk.cut()
        dead = await asyncio.to_thread(self.door.kill_all)
        await asyncio.to_thread(self._disk.unmount)
        self._disk.mount()
        is_gone = not canary.exists() or canary.read_bytes() != b"not synced" * 100
        await asyncio.to_thread(self.door.start)
        return dead and is_gone, {}

    async def _disk_full(self) -> tuple[bool, dict[str, Any]]:
        until = time.monotonic() + self._chance.choice((0.5, 2.0, 5.0))
        took = False
        try:
            while time.monotonic() < until:
                took |= await asyncio.to_thread(self._disk.fill)
                await asyncio.sleep(0.02)
        finally:
            self._disk.free()
        await asyncio.to_thread(self.door.wait_ready)
        return took, {}

    async def _read_only(self) -> tuple[bool, dict[str, Any]]:
        try:
            with self._disk.read_only(self.folder / "var/blobs") as took:
                await asyncio.sleep(self._chance.choice((0.5, 2.0, 5.0)))
        except RuntimeError as error:  # somebody is writing there at this moment
            return False, {"error": str(error)}
        return took, {}

    async def _lock_database(self) -> tuple[bool, dict[str, Any]]:
        for_s = self._chance.choice((1.0, 3.0, 6.0, 18.0) if self.faults > 60 else (1.0, 4.0))
        return await asyncio.to_thread(self._lock_for, for_s)

    def _lock_for(self, for_s: float) -> tuple[bool, dict[str, Any]]:
        with contextlib.closing(sqlite3.connect(self.folder / "var/darban.db", timeout=30)) as connection:
            connection.isolation_level = None
            connection.execute("BEGIN IMMEDIATE")
            time.sleep(for_s)
            connection.execute("ROLLBACK")
        return True, {"for_s": for_s}

    async def _release(self, *, is_killed: bool) -> tuple[bool, dict[str, Any]]:
        """A person releases some of what is held; or the command dies in the middle of it."""
        with contextlib.closing(sqlite3.connect(self.folder / "var/darban.db", timeout=30)) as connection:
            ids = [
                row[0]
                for row in connection.execute("SELECT id FROM held_message WHERE state = 'held' ORDER BY id LIMIT 40")
            ]
        if not ids:
            return False, {}
        command = ["-m", "gateway", "quarantine", "release", *ids, "--config", str(self.folder / "darban.toml")]
        process = await asyncio.create_subprocess_exec(
            sys.executable, *command, cwd=peers.ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        if is_killed:
            for _ in range(400):  # until it has begun
                await asyncio.sleep(0.02)
                with contextlib.closing(sqlite3.connect(self.folder / "var/darban.db", timeout=30)) as connection:
                    begun = (
                        f"SELECT 1 FROM held_message WHERE state = 'releasing' AND id IN ({','.join('?' * len(ids))})"
                    )
                    if connection.execute(begun, ids).fetchone():
                        break
            await asyncio.sleep(self._chance.uniform(0, 0.05))
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        output, _ = await process.communicate()
        done = output.decode().count(" released")
        return process.returncode == -signal.SIGKILL if is_killed else done > 0, {"released": done}

    # --- what: behind us ---------------------------------------------------------------------------------------------

    async def _suffer(self, step: str, hop: str = "") -> tuple[bool, dict[str, Any]]:
        hop = hop or self._chance.choice("aaaabl")
        for_s = self._chance.choice((0.3, 0.6, 1.5))
        try:
            reader, writer = await asyncio.open_unix_connection(str(self.folder / "control"))
            with contextlib.closing(writer):
                writer.write(json.dumps({"hop": hop, "step": step, "for_s": for_s}).encode() + b"\n")
                struck = int(await reader.readline() or b"0")
        except OSError:  # it was killed meanwhile
            struck = 0
        return struck > 0, {"hop": hop, "struck": struck}

    async def _kill_hops(self) -> tuple[bool, dict[str, Any]]:
        self._hops.kill()
        code = await asyncio.to_thread(self._hops.wait)
        await asyncio.sleep(self._chance.uniform(0, 1))
        await asyncio.to_thread(self._start_hops)
        return code == -signal.SIGKILL, {}

    async def _kill_postfix(self) -> tuple[bool, dict[str, Any]]:
        """The processes that talk with us; or the whole of it, and later it is there again."""
        first = psutil.Process(int((self.postfix.folder / "queue/pid/master.pid").read_text()))
        doors = [one for one in first.children() if one.name() in ("smtpd", "cleanup")]
        for one in doors:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        await asyncio.to_thread(self.postfix.command, "postfix", "stop")
        await asyncio.sleep(self._chance.uniform(0, 1))
        await asyncio.to_thread(self.postfix.command, "postfix", "start")
        return bool(doors), {"killed": len(doors)}

    # --- the account ---------------------------------------------------------------------------------------------------

    def _report(self, seconds: float) -> dict[str, Any]:
        process = self.door.process
        assert process is not None
        process.terminate()
        code = process.wait(90)
        self._wait_for_postfix()
        log = self.door.log_since(0)
        forgotten = frozenset(re.findall(rf'"queue_id": "(\w+)"[^\n]*"event": "(?:{"|".join(_FORGOT)})"', log))
        account = draw_up(self._clients.attempts, self._places(), self.events, forgotten)
        return {
            "seed": self.seed,
            "messages": self.messages,
            "settled": self._clients.settled,
            "attempts": len(self._clients.attempts),
            "outcomes": dict(collections.Counter(attempt.outcome for attempt in self._clients.attempts)),
            "faults": self._by_kind(),
            "took": self._took(),
            "exit": code,
            "seconds": round(seconds),
            "tracebacks": sorted(set(re.findall(r'"exception": "[^\n]*?(\w+(?:Error|Exception)[^\n"]{0,200})"', log)))[
                :20
            ],
            **dataclasses.asdict(account),
        }

    def _by_kind(self) -> dict[str, dict[str, float]]:
        """Of each kind how many were injected, took, met messages that waited for their answer; and what was logged."""
        table: dict[str, collections.Counter[str]] = {kind: collections.Counter() for kind in self.kinds}
        for event in self.events:
            counts = table[event.kind]
            counts["injected"] += 1
            counts["took"] += event.took
            counts["met messages"] += bool(event.took and event.detail["waiting"])
            for name in ("struck", "released", *_FORGOT, "not held", "not judged"):
                counts[name] += event.detail.get(name, 0)
        return {kind: {name: n for name, n in counts.items() if n} for kind, counts in sorted(table.items())}

    def _wait_for_postfix(self) -> None:
        deadline = time.monotonic() + 60
        while self.postfix.command("postqueue", "-j").stdout.strip() and time.monotonic() < deadline:
            self.postfix.command("postqueue", "-f")
            time.sleep(0.5)

    def _places(self) -> Iterator[Place]:
        with (self.folder / "taken").open() as ledger:
            lines = [json.loads(line) for line in ledger]
        # the last line of each copy: a reply that was to be said may have been lost
        for one in {(one["hop"], one["at"], one["queue_id"], one["recipient"]): one for one in lines}.values():
            yield _place(one, one["recipient"], one["hop"], one["said"])
        for file in (self.folder / "var/maildir/new").glob("*"):
            content = file.read_bytes()
            delivered = re.search(rb"^Delivered-To: (\S+)", content, re.MULTILINE)
            yield _place(examine(content), delivered[1].decode() if delivered else "", "m")
        for content in self.postfix.messages():
            yield _place(examine(content.replace(b"\n", b"\r\n")), "you@p.test", "p")
        yield from self._held()

    def _held(self) -> Iterator[Place]:
        query = "SELECT recipient, helo, queue_id, state, content_hash FROM held_message"
        with contextlib.closing(sqlite3.connect(self.folder / "var/darban.db")) as connection:
            rows = connection.execute(query).fetchall()
        for recipient, helo, queue_id, state, digest in rows:
            session = int(helo.removeprefix("s").removesuffix(".fire.test"))
            content = self._blob(digest)
            about = examine(content)
            is_whole = about["is_whole"] and sha256(content).hexdigest() == digest
            yield Place(about["number"], session, recipient, "held", queue_id, "250", is_whole, state)

    def _blob(self, digest: str) -> bytes:
        try:
            return (self.folder / "var/blobs" / digest[:2] / digest[2:4] / digest).read_bytes()
        except OSError:
            return b""


def _place(about: dict[str, Any], recipient: str, where: str, said: str = "250") -> Place:
    return Place(
        about["number"], about["session"], recipient, where, about["queue_id"], said, about["is_whole"],
        is_released=about["is_released"],
    )  # fmt: skip


def never_took(reports: list[dict[str, Any]]) -> list[str]:
    """The kinds of faults of which no run has anything to show."""
    return [kind for kind in reports[0]["faults"] if not any(one["faults"][kind].get("took") for one in reports)]


def faults_of(report: dict[str, Any]) -> list[str]:
    """What is wrong with a run; nothing when all is well."""
    names = [name.name for name in dataclasses.fields(Account) if isinstance(report[name.name], list)]
    wrong = [f"{name}: {one}" for name in names for one in report[name]]
    if report["settled"] != report["messages"]:
        wrong.append(f"{report['settled']} of {report['messages']} messages settled")
    if report["exit"] != 0:
        wrong.append(f"the gateway ended with {report['exit']}")
    return wrong


def play(
    messages: int, faults: int, seed: int, tell: Callable[[str], None], keep: Path | None = None
) -> dict[str, Any]:
    """One chunk, in a folder that is kept where something was wrong and `keep` names a place."""
    folder = Path(tempfile.mkdtemp(prefix="darban-fire-"))
    try:
        with peers.postfix(domain="p.test", users=("you",)) as postfix:
            report = asyncio.run(Fire(folder, postfix, messages, faults, seed, tell).run())
        if keep is not None and faults_of(report):
            shutil.copy(folder / "log", keep.with_name(f"{keep.name}.{seed}.log"))
        return report
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> int:
    """The long run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--faults", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--chunk", type=int, default=2500, help="messages of one gateway's life")
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    why = unavailable()
    if why:
        print(why, file=sys.stderr)
        return 2
    chunks = math.ceil(asked.messages / asked.chunk)
    done = [json.loads(line) for line in asked.out.read_text().splitlines()] if asked.out.exists() else []
    seeds = {report["seed"] for report in done}
    for number in range(chunks):
        seed = asked.seed * 1000 + number
        if seed in seeds:
            continue
        messages, faults = math.ceil(asked.messages / chunks), math.ceil(asked.faults / chunks)
        report = play(messages, faults, seed, lambda text, number=number: _tell(number, chunks, text), asked.out)
        done.append(report)
        with asked.out.open("a") as out:
            out.write(json.dumps(report) + "\n")
    said = summary(done)
    print(json.dumps(said, indent=1))
    return 1 if said["wrong"] else 0


def _tell(number: int, chunks: int, text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} chunk {number + 1} of {chunks}: {text}", file=sys.stderr, flush=True)


def summary(reports: list[dict[str, Any]]) -> dict[str, Any]:
    """The sums over several chunks."""
    sums = collections.Counter[str]()
    copies, outcomes, kinds = (collections.Counter[str]() for _ in range(3))
    for report in reports:
        sums.update({name: n for name, n in report.items() if isinstance(n, int) and name not in ("seed", "exit")})
        sums.update({name: len(n) for name, n in report.items() if isinstance(n, list)})
        copies.update(report["second_copies"])
        outcomes.update(report["outcomes"])
        kinds.update({kind: counts.get("took", 0) for kind, counts in report["faults"].items()})
    sums["most_copies"] = max((report["most_copies"] for report in reports), default=0)
    wrong = [one for report in reports for one in faults_of(report)]
    wrong += [f"{kind} never took" for kind in never_took(reports)]
    return {**sums, "second_copies": copies, "outcomes": outcomes, "faults": kinds, "wrong": wrong[:50]}


if __name__ == "__main__":
    sys.exit(main())
