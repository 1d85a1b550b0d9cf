"""Whether memory stays where it is: a steady stream of mail for half an hour, every process measured.

    python -m benchmarks.soak [--seconds 1800] [--rate 50] [--warm-up 600] [--every 30] [--messages FOLDER] [--out FILE]

Real messages, each made another one by a field of its own, from many senders to many recipients, at a rate that does
not wait for the answers; sessions end after some messages and are opened again. The shipped thresholds hold: mail is
relayed, tagged, held and refused. DNS answers that no name exists. Metrics are read every 15 s, as Prometheus does.

Memory is the proportional set size (PSS), and of it what is anonymous: pages of programs and libraries are divided
among all on the machine that have them open, so their share moves when somebody else starts or ends. After the warm-up
a line is fitted by least squares to each process's and to their sum. "flat": with 95 % confidence it grows by less than
5 % of its size an hour; "grows": with 95 % confidence it grows; else "unclear".
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import math
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from benchmarks.machine import describe, percentile
from benchmarks.mail import messages
from benchmarks.processes import memory_mib
from benchmarks.smtp_load import sink
from gateway.net.dialogue import Dialogue
from tests.e2e import peers
from tests.e2e.fire_hop import Dns

_CLIENTS = 20
_A_SESSION = 50  # messages
_ANSWER_S = 120.0
_SENDERS, _DOMAINS, _RECIPIENTS = 5003, 701, 499
_SHARE_AN_HOUR = 0.05
_SCRAPE_S = 15.0
KINDS = ("pss", "anonymous")
Sizes = dict[str, dict[str, float]]  # of each kind, by process: MiB
Samples = list[tuple[float, Sizes]]  # seconds since the beginning


class Stream:
    """Messages on time; what was answered, and how late each was."""

    def __init__(self, port: int, contents: Sequence[bytes], rate: float, seconds: float) -> None:
        self._port, self._contents, self._rate, self._seconds = port, contents, rate, seconds
        self._sent = 0
        self.began = 0.0
        self.replies = Counter[str]()
        self.waits: list[float] = []  # from when it was due

    async def run(self) -> None:
        """Until the time is over."""
        self.began = time.monotonic()
        await asyncio.gather(*(self._client() for _ in range(_CLIENTS)))

    async def _client(self) -> None:
        loop = asyncio.get_running_loop()
        while not self._is_over():
            _, dialogue = await loop.create_connection(Dialogue, "127.0.0.1", self._port)
            if not await dialogue.begin("EHLO", "client.example.org", _ANSWER_S):
                self.replies["no session"] += 1
                await asyncio.sleep(1)
                continue
            for _ in range(_A_SESSION):
                if not dialogue.is_open or not await self._send(dialogue):
                    break
            dialogue.end("")

    def _is_over(self) -> bool:
        return self._sent >= self._rate * self._seconds

    async def _send(self, dialogue: Dialogue) -> bool:
        """The next message, when it is due; False when there is none."""
        if self._is_over():
            return False
        number, self._sent = self._sent, self._sent + 1
        due = self.began + number / self._rate
        await asyncio.sleep(due - time.monotonic())
        sender = f"sender{number % _SENDERS}@d{number % _DOMAINS}.example"
        commands = [f"MAIL FROM:<{sender}> BODY=8BITMIME", f"RCPT TO:<u{number % _RECIPIENTS}@darban.test>", "DATA"]
        replies = await dialogue.commands(commands, _ANSWER_S, lambda said: said[-1].code < 400)
        if [one.code for one in replies] != [250, 250, 354]:
            self.replies[str(replies[-1].code) if replies else "no answer"] += 1
            return False
        content = b"X-Soak: %d\r\n" % number + self._contents[number % len(self._contents)]
        said = await dialogue.send(content, 1, _ANSWER_S)
        self.replies[str(said[0].code) if said else "no answer"] += 1
        self.waits.append(time.monotonic() - due)
        return True


def main() -> None:
    """Print the result, and write it where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--number", type=int, default=2000, help="so many different messages")
    parser.add_argument("--seconds", type=float, default=1800)
    parser.add_argument("--rate", type=float, default=50, help="messages a second")
    parser.add_argument("--warm-up", type=float, default=600, help="seconds that are not fitted")
    parser.add_argument("--every", type=float, default=30, help="seconds between two measurements")
    parser.add_argument("--messages", default="", help="a folder of .eml files instead of the corpora")
    parser.add_argument("--out", default="", help="write the result as JSON")
    options = parser.parse_args()
    contents = [sample.content for sample in messages(options.number, options.messages)]
    dns_port, machine = peers.free_port(), describe()
    with (
        sink() as port,
        tempfile.TemporaryDirectory(prefix="darban-soak-") as folder,
        peers.gateway(Path(folder), f"smtp://127.0.0.1:{port}", nameserver=f"127.0.0.1:{dns_port}") as running,
    ):
        stream = Stream(running.smtp_port, contents, options.rate, options.seconds)
        samples = asyncio.run(measure(running, dns_port, stream, options.every))
    waits = stream.waits
    result = {
        "machine": machine,
        "asked": {"seconds": options.seconds, "rate": options.rate, "warm_up": options.warm_up},
        "messages": sum(stream.replies.values()),
        "messages_per_s": round(sum(stream.replies.values()) / samples[-1][0], 1),
        "replies": dict(stream.replies.most_common()),
        "wait_ms": {f"p{share}": round(percentile(waits, share / 100) * 1000, 1) for share in (50, 99)},
        "memory": {kind: fitted([(at, of[kind]) for at, of in samples], options.warm_up) for kind in KINDS},
        "samples": [
            {"at_s": round(at), **{kind: {name: round(mib, 1) for name, mib in of[kind].items()} for kind in KINDS}}
            for at, of in samples
        ],
    }
    print(json.dumps(result, indent=1))
    if options.out:
        Path(options.out).write_text(json.dumps(result, indent=1) + "\n")


