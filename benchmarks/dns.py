"""What a DNS that misbehaves for some senders costs the messages of all others, and what a look-up costs.

    python -m benchmarks.dns [--number 300] [--affected 15] [--rounds 3] [--passes 3] [--out FILE.json]

The nameserver is the tests' own, in a process of its own (tests/dns_server.py). `--number` messages whose DNS is warm
are judged one after another while `--affected` others, each from a domain of its own, wait for a nameserver that is
slow, silent, wrong or answers too much; beside it the same messages while it is well. CPU is that of the judging
thread, the best of the rounds, which alternate; `ratio` is the throughput that is left, 1 being all of it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
import time
from pathlib import Path
from typing import NamedTuple

import uvloop

from benchmarks.machine import describe
from gateway.app.pipeline import load_pipeline
from gateway.checks import CHECKS, ENVELOPE_CHECKS
from gateway.config.settings import Settings
from gateway.net.dns import CachingResolver
from gateway.scan.pipeline import Pipeline
from gateway.types import Client, Envelope, Recipient, Verdict
from tests.dns_server import apart

TIMEOUT_S = 0.8
_SILENT_TIMEOUT_S = 0.3  # what never comes need not be waited for longer
FAULTS: dict[str, str | float] = {
    "slow": TIMEOUT_S / 4,
    "silent": "silent",
    "wrong id": "wrong-id",
    "wrong question": "wrong-question",
    "garbage": "garbage",
    "too much": "too-much",
    "cut short": "truncate-only",
    "lame": "lame",
}
SILENT = frozenset(("silent", "wrong id", "wrong question", "garbage"))
_NUMBER = re.compile(r"\bn[0-9]+\.")
_WELL = "well.example.net"
_TYPES = {"TXT": ["v=spf1 ip4:192.0.2.1 -all"], "MX": ["10 mx.example.net"], "A": ["192.0.2.1"]}


def main() -> None:
    """Print JSON, write it where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--number", type=int, default=300, help="messages that have nothing to do with it")
    parser.add_argument("--affected", type=int, default=15, help="messages whose DNS misbehaves")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--passes", type=int, default=3, help="of the look-ups")
    parser.add_argument("--messages", default="", help="not used: the messages are written here")
    parser.add_argument("--out", default="", help="write the result as JSON")
    options = parser.parse_args()
    make = Judge(options.number, options.affected)
    result = {
        "machine": describe(),
        "number": options.number,
        "affected": options.affected,
        "faults": {fault: make.compare(fault, options.rounds)._asdict() for fault in FAULTS},
        "look_up_us": look_ups(options.passes),
    }
    text = json.dumps(result, indent=1)
    print(text)
    if options.out:
        Path(options.out).write_text(text + "\n", "utf-8")


class Compared(NamedTuple):
    """One fault beside a nameserver that is well."""

    ratio: float  # of throughput
    cpu_ms: float  # for all messages, while it misbehaves
    well_cpu_ms: float
    finished_meanwhile: int  # unrelated messages that were judged while affected ones still waited
    incomplete: list[str]  # what the affected verdicts say, without repetitions


class _Run(NamedTuple):
    cpu_s: float
    meanwhile: int  # unrelated messages judged while others waited
    verdicts: list[Verdict]  # of the affected messages


