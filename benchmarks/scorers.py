"""What scorer processes add to judging in one's own process, what two of them give over one, and their memory.

The same messages go through the pipeline in this process, then through ScorerPool and ScorerParent over the unix
socket, with 1 and with more scorers; no network. CPU is that of the process in question, from the kernel's accounts.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import uvloop

from benchmarks.machine import ROOT, describe
from benchmarks.mail import messages
from gateway.app.pipeline import load_pipeline
from gateway.config.load import load_settings
from gateway.scan.pool import ScorerPool
from gateway.scan.scorer import ScorerParent, bind
from gateway.types import Envelope, Verdict

_IN_FLIGHT = 8  # messages for each scorer, as a busy listener has
_WARM_UP = 200

Mail = list[tuple[Envelope, bytes]]
Ask = Callable[[Envelope, bytes], Awaitable[Verdict]]


def cpu_s(pid: int) -> float:
    """CPU a process has used, by its main thread."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def memory_mib(pid: int) -> dict[str, float]:
    """RSS, PSS (shared pages divided among their users) and USS (its own pages alone)."""
    lines = (line.split() for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:])
    kib = {words[0]: int(words[1]) for words in lines}
    own = kib["Private_Clean:"] + kib["Private_Dirty:"]
    return {name: round(size / 1024, 1) for name, size in (("rss", kib["Rss:"]), ("pss", kib["Pss:"]), ("uss", own))}


async def judge_all(ask: Ask, mail: Mail, side_by_side: int) -> float:
    """Wall seconds for all messages, so many in flight."""
    waiting = iter(mail)

    async def worker() -> None:
        for envelope, content in waiting:
            await ask(envelope, content)

    began = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(side_by_side)))
    return time.perf_counter() - began


def serve(folder: Path) -> None:
    """The scorers' parent: what `python -m benchmarks.scorers --serve FOLDER` runs."""
    settings = load_settings(None)
    make = load_pipeline(settings, ROOT / "var" / "cache", offline=True)
    limits = settings.limits
    ScorerParent(
        bind(folder / "scorers"), make, folder=folder, stage_cpu_s=limits.stage_cpu_s, memory=limits.scorer_memory
    ).serve()


@contextlib.contextmanager
def scorers() -> Iterator[tuple[Path, int]]:
    """A scorers' parent in a process that knows nothing else; its folder and process id."""
    with tempfile.TemporaryDirectory() as folder:
        parent = subprocess.Popen([sys.executable, "-m", "benchmarks.scorers", "--serve", folder], cwd=ROOT)
        try:
            yield Path(folder), parent.pid
        finally:
            parent.terminate()
            parent.wait()


async def through_the_pool(mail: Mail, count: int, passes: int) -> dict[str, object]:
    """CPU µs a message on both sides, messages a second, memory of the scorers."""
    with scorers() as (folder, parent):
        began = time.perf_counter()
        pool = ScorerPool(folder / "scorers", count, 60.0)
        await pool.start()
        await pool.score(*mail[0])
        first_s = time.perf_counter() - began
        await judge_all(pool.score, mail[:_WARM_UP] * count, _IN_FLIGHT * count)
        pids = [int(file.stem.partition("-")[2]) for file in folder.glob("scorer-*.stage")]
        wall = asking = scoring = float("inf")
        for _ in range(passes):
            before, own = sum(map(cpu_s, pids)), time.process_time()
            wall = min(wall, await judge_all(pool.score, mail, _IN_FLIGHT * count))
            asking, scoring = min(asking, time.process_time() - own), min(scoring, sum(map(cpu_s, pids)) - before)
        memory = {"parent": memory_mib(parent)} | {f"scorer {n}": memory_mib(pid) for n, pid in enumerate(pids, 1)}
        await pool.close()
    return {
        "messages_per_s": round(len(mail) / wall, 1),
        "asking_us": round(asking / len(mail) * 1e6, 1),
        "scorers_us": round(scoring / len(mail) * 1e6, 1),
        "start_to_first_verdict_s": round(first_s, 2),
        "memory_mib": memory,
    }


async def in_this_process(mail: Mail, passes: int) -> float:
    """CPU µs a message."""
    pipeline = load_pipeline(load_settings(None), ROOT / "var" / "cache", offline=True)()
    await judge_all(pipeline.score, mail[:_WARM_UP], 1)
    best = float("inf")
    for _ in range(passes):
        began = time.process_time()
        await judge_all(pipeline.score, mail, 1)
        best = min(best, time.process_time() - began)
    return best / len(mail) * 1e6


def main() -> None:
    """Print a table, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--number", type=int, default=1000)
    parser.add_argument("--passes", type=int, default=3)
    parser.add_argument("--scorers", type=int, default=2)
    parser.add_argument("--messages", default="", help="a folder of .eml files instead of the corpora")
    parser.add_argument("--size", type=int, default=0, help="only messages up to this many bytes")
    parser.add_argument("--serve", default="", help=argparse.SUPPRESS)
    parser.add_argument("--out", default="", help="write the result as JSON")
    options = parser.parse_args()
    if options.serve:
        serve(Path(options.serve))
        return
    mail = [
        (sample.envelope(), sample.content)
        for sample in messages(options.number, options.messages)
        if not options.size or len(sample.content) <= options.size
    ]
    pools = {}
    for count in (1, options.scorers):
        pools[f"{count} scorers"] = uvloop.run(through_the_pool(mail, count, options.passes))
    alone = uvloop.run(in_this_process(mail, options.passes))
    result = {
        "machine": describe(),
        "messages": len(mail),
        "mean_size_bytes": sum(len(content) for _, content in mail) // len(mail),
        "in_process_us": round(alone, 1),
        **pools,
    }
    text = json.dumps(result, indent=1)
    print(text)
    if options.out:
        Path(options.out).write_text(text + "\n")


if __name__ == "__main__":
    main()
