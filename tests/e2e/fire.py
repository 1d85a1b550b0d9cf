"""Custody under fire: clients send through the running gateway while it, its disk and everything around it fail.

    python -m tests.e2e.fire --messages 20000 --faults 300 --seed 1 --out FILE

runs in chunks, each a gateway of its own from an empty disk, in turn with SQLite, and with PostgreSQL and Redis; a line of
JSON for each is appended to FILE, and what stands there is not run again. Two thirds of the mail come by SMTP, a third
through a Postfix that asks us by milter (fire_front.py); besides, others ask at the doors spamd and HTTP (fire_asked.py).
fire_account.py says what is counted. Needs root (disks of its own, tests/disk.py), Postfix, spamc, PostgreSQL and Redis.

A fault counts only when it is seen to have happened: the process is dead, the unsynced file is gone, the next hop's ledger
says that it hung up, nothing more could be written. A run in which a kind never took is a failure.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import contextlib
import dataclasses
import itertools
import json
import math
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import psutil

from tests import compiled_rules, postgres
from tests.disk import Disk, disk, unavailable
from tests.e2e import peers
from tests.e2e.fire_account import Account, Event, Place, draw_up
from tests.e2e.fire_asked import Askers, account_for
from tests.e2e.fire_clients import Clients
from tests.e2e.fire_door import PORTS, Door
from tests.e2e.fire_front import Front, front
from tests.e2e.fire_hop import examine
from tests.e2e.fire_store import Postgres, Sqlite, Store
from tests.redis_server import redis_server

Fault = Callable[[], Awaitable[tuple[bool, dict[str, Any]]]]  # whether it took, and what is to be told of it
STORES = ("sqlite", "postgresql")
DOORS = ("smtp", "milter")
_CLIENTS = {"smtp": 20, "milter": 8}
_SHARES = {"smtp": 2, "milter": 1}
_FORGOT = ("delivery not remembered", "who was served is not known")
_MORE = 10
_RELEASE_TRIES = 3  # the next hop may be away
_FAULT_S = 300.0  # until all is up again, also on a machine with other work


@dataclasses.dataclass(frozen=True)
class Plan:
    """One chunk."""

    messages: int
    faults: int
    seed: int
    store: str = "sqlite"
    doors: tuple[str, ...] = DOORS
    kinds: tuple[str, ...] = ()  # of faults; all that there are
    blobs: str = "file:///var/blobs"  # or "database", for which the faults of files are none


class Fire:
    """One chunk: a world, its clients and its faults. `run` gives the report."""

    def __init__(
        self, folder: Path, plan: Plan, postfix: peers.Postfix, store: Store, tell: Callable[[str], None]
    ) -> None:
        self._tell = tell
        self.folder, self.plan, self.postfix, self.store = folder, plan, postfix, store
        self.ports = {name: peers.free_port() for name in PORTS}
        self.door = Door(folder, self.ports, postfix.port, store.url, store.redis, plan.blobs)
        self.events: list[Event] = []
        self._chance = random.Random(f"faults {plan.seed}")
        self._askers = Askers(self.ports["http"], self.ports["spamd"], plan.seed)
        self._clients: dict[str, Clients] = {}  # by the door they send to
        # who kills, fills or cuts has the gateway, the database, the next hops or the server in front to himself
        self._locks = collections.defaultdict[str, asyncio.Lock](asyncio.Lock)
        self._deck: list[str] = []
        self._begun = 0
        self._allowed = plan.messages / (plan.faults + 1)
        self._hops: subprocess.Popen[bytes]
        self._disk: Disk
        self._front: Front | None = None
        self.kinds = {kind: make for kind, make in self._kinds().items() if not plan.kinds or kind in plan.kinds}

    def _kinds(self) -> dict[str, Fault]:
        steps = (
            "refuse", "greeting", "mail", "rcpt", "rcpt 4xx", "data", "354", "content", "dot", "dot 4xx", "lost",
            "hang", "late",
        )  # fmt: skip
        kinds: dict[str, Fault] = {
            "listener killed": lambda: self._kill("listener"),
            "http door killed": lambda: self._kill("door-http"),
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
            "postfix killed": lambda: self._kill_postfix(self.postfix),
            **{f"hop: {step}": lambda step=step: self._suffer(step) for step in steps},
        }
        if "milter" in self.plan.doors:
            kinds |= {"front killed": self._kill_front, "front's disk full": self._fill_front}
        if isinstance(self.store, Postgres):
            kinds |= {
                "database killed": self._kill_database,
                "database stopped": self._hold_up_database,
                "database sessions cut": self._end_database_sessions,
                "redis killed": self._kill_redis,
                "redis stopped": self._hold_up_redis,
            }
        return kinds

    async def run(self) -> dict[str, Any]:
        """Until every message is settled, every fault injected, and all is counted."""
        begun = time.monotonic()
        with contextlib.ExitStack() as stack:
            self._disk = stack.enter_context(disk(self.folder, self.folder / "var", 320))
            if "milter" in self.plan.doors:
                self._front = stack.enter_context(front(self.folder, self.ports["milter"]))
            try:
                await self._prepare()
                await self._play()
                return await asyncio.to_thread(self._report, time.monotonic() - begun)
            finally:
                self.door.kill_all()
                self._hops.kill()
                self._hops.wait()

    async def _prepare(self) -> None:
        self._start_hops()
        (self.folder / "var/blobs").mkdir()
        compiled_rules.lend(self.folder)
        await asyncio.to_thread(self.door.start)
        await self._askers.learn()
        ports = {"smtp": self.ports["smtp"], "milter": self._front.postfix.port if self._front else 0}
        of_all = sum(_SHARES[door] for door in self.plan.doors)
        counts = itertools.count(1), itertools.count(1)
        for door in self.plan.doors:
            share = _SHARES[door] / of_all
            self._clients[door] = Clients(
                door, ports[door], round(self.plan.messages * share), self.plan.seed,
                lambda share=share: self._allowed * share, _CLIENTS[door], counts,
            )  # fmt: skip

    async def _play(self) -> None:
        clients = [asyncio.create_task(one.run()) for one in self._clients.values()]
        sowers = [asyncio.create_task(self._sow()) for _ in range(2)]
        asking = asyncio.create_task(self._askers.run())
        tasks = [*clients, *sowers]
        while not all(task.done() for task in tasks):
            left = [*(task for task in tasks if not task.done()), asking]
            await asyncio.wait(left, timeout=5, return_when=asyncio.FIRST_COMPLETED)
            for one in self._clients.values():
                one.is_closed = all(task.done() for task in sowers)
            settled = sum(one.settled for one in self._clients.values())
            self._tell(f"{settled} of {self._messages} messages, {self._took()} faults took")
            for task in (*tasks, asking):
                if task.done():
                    task.result()
        self._askers.is_over = True
        await asking

    def _start_hops(self) -> None:
        ports = [str(self.ports[name]) for name in ("a", "b", "l", "dns")]
        self._hops = subprocess.Popen(
            [sys.executable, "-m", "tests.e2e.fire_hop", str(self.folder / "taken"), str(self.folder / "control"), *ports],
            cwd=peers.ROOT,
        )  # fmt: skip
        for port in ports[:3]:
            peers.wait_for_port(int(port), 30, self._hops)

    # --- when --------------------------------------------------------------------------------------------------------

    @property
    def _messages(self) -> int:
        return sum(one.messages for one in self._clients.values())

    @property
    def _waiting(self) -> int:
        return sum(one.after_dot for one in self._clients.values())

    def _took(self) -> int:
        return sum(event.took for event in self.events)

    async def _sow(self) -> None:
        """One fault after the other, in the middle of its share of the messages; two of us, so that they overlap."""
        faults = self.plan.faults
        while self._took() < faults and self._begun < 3 * faults:
            self._begun += 1
            self._allowed += (self._messages - self._allowed) / (faults - self._took() + 1)
            await asyncio.sleep(self._chance.uniform(0.05, 0.5))
            if not self._deck:  # every kind once, in an order of its own, and again; what did not take comes once more
                self._deck = self._chance.sample(sorted(self.kinds), len(self.kinds))
            await self._inject(self._deck.pop())
        self._allowed = math.inf

    async def _inject(self, kind: str) -> None:
        async with self._alone(kind):
            await self._until_busy()
            offset, waiting, begun = self.door.log.stat().st_size, self._waiting, time.time()
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
            for one in self._clients.values():
                one.messages += _MORE  # or none might be left for it to meet
        self._tell(f"{kind}, {ended - begun:.1f} s, took: {took}, {self.events[-1].detail}")

    def _alone(self, kind: str) -> contextlib.AbstractAsyncContextManager[object]:
        if kind.startswith(("hop:", "dns", "postfix")):
            return contextlib.nullcontext()
        alone = next((one for one in ("hops", "front", "database", "redis") if kind.startswith(one)), "gateway")
        return self._locks[alone]

    async def _until_busy(self) -> None:
        """Some messages wait for their answer, or none come."""
        for _ in range(200):
            if self._waiting > 2:
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
        for _ in range(360):
            await asyncio.sleep(0.5)
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
        took = await self._fill(self._disk)
        await asyncio.to_thread(self.door.wait_ready)
        return took

    async def _fill(self, own: Disk) -> tuple[bool, dict[str, Any]]:
        until = time.monotonic() + self._chance.choice((0.5, 2.0, 5.0))
        took = False
        try:
            while time.monotonic() < until:
                took |= await asyncio.to_thread(own.fill)
                await asyncio.sleep(0.02)
        finally:
            own.free()
        return took, {}

    async def _read_only(self) -> tuple[bool, dict[str, Any]]:
        try:
            with self._disk.read_only(self.folder / "var/blobs") as took:
                await asyncio.sleep(self._chance.choice((0.5, 2.0, 5.0)))
        except RuntimeError as error:  # somebody is writing there at this moment
            return False, {"error": str(error)}
        return took, {}

    async def _lock_database(self) -> tuple[bool, dict[str, Any]]:
        for_s = self._long()
        return await asyncio.to_thread(self.store.lock, for_s), {"for_s": for_s}

    async def _kill_database(self) -> tuple[bool, dict[str, Any]]:
        assert isinstance(self.store, Postgres)
        return await asyncio.to_thread(self.store.kill, self._chance.uniform(0, 2)), {}

    async def _hold_up_database(self) -> tuple[bool, dict[str, Any]]:
        assert isinstance(self.store, Postgres)
        for_s = self._long()
        await asyncio.to_thread(self.store.hold_up, for_s)
        return True, {"for_s": for_s}

    async def _end_database_sessions(self) -> tuple[bool, dict[str, Any]]:
        assert isinstance(self.store, Postgres)
        ended = await asyncio.to_thread(self.store.end_sessions)
        return ended > 0, {"ended": ended}

    async def _kill_redis(self) -> tuple[bool, dict[str, Any]]:
        assert isinstance(self.store, Postgres)
        took = self.store.memory.kill()
        await asyncio.sleep(self._chance.uniform(0, 2))
        await asyncio.to_thread(self.store.memory.start)
        return took, {}

    async def _hold_up_redis(self) -> tuple[bool, dict[str, Any]]:
        assert isinstance(self.store, Postgres)
        for_s = self._long()
        with self.store.memory.standing_still():
            await asyncio.sleep(for_s)
        return True, {"for_s": for_s}

    def _long(self) -> float:
        """Seconds: now and then longer than anybody in the gateway waits for a database or a Redis."""
        return self._chance.choice((1.0, 3.0, 6.0, 18.0) if self.plan.messages > 1000 else (1.0, 4.0))

    async def _release(self, *, is_killed: bool) -> tuple[bool, dict[str, Any]]:
        """A person releases some of what is held, and again when nothing went; or the command dies in the middle."""
        for _ in range(_RELEASE_TRIES):
            took, told = await self._try_release(is_killed=is_killed)
            if took:
                break
        return took, told

    async def _try_release(self, *, is_killed: bool) -> tuple[bool, dict[str, Any]]:
        query = "SELECT id FROM held_message WHERE state = 'held' ORDER BY id LIMIT 40"
        ids = [row[0] for row in await asyncio.to_thread(self.store.rows, query)]
        if not ids:
            return False, {}
        command = ["-m", "gateway", "quarantine", "release", *ids, "--config", str(self.folder / "darban.toml")]
        process = await asyncio.create_subprocess_exec(
            sys.executable, *command, cwd=peers.ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        if is_killed:
            names = ", ".join(f"'{one}'" for one in ids)
            begun = f"SELECT 1 FROM held_message WHERE state = 'releasing' AND id IN ({names})"
            for _ in range(400):  # until it has begun
                await asyncio.sleep(0.02)
                if await asyncio.to_thread(self.store.rows, begun):
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

    async def _kill_postfix(self, postfix: peers.Postfix) -> tuple[bool, dict[str, Any]]:
        """The processes that talk with us; and the whole of it is stopped, and later there again."""
        first = psutil.Process(int((postfix.folder / "queue/pid/master.pid").read_text()))
        doors = [one for one in first.children() if one.name() in ("smtpd", "cleanup")]
        for one in doors:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        await asyncio.to_thread(postfix.command, "postfix", "stop")
        await asyncio.sleep(self._chance.uniform(0, 1))
        await asyncio.to_thread(postfix.command, "postfix", "start")
        return bool(doors), {"killed": len(doors)}

    # --- what: in front of us ----------------------------------------------------------------------------------------

    async def _kill_front(self) -> tuple[bool, dict[str, Any]]:
        assert self._front is not None
        return await self._kill_postfix(self._front.postfix)

    async def _fill_front(self) -> tuple[bool, dict[str, Any]]:
        assert self._front is not None
        return await self._fill(self._front.disk)

    # --- the account ---------------------------------------------------------------------------------------------------

    def _report(self, seconds: float) -> dict[str, Any]:
        process = self.door.process
        assert process is not None
        process.terminate()
        code = process.wait(90)
        for postfix in (self.postfix, *([self._front.postfix] if self._front else [])):
            _wait_for_queue(postfix)
        if self._front:
            shutil.copy(self._front.postfix.folder / "mail.log", self.folder)
        log = self.door.log_since(0)
        forgotten = frozenset(re.findall(rf'"queue_id": "(\w+)"[^\n]*"event": "(?:{"|".join(_FORGOT)})"', log))
        attempts = [attempt for one in self._clients.values() for attempt in one.attempts]
        account = draw_up(attempts, self._places(), self.events, forgotten)
        exceptions = re.findall(r'"exception": "[^\n]*?(\w+(?:Error|Exception)[^\n"]{0,200})"', log)
        return {
            "seed": self.plan.seed,
            "store": self.plan.store,
            "messages": self._messages,
            "by_door": {door: one.messages for door, one in self._clients.items()},
            "settled": sum(one.settled for one in self._clients.values()),
            "attempts": len(attempts),
            "outcomes": dict(collections.Counter(f"{one.door}: {one.outcome}" for one in attempts)),
            "faults": self._by_kind(),
            "took": self._took(),
            "exit": code,
            "seconds": round(seconds),
            "tracebacks": sorted(set(exceptions))[:20],
            **account_for(self._askers.asked, self.events),
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
        for recipient, about in self._front.copies() if self._front else ():
            yield _place(about, recipient, "f")
        yield from self._held()

    def _held(self) -> Iterator[Place]:
        query = "SELECT recipient, helo, queue_id, state, content_hash FROM held_message"
        for recipient, helo, queue_id, state, digest in self.store.rows(query):
            session = int(helo.removeprefix("s").removesuffix(".fire.test"))
            content = self._blob(digest)
            about = examine(content)
            is_whole = about["is_whole"] and sha256(content).hexdigest() == digest
            yield Place(about["number"], session, recipient, "held", queue_id, "250", is_whole, state)

    def _blob(self, digest: str) -> bytes:
        if self.plan.blobs == "database":
            return b"".join(
                bytes(row[0]) for row in self.store.rows(f"SELECT content FROM blob WHERE name = '{digest}'")
            )
        try:
            return (self.folder / "var/blobs" / digest[:2] / digest[2:4] / digest).read_bytes()
        except OSError:
            return b""


def _place(about: dict[str, Any], recipient: str, where: str, said: str = "250") -> Place:
    return Place(
        about["number"], about["session"], recipient, where, about["queue_id"], said, about["is_whole"],
        is_released=about["is_released"],
    )  # fmt: skip


def _wait_for_queue(postfix: peers.Postfix) -> None:
    """Until Postfix has delivered what it took."""
    deadline = time.monotonic() + 60
    while postfix.command("postqueue", "-j").stdout.strip() and time.monotonic() < deadline:
        postfix.command("postqueue", "-f")
        time.sleep(0.5)


def never_took(reports: list[dict[str, Any]]) -> list[str]:
    """The kinds of faults of which no run has anything to show."""
    kinds = dict.fromkeys(kind for report in reports for kind in report["faults"])
    return [kind for kind in kinds if not any(one["faults"].get(kind, {}).get("took") for one in reports)]


def faults_of(report: dict[str, Any]) -> list[str]:
    """What is wrong with a run; nothing when all is well."""
    names = [name.name for name in dataclasses.fields(Account) if isinstance(report[name.name], list)]
    names.append("wrong_answers")
    wrong = [f"{name}: {one}" for name in names for one in report[name]]
    if report["settled"] != report["messages"]:
        wrong.append(f"{report['settled']} of {report['messages']} messages settled")
    if report["exit"] != 0:
        wrong.append(f"the gateway ended with {report['exit']}")
    return wrong


def play(plan: Plan, tell: Callable[[str], None], keep: Path | None = None) -> dict[str, Any]:
    """One chunk, of which the log is kept where something was wrong and `keep` names a place."""
    folder = Path(tempfile.mkdtemp(prefix="darban-fire-"))
    folder.chmod(0o755)  # the servers' own users come in
    try:
        with contextlib.ExitStack() as stack:
            postfix = stack.enter_context(peers.postfix(domain="p.test", users=("you",)))
            store: Store = Sqlite(folder)
            if plan.store == "postgresql":
                store = Postgres(stack.enter_context(postgres.cluster()), stack.enter_context(redis_server()))
            report = asyncio.run(Fire(folder, plan, postfix, store, tell).run())
        if keep is not None and faults_of(report):
            shutil.copy(folder / "log", keep.with_name(f"{keep.name}.{plan.seed}.log"))
            if (folder / "mail.log").exists():
                shutil.copy(folder / "mail.log", keep.with_name(f"{keep.name}.{plan.seed}.mail.log"))
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
    parser.add_argument("--stores", default=",".join(STORES), help="the chunks' databases, in turn")
    parser.add_argument("--doors", default=",".join(DOORS), help="where mail comes in")
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    stores = asked.stores.split(",")
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
        plan = Plan(messages, faults, seed, stores[number % len(stores)], tuple(asked.doors.split(",")))
        report = play(plan, lambda text, number=number: _tell(number, chunks, text), asked.out)
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
    copies, outcomes, kinds, said, doors, stores = (collections.Counter[str]() for _ in range(6))
    for report in reports:
        sums.update({name: n for name, n in report.items() if isinstance(n, int) and name not in ("seed", "exit")})
        sums.update({name: len(n) for name, n in report.items() if isinstance(n, list)})
        copies.update(report["second_copies"])
        outcomes.update(report["outcomes"])
        said.update(report["said"])
        doors.update(report["by_door"])
        stores[report["store"]] += report["messages"]
        kinds.update({kind: counts.get("took", 0) for kind, counts in report["faults"].items()})
    sums["most_copies"] = max((report["most_copies"] for report in reports), default=0)
    wrong = [one for report in reports for one in faults_of(report)]
    wrong += [f"{kind} never took" for kind in never_took(reports)]
    by = {"by_door": doors, "by_store": stores, "second_copies": copies, "outcomes": outcomes, "said": said}
    return {**sums, **by, "faults": kinds, "wrong": wrong[:50]}


if __name__ == "__main__":
    sys.exit(main())