class Judge:
    """Rules and model are loaded once."""

    def __init__(self, number: int, affected: int) -> None:
        self._number = number
        self._affected = affected
        self._loaded = load_pipeline(Settings(), Path("var/cache"), offline=True)()

    def compare(self, fault: str, rounds: int, enough: float = float("inf")) -> Compared:
        """Rounds in alternation, the best of each; fewer of them when the ratio is `enough` before."""
        zones = dict.fromkeys((_WELL, *map(domain, range(self._affected))), _TYPES)
        behaviours = {name: FAULTS[fault] for name in zones if name != _WELL}
        behaviours |= {f"_dmarc.{name}": FAULTS[fault] for name in behaviours}
        timeout_s = _SILENT_TIMEOUT_S if fault in SILENT else TIMEOUT_S
        runs: list[_Run] = []
        well_s = ill_s = float("inf")
        with apart(zones) as well, apart(zones, behaviours) as ill:
            for _ in range(rounds):
                healthy = uvloop.run(self._run(well, TIMEOUT_S))
                if any(verdict.incomplete for verdict in healthy.verdicts):
                    continue  # a busy machine kept its server from answering in time
                runs.append(uvloop.run(self._run(ill, timeout_s)))
                well_s, ill_s = min(well_s, healthy.cpu_s), min(ill_s, runs[-1].cpu_s)
                if well_s >= ill_s * enough:
                    break
        assert runs, "the machine is too busy: no round was whole"
        verdicts = [verdict for run in runs for verdict in run.verdicts]
        words = [_NUMBER.sub("n*.", what) for verdict in verdicts for what in verdict.incomplete]
        assert fault == "slow" or all(verdict.incomplete for verdict in verdicts)
        return Compared(
            round(well_s / ill_s, 3),
            round(ill_s * 1000, 1),
            round(well_s * 1000, 1),
            min(run.meanwhile for run in runs),
            sorted(dict.fromkeys(words)),
        )

    async def _run(self, nameserver: str, timeout_s: float) -> _Run:
        pipeline = self._pipeline(nameserver, timeout_s)
        while (await judge(pipeline, _WELL)).incomplete:  # a busy machine: the time is for those who misbehave
            pipeline = self._pipeline(nameserver, timeout_s)
        began = time.thread_time()
        affected = [asyncio.ensure_future(judge(pipeline, domain(number))) for number in range(self._affected)]
        meanwhile = 0
        for _ in range(self._number):
            verdict = await judge(pipeline, _WELL)
            assert not verdict.incomplete, verdict.incomplete
            meanwhile += not all(task.done() for task in affected)
            await asyncio.sleep(0)
        verdicts = await asyncio.gather(*affected)
        return _Run(time.thread_time() - began, meanwhile, verdicts)

    def _pipeline(self, nameserver: str, timeout_s: float) -> Pipeline:
        resolver = CachingResolver([nameserver], timeout_s)
        return Pipeline(
            resolver=resolver,
            message_checks=CHECKS,
            envelope_checks=ENVELOPE_CHECKS,
            rules=self._loaded.rules,
            classifier=self._loaded.classifier,
            deadline_s=timeout_s * 5,
            trouble=resolver.trouble,
        )


def domain(number: int) -> str:
    """An affected sender's."""
    return f"n{number}.example.com"


async def judge(pipeline: Pipeline, sender: str) -> Verdict:
    """One message from there."""
    envelope = Envelope(
        "BENCHMARK", Client("192.0.2.1", helo=f"mx.{sender}"), f"sara@{sender}",
        (Recipient("you@darban.test", "darban.test"),), 1_790_000_000.0, "mx.darban.test",
    )  # fmt: skip
    return await pipeline.score(envelope, _message(sender))


def _message(sender: str) -> bytes:
    text = "\r\n".join(f"Line {n}: the minutes of the meeting are at https://www.{sender}/{n}." for n in range(40))
    return (
        f"From: Sara <sara@{sender}>\r\nTo: you@darban.test\r\nSubject: Minutes\r\nMessage-ID: <1@{sender}>\r\n"
        f"Date: Mon, 21 Sep 2026 13:33:20 +0000\r\n\r\n{text}\r\n"
    ).encode()


def look_ups(passes: int, number: int = 1000) -> dict[str, float]:
    """CPU microseconds of a look-up on the wire, one at a time and twenty side by side, and from the cache."""

    async def measure(nameserver: str, at_once: int) -> float:
        resolver = CachingResolver([nameserver], 2.0)
        best = float("inf")
        for turn in range(passes):
            began = time.thread_time()
            for start in range(0, number, at_once):
                names = [f"n{turn}-{start + one}.example.net" for one in range(at_once)]
                await asyncio.gather(*(resolver.query(name, "A") for name in names))
            best = min(best, time.thread_time() - began)
        await resolver.close()
        return round(best / number * 1e6, 1)

    async def cached(nameserver: str) -> float:
        resolver = CachingResolver([nameserver], 2.0)
        await resolver.query("n0.example.net", "A")
        began = time.thread_time()
        for _ in range(number):
            await resolver.query("n0.example.net", "A")
        spent = time.thread_time() - began
        await resolver.close()
        return round(spent / number * 1e6, 2)

    with apart({"*.example.net": {"A": ["192.0.2.1"]}}) as nameserver:
        return {
            "one at a time": uvloop.run(measure(nameserver, 1)),
            "twenty side by side": uvloop.run(measure(nameserver, 20)),
            "from the cache": uvloop.run(cached(nameserver)),
        }


if __name__ == "__main__":
    sys.exit(main())