async def measure(running: peers.Gateway, dns_port: int, stream: Stream, every_s: float) -> Samples:
    """The stream with all that goes on beside it; the last sample is taken while mail still comes."""
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(Dns, local_addr=("127.0.0.1", dns_port))
    sending = asyncio.create_task(stream.run())
    reading = asyncio.create_task(scrape(running.metrics_port))
    samples: Samples = []
    while not sending.done():
        await asyncio.wait([sending], timeout=every_s)
        samples.append((time.monotonic() - stream.began, await asyncio.to_thread(sizes, running)))
        told = {kind: round(of["all"], 1) for kind, of in samples[-1][1].items()}
        print(f"{samples[-1][0]:.0f} s: {told} {dict(stream.replies)}", file=sys.stderr, flush=True)
    await sending
    reading.cancel()
    transport.close()
    return samples


async def scrape(port: int) -> None:
    """The metrics, again and again."""

    def read() -> None:
        with (
            contextlib.suppress(OSError),
            urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as told,
        ):
            told.read()

    while True:
        await asyncio.to_thread(read)
        await asyncio.sleep(_SCRAPE_S)


def sizes(running: peers.Gateway) -> Sizes:
    """Of each process, by its name; scorers are their parent's children. "all" is the sum."""
    named = running.processes()
    found = {"supervisor": running.process.pid, **named}
    for name, pid in named.items():
        with contextlib.suppress(psutil.NoSuchProcess):
            children = sorted(one.pid for one in psutil.Process(pid).children())
            found |= {f"{name} {number}": child for number, child in enumerate(children, 1)}
    told: Sizes = {kind: {} for kind in KINDS}
    for name, pid in found.items():
        with contextlib.suppress(OSError, KeyError):  # it has ended meanwhile
            memory = memory_mib(pid)
            told["pss"][name], told["anonymous"][name] = memory["pss_mib"], memory["pss_anonymous_mib"]
    return {kind: of | {"all": sum(of.values())} for kind, of in told.items()}


def fitted(samples: Sequence[tuple[float, dict[str, float]]], warm_up_s: float) -> dict[str, dict[str, Any]]:
    """Of each process that was there all the time after the warm-up: its mean, its slope, what that says."""
    after = [(at / 3600, of) for at, of in samples if at >= warm_up_s]
    names = [name for name in (after[0][1] if after else {}) if all(name in of for _, of in after)]
    return {name: line([(at, of[name]) for at, of in after]) for name in names}


def line(points: Sequence[tuple[float, float]]) -> dict[str, Any]:
    """Least squares through (hours, MiB): MiB an hour with the half of its 95 % interval, and the word for it."""
    count = len(points)
    mean_x, mean_y = sum(x for x, _ in points) / count, sum(y for _, y in points) / count
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    if count < 3 or not spread:
        return {"samples": count, "mib": round(mean_y, 1), "verdict": "unclear"}
    slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread
    rest = sum((y - mean_y - slope * (x - mean_x)) ** 2 for x, y in points)
    half = _t95(count - 2) * math.sqrt(rest / (count - 2) / spread)
    bound = _SHARE_AN_HOUR * mean_y
    verdict = "flat" if slope + half < bound else "grows" if slope - half > 0 else "unclear"
    return {
        "samples": count,
        "mib": round(mean_y, 1),
        "mib_an_hour": round(slope, 2),
        "plus_minus": round(half, 2),
        "verdict": verdict,
    }


def _t95(freedom: int) -> float:
    """Student's t, two-sided 95 %, to a few hundredths (Cornish and Fisher's expansion)."""
    z = 1.959964
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)


if __name__ == "__main__":
    main()
