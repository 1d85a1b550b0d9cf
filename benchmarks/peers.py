"""Darban beside Rspamd, SpamAssassin's spamd and bogofilter: the same messages, the same run, in alternation.

    python -m benchmarks.peers [--number 2000] [--rounds 10] [--cores 1,2] [--peers NAME,...] [--messages FOLDER]
                               [--train 1000] [--out FILE.json] [--plot FILE.png]

The messages are cut into blocks; in each round every scanner takes the block in turn, the order moving by one. Each
worker has one message in hand. CPU is that of all processes of the scanner (its Redis too) over its blocks; this
program's own, which asks, stands apart. With one core the scanner's processes share it, and the asking has another.
Ratios are medians over the rounds. A scanner that answers without having looked ends the run.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import uvloop

from benchmarks.machine import describe, percentile
from benchmarks.mail import messages, training
from benchmarks.processes import cpu_s, memory_mib
from benchmarks.scanners import Absent, Answer, Mail, Misconfigured, Running, Scanner, Timed
from benchmarks.scanners.bogofilter import Bogofilter
from benchmarks.scanners.darban import SPAMASSASSIN_RULES, Darban
from benchmarks.scanners.rspamd import Rspamd
from benchmarks.scanners.spamassassin import Spamd
from gateway.classify.corpus import Sample
from gateway.config.shipped import rules_path

BASES = ("darban", "darban + SA rules")  # what the others are compared with
_WARM_UP = 50
_UNKNOWN_IP, _UNKNOWN_HELO = "203.0.113.7", "mail.example.org"  # where a corpus does not tell


def scanners() -> list[Scanner]:
    """All that are measured, in the order of the table."""
    both = (SPAMASSASSIN_RULES, rules_path())
    return [
        Darban("darban", [rules_path()], pool=True),
        Darban("darban in process", [rules_path()], pool=False),
        Darban("darban + SA rules", both, pool=True),
        Darban("darban + SA rules in process", both, pool=False),
        Rspamd(bayes=False),
        Rspamd(bayes=True),
        Spamd(bayes=False),
        Spamd(bayes=True),
        Bogofilter(),
    ]


def main() -> None:
    """Print the table, write JSON and a picture where asked. Exit status 1 when a scanner is misconfigured."""
    options = _options()
    chosen = [one for one in scanners() if not options.peers or one.name in options.peers.split(",")]
    if not chosen:
        raise SystemExit(f"--peers: choose among {', '.join(one.name for one in scanners())}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was started is stopped
    try:
        result = compare(chosen, options)
    except Misconfigured as error:
        raise SystemExit(f"misconfigured: {error}") from None
    print(json.dumps(result, indent=1) if options.json else table(result))
    if options.out:
        Path(options.out).write_text(json.dumps(result, indent=1) + "\n")
    if options.plot:
        from benchmarks.plots import draw_peers

        draw_peers(result, Path(options.plot))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--number", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--cores", default="1,2", help="workers, each time on as many cores")
    parser.add_argument("--peers", default="", help="names, separated by commas; all when left out")
    parser.add_argument("--messages", default="", help="a folder of .eml files instead of the corpora")
    parser.add_argument("--train", type=int, default=1000, help="messages for the peers' classifiers")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    parser.add_argument("--out", default="", help="write the result as JSON")
    parser.add_argument("--plot", default="", help="draw the result as PNG")
    return parser.parse_args()


def compare(chosen: Sequence[Scanner], options: argparse.Namespace) -> dict[str, Any]:
    """Everything that is printed, drawn and written. Raises Misconfigured."""
    result: dict[str, Any] = {"machine": describe(), "messages": options.number, "rounds": options.rounds}
    result["load_before"] = round(os.getloadavg()[0], 2)
    with tempfile.TemporaryDirectory(prefix="darban-peers-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # the peers' users must come in
        mails = written(messages(options.number, options.messages), folder / "mail")
        learned = written(training(options.train, options.messages), folder / "training")
        ready, result["scanners"], result["absent"] = prepare(chosen, folder, learned)
        result["mean_size_bytes"] = sum(len(mail.content) for mail in mails) // len(mails)
        result["runs"] = {}
        for workers in map(int, options.cores.split(",")):
            result["runs"][str(workers)] = run(ready, mails, options.rounds, workers)
    result["ratios"] = ratios(result["runs"])
    result["scaling"] = scaling(result["runs"])
    result["load_after"] = round(os.getloadavg()[0], 2)
    return result


def written(samples: Sequence[Sample], folder: Path) -> list[Mail]:
    """As they came over the wire, and in files of `folder`."""
    folder.mkdir()
    mails = []
    for number, sample in enumerate(samples):
        file = folder / f"{number}.eml"
        file.write_bytes(sample.content)
        address, helo = sample.client_ip or _UNKNOWN_IP, sample.helo or _UNKNOWN_HELO
        mails.append(Mail(number, sample.content, address, helo, sample.mail_from, sample.is_spam, file))
    return mails


def prepare(
    chosen: Sequence[Scanner], folder: Path, learned: Sequence[Mail]
) -> tuple[list[Scanner], dict[str, Any], dict[str, str]]:
    """(those that can be measured, facts of each, reason of each that cannot)."""
    ready, facts, absent = [], {}, {}
    for number, scanner in enumerate(chosen):
        reason = scanner.missing()
        if not reason:
            own = folder / f"scanner-{number}"
            own.mkdir()
            try:
                scanner.prepare(own, learned)
            except Absent as error:
                reason = str(error)
        if reason:
            absent[scanner.name] = reason
        else:
            ready.append(scanner)
            facts[scanner.name] = scanner.facts()
        print(f"{scanner.name}: {reason or scanner.facts()}", file=sys.stderr)
    return ready, facts, absent


def run(ready: Sequence[Scanner], mails: Sequence[Mail], rounds: int, workers: int) -> dict[str, Any]:
    """Figures of each scanner with so many workers, on as many cores."""
    able = [one for one in ready if one.max_workers >= workers]
    every = sorted(os.sched_getaffinity(0))
    if len(every) < workers:
        return {}
    size = -(-len(mails) // rounds)
    blocks = [mails[start : start + size] for start in range(0, len(mails), size)]
    with contextlib.ExitStack() as stack:
        started = [stack.enter_context(one.start(workers, every[:workers])) for one in able]
        os.sched_setaffinity(0, every[workers:] or every)
        stack.callback(os.sched_setaffinity, 0, every)
        meters = [Meter(one) for one in started]
        uvloop.run(_alternate(meters, mails[:_WARM_UP], blocks))
        figures = {scanner.name: meter.figures() for scanner, meter in zip(able, meters, strict=True)}
        for scanner, meter in zip(able, meters, strict=True):
            scanner.check(meter.answers)
    return figures


async def _alternate(meters: Sequence[Meter], warm_up: Sequence[Mail], blocks: Sequence[Sequence[Mail]]) -> None:
    for meter in meters:
        await meter.running.scan_block(warm_up)
    for number, block in enumerate(blocks):
        for turn in range(len(meters)):
            await meters[(number + turn) % len(meters)].take(block)
        print(f"round {number + 1} of {len(blocks)}", file=sys.stderr)
    for meter in meters:
        meter.weigh()


class Meter:
    """What a started scanner has used over its blocks."""

    def __init__(self, running: Running) -> None:
        self.running = running
        self._timed: list[Timed] = []
        self._cpu_ms: list[float] = []  # per message, a figure for each block
        self._used_s = self._driver_s = self._wall_s = 0.0
        self._memory: dict[str, float] = {}

    async def take(self, block: Sequence[Mail]) -> None:
        """One block, measured."""
        before, driver, began = cpu_s(self.running.roots), time.process_time(), time.perf_counter()
        timed = await self.running.scan_block(block)
        self._wall_s += time.perf_counter() - began
        self._driver_s += time.process_time() - driver
        used = cpu_s(self.running.roots) - before
        self._used_s += used
        self._cpu_ms.append(used / len(block) * 1000)
        self._timed += timed

    def weigh(self) -> None:
        """The memory of the heaviest worker, now."""
        self._memory = max((memory_mib(pid) for pid in self.running.workers()), key=lambda one: one["pss_mib"])

    @property
    def answers(self) -> list[Answer]:
        """To all messages so far."""
        return [one.answer for one in self._timed]

    def figures(self) -> dict[str, Any]:
        """Per message, in the units that the names tell."""
        count, times = len(self._timed), [one.seconds for one in self._timed]
        names = [name for one in self._timed for name in one.answer.symbols]
        shares = (("p50_ms", 0.5), ("p99_ms", 0.99), ("max_ms", 1.0))
        return {
            "messages": count,
            "messages_per_s": round(count / self._wall_s, 1),
            "cpu_ms": round(self._used_s / count * 1000, 3),
            "driver_cpu_ms": round(self._driver_s / count * 1000, 3),
            **{name: round(percentile(times, share) * 1000, 3) for name, share in shares},
            "worker": self._memory,
            "symbols_per_message": round(len(names) / count, 1),
            "distinct_symbols": len(set(names)),
            "cpu_ms_by_round": [round(one, 3) for one in self._cpu_ms],
        }


def ratios(runs: dict[str, Any]) -> dict[str, Any]:
    """runs -> base -> scanner -> how many times the base's CPU (median of the rounds), speed and latency."""
    return {
        workers: {
            base: {name: _against(figures[base], other) for name, other in figures.items() if name != base}
            for base in BASES
            if base in figures
        }
        for workers, figures in runs.items()
    }


