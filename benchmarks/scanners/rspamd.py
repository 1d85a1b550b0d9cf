"""Rspamd: a private instance with its shipped configuration, asked over HTTP on loopback as an MTA asks it.

The modules that live off the DNS or a service of the project's are switched off; its resolver is a closed loopback
port. With Bayes its tokens are in a Redis of its own. CPU counts all its processes and that Redis.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.processes import family, running
from benchmarks.scanners import Answer, Mail, Misconfigured, OneAtATime, require

CONFIGURATION = Path("/etc/rspamd/rspamd.conf")
_NEEDS_NETWORK = "rbl surbl spf dkim arc dmarc asn mx_check fuzzy_check rspamd_update bimi".split()
NO_NETWORK = {f"{module}.conf": "enabled = false;" for module in _NEEDS_NETWORK} | {
    "hfilter.conf": "helo_enabled = false; from_enabled = false;",  # what is looked up of HELO and MAIL FROM
    "phishing.conf": "phishtank_enabled = false;",
}
START_S = 120.0
_LOADED = re.compile(r"#(\d+)\(\w+\) .*full hyperscan database of (\d+) regexps has been loaded")
_FORKING = "main: rspamd .* is starting"  # what is loaded before this, every process has
_TASK = re.compile(r"\(default: .* dns req: (\d+),")
_MIN_SYMBOLS = 4  # of a message, on average: some come from every message that is looked at


class Rspamd:
    """With `bayes` also its classifier.

    Not `timed`, only how it judges counts: it learns also what it judges rightly already, and may ask the DNS, where
    nobody answers.
    """

    max_workers = 2

    def __init__(self, *, bayes: bool, timed: bool = True) -> None:
        self.name = "rspamd + Bayes" if bayes else "rspamd"
        self._bayes = bayes
        self._timed = timed
        self._facts: dict[str, Any] = {}

    def missing(self) -> str:
        """The programs that are not installed."""
        needed = ["rspamd", *(["redis-server"] if self._bayes else [])]
        absent = [name for name in needed if shutil.which(name) is None]
        if not absent and not CONFIGURATION.exists():
            absent = [str(CONFIGURATION)]
        return f"{' and '.join(absent)} not installed" if absent else ""

    def facts(self) -> dict[str, Any]:
        """Versions, patterns in its Hyperscan database."""
        return self._facts

    def prepare(self, folder: Path, training: Sequence[Mail]) -> None:
        """Compile its patterns, and train its classifier."""
        self._folder = folder
        for name in ("db", "log", "local.d"):
            (folder / name).mkdir(exist_ok=True)
        self._facts["version"] = version(["rspamd", "--version"])
        with self.start(1, sorted(os.sched_getaffinity(0))) as instance:
            self._facts["patterns"] = instance.patterns
            if self._bayes:
                self._facts |= {"redis": version(["redis-server", "--version"]), "trained_on": len(training)}
                asyncio.run(instance.learn(training, bulk=not self._timed))

    @contextlib.contextmanager
    def start(self, workers: int, cores: Sequence[int]) -> Iterator[Instance]:
        """Ready when every worker has loaded the compiled patterns: before that it matches them one by one."""
        log = self._folder / "log" / "rspamd.log"
        log.unlink(missing_ok=True)
        ports = free_port(), free_port()
        self._configure(workers, ports)
        own(self._folder)
        with contextlib.ExitStack() as stack:
            roots = []
            if self._bayes:
                roots.append(stack.enter_context(self._redis(cores)).pid)
            command = ["rspamd", "--no-fork", "--config", str(CONFIGURATION), *user(), *self._variables()]
            process = stack.enter_context(running(cores, command, self._folder / "log" / "out"))
            instance = Instance([process.pid, *roots], ports, workers, log, bayes=self._bayes)
            wait_until(instance.loaded, START_S, f"{self.name} has not loaded its patterns; see {log}")
            yield instance
            if self._timed:
                instance.settled()

    def check(self, answers: Sequence[Answer]) -> None:
        """Symbols of the classifier exactly where there is one."""
        learned = sum(any(name.startswith("BAYES_") for name in one.symbols) for one in answers)
        if self._bayes:
            require(learned >= 0.3 * len(answers), f"{self.name}: Bayes spoke of {learned} of {len(answers)} messages")
        else:
            require(learned == 0, f"{self.name}: Bayes speaks, but should be off")
        require(
            sum(len(one.symbols) for one in answers) >= _MIN_SYMBOLS * len(answers), f"{self.name}: hardly a symbol"
        )

    def _configure(self, workers: int, ports: tuple[int, int]) -> None:
        files = NO_NETWORK | {
            "worker-normal.inc": f'bind_socket = "127.0.0.1:{ports[0]}"; count = {workers};',
            "worker-controller.inc": f'bind_socket = "127.0.0.1:{ports[1]}";',
            "worker-proxy.inc": "enabled = false;",
            "options.inc": f'dns {{ nameserver = ["127.0.0.1:{free_port()}"]; }}',
        }
        if self._bayes:
            files["classifier-bayes.conf"] = f'servers = "{self._folder}/redis.sock";'
        for name, text in files.items():
            (self._folder / "local.d" / name).write_text(text + "\n")

    def _variables(self) -> list[str]:
        places = {"LOCAL_CONFDIR": "", "DBDIR": "/db", "RUNDIR": "/db", "LOGDIR": "/log"}
        return [f"--var={name}={self._folder}{below}" for name, below in places.items()]

    @contextlib.contextmanager
    def _redis(self, cores: Sequence[int]) -> Iterator[subprocess.Popen[bytes]]:
        path = self._folder / "redis.sock"
        path.unlink(missing_ok=True)
        settings = {
            "port": 0,
            "unixsocket": path,
            "unixsocketperm": 777,
            "dir": self._folder,
            "dbfilename": "bayes.rdb",
        }
        command = ["redis-server", *(word for key, value in settings.items() for word in (f"--{key}", str(value)))]
        with running(cores, command, self._folder / "log" / "redis") as process:
            wait_until(path.exists, START_S, "Redis does not start")
            yield process


class Instance(OneAtATime):
    """A running one."""

    def __init__(self, roots: list[int], ports: tuple[int, int], count: int, log: Path, *, bayes: bool) -> None:
        self.roots = roots
        self.count = count
        self.patterns = 0
        self._port, self._controller = ports
        self._log = log
        self._bayes = bayes
        self._asked = 0

    def workers(self) -> list[int]:
        """Those that scan; they say so in their title."""
        return [pid for pid in family(self.roots[0]) if b"normal process" in title(pid)]

    def loaded(self) -> bool:
        """All workers have the compiled patterns, and the ports are open."""
        text = self._log.read_text("utf-8", "replace") if self._log.exists() else ""
        before = _LOADED.search(re.split(_FORKING, text)[0])
        by_worker = dict(_LOADED.findall(text))
        workers = self.workers()
        if len(workers) < self.count or not (before or all(str(pid) in by_worker for pid in workers)):
            return False
        self.patterns = int(before[2] if before else by_worker[str(workers[0])])
        return _open(self._port) and _open(self._controller)

    async def scan(self, mail: Mail) -> Answer:
        """POST /checkv2."""
        self._asked += 1
        headers = {"IP": mail.client_ip, "Helo": mail.helo, "Hostname": mail.helo}
        headers |= {"From": f"<{mail.mail_from}>", "Rcpt": "you@darban.test"}
        status, body = await post(self._port, "/checkv2", headers, mail.content)
        require(status == 200, f"rspamd answered {status}: {body[:200]!r}")
        found = json.loads(body)
        require("symbols" in found and not found.get("is_skipped"), f"rspamd skipped message {mail.number}")
        return Answer(found["score"], tuple(found["symbols"]), _learned(found["symbols"]))

    async def learn(self, training: Sequence[Mail], *, bulk: bool) -> None:
        """Its controller learns each message."""
        headers = {"Learn-Type": "bulk"} if bulk else {}
        learned = 0
        for mail in training:
            path = "/learnspam" if mail.is_spam else "/learnham"
            status, body = await post(self._controller, path, headers, mail.content)
            # too few tokens, or much the same message before: its own judgement of what is worth learning
            require(status in (200, 204, 208, 404), f"rspamd did not learn: {status} {body[:200]!r}")
            learned += status == 200
        require(learned >= 0.7 * len(training), f"rspamd learned only {learned} of {len(training)} messages")

    def settled(self) -> None:
        """Its log must have a line for each message, without a question to the DNS. Raises Misconfigured."""
        asked = [int(number) for number in _TASK.findall(self._log.read_text("utf-8", "replace"))]
        require(not any(asked), f"rspamd asked the DNS for {sum(map(bool, asked))} messages")
        require(len(asked) >= self._asked, f"rspamd's log tells of {len(asked)} of {self._asked} messages")


async def post(port: int, path: str, headers: dict[str, str], content: bytes) -> tuple[int, bytes]:
    """(status, body) of one request on a connection of its own: Rspamd's workers close it after each."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    fields = "".join(f"{name}: {value}\r\n" for name, value in headers.items() if value)
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(content)}\r\n{fields}\r\n"
    writer.write(head.encode("utf-8", "replace") + content)
    answer = await reader.read()
    writer.close()
    begin, _, body = answer.partition(b"\r\n\r\n")
    words = begin.split(maxsplit=2)
    if len(words) < 2 or not words[1].isdigit():
        raise Misconfigured(f"no answer of HTTP: {answer[:100]!r}")
    return int(words[1]), body


def wait_until(holds: Callable[[], bool], within_s: float, what: str) -> None:
    """Raises Misconfigured(what)."""
    end = time.monotonic() + within_s
    while not holds():
        require(time.monotonic() < end, what)
        time.sleep(0.1)


def free_port() -> int:
    """Of the loopback interface, free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _learned(symbols: dict[str, Any]) -> float | None:
    """The score of its classifier's symbol: a function of the probability, less rounded than that is shown."""
    found = [symbols[name]["score"] for name in ("BAYES_SPAM", "BAYES_HAM") if name in symbols]
    return float(found[0]) if found else None


def title(pid: int) -> bytes:
    """What it calls itself."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def user() -> list[str]:
    """Options that name whom it runs as."""
    return ["--user", "_rspamd", "--group", "_rspamd"] if os.geteuid() == 0 else []


def own(folder: Path) -> None:
    """Rspamd drops root's privileges before it writes."""
    if os.geteuid() == 0:
        for path in [folder, *folder.rglob("*")]:
            shutil.chown(path, "_rspamd", "_rspamd")


def version(command: list[str]) -> str:
    """The first thing that looks like one in what this prints."""
    text = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(r"\d+\.\d+(\.\d+)*", text.stdout + text.stderr)
    return found[0] if found else ""