def _against(base: dict[str, Any], other: dict[str, Any]) -> dict[str, float]:
    pairs = zip(other["cpu_ms_by_round"], base["cpu_ms_by_round"], strict=True)
    return {
        "cpu": round(statistics.median(theirs / ours for theirs, ours in pairs if ours), 2),
        **{name: round(other[name] / base[name], 2) for name in ("messages_per_s", "p50_ms", "p99_ms")},
    }


def scaling(runs: dict[str, Any]) -> dict[str, float]:
    """Messages per second with two workers, as a multiple of those with one."""
    one, two = runs.get("1", {}), runs.get("2", {})
    return {name: round(two[name]["messages_per_s"] / one[name]["messages_per_s"], 2) for name in two if name in one}


def table(result: dict[str, Any]) -> str:
    """For people."""
    machine = result["machine"]
    lines = [
        f"{result['messages']} messages of {result['mean_size_bytes']} bytes, {result['rounds']} rounds; "
        f"{machine['cpu']}, commit {machine['commit']}, {machine['date']}, load {result['load_before']}",
    ]
    head = ("messages/s", "CPU ms", "asking ms", "p50 ms", "p99 ms", "PSS MiB", *(f"CPU / {base}" for base in BASES))
    for workers, figures in result["runs"].items():
        lines += ["", f"{workers} worker(s)".ljust(30) + _row(head, head)]
        for name, one in figures.items():
            cells = [one[key] for key in ("messages_per_s", "cpu_ms", "driver_cpu_ms", "p50_ms", "p99_ms")]
            cells.append(one["worker"]["pss_mib"])
            against = result["ratios"][workers]
            cells += [1 if name == base else against.get(base, {}).get(name, {}).get("cpu", "") for base in BASES]
            lines.append(name.ljust(30) + _row(head, cells))
    lines += ["", f"two workers / one, messages per second: {result['scaling']}"] if result["scaling"] else []
    lines += [f"absent: {name}: {reason}" for name, reason in result["absent"].items()]
    lines += [f"{name}: {facts}" for name, facts in result["scanners"].items()]
    return "\n".join(lines)


def _row(head: Sequence[str], cells: Sequence[object]) -> str:
    return "".join(f"{cell:>{max(11, len(title) + 2)}}" for title, cell in zip(head, cells, strict=True))


if __name__ == "__main__":
    main()
