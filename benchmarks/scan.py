"""What one message costs from bytes to verdict: one process, no network.

    python -m benchmarks.scan [--number 2000] [--passes 3] [--messages FOLDER] [--out FILE]

Messages per second are wall time of one process, CPU is process time; the stages are Verdict.stages (wall, in process).
The first pass warms caches and is not counted; of the others the fastest counts for each message.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

from benchmarks.machine import ROOT, describe, percentile
from benchmarks.mail import messages
from gateway.app.pipeline import load_pipeline
from gateway.classify.corpus import Sample
from gateway.config.load import load_settings
from gateway.scan.pipeline import Pipeline
from gateway.types import Recipient


async def measure(pipeline: Pipeline, chosen: list[Sample], passes: int) -> dict[str, object]:
    """Figures in milliseconds and microseconds, as the names say."""
    best = [float("inf")] * len(chosen)
    stages: dict[str, float] = defaultdict(float)
    wall = cpu = float("inf")
    for turn in range(passes + 1):
        began, began_cpu = time.perf_counter(), time.process_time()
        for number, sample in enumerate(chosen):
            envelope = replace(sample.envelope(), recipients=(Recipient("you@darban.test", "darban.test"),))
            start = time.perf_counter()
            verdict = await pipeline.score(envelope, sample.content)
            if turn:
                best[number] = min(best[number], time.perf_counter() - start)
                for stage, seconds in verdict.stages:
                    stages[stage] += seconds / passes
        if turn:
            wall, cpu = min(wall, time.perf_counter() - began), min(cpu, time.process_time() - began_cpu)
    by_source: dict[str, list[float]] = defaultdict(list)
    for sample, seconds in zip(chosen, best, strict=True):
        by_source[sample.source].append(seconds)
    total = sum(stages.values())
    return {
        "messages": len(chosen),
        "mean_size_bytes": sum(len(sample.content) for sample in chosen) // len(chosen),
        "messages_per_s": round(len(chosen) / wall, 1),
        "cpu_ms_per_message": round(cpu / len(chosen) * 1000, 3),
        "ms": {
            name: round(percentile(best, share) * 1000, 3) for name, share in (("p50", 0.5), ("p99", 0.99), ("max", 1))
        },
        "stages": {
            stage: {"us_per_message": round(seconds / len(chosen) * 1e6, 1), "share": round(seconds / total, 3)}
            for stage, seconds in sorted(stages.items(), key=lambda one: -one[1])
        },
        "sources": {
            name: {"messages": len(times), "mean_ms": round(sum(times) / len(times) * 1000, 3)}
            for name, times in sorted(by_source.items())
        },
        "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def main() -> None:
    """Print a table, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--number", type=int, default=2000)
    parser.add_argument("--passes", type=int, default=3)
    parser.add_argument("--messages", default="", help="a folder of .eml files instead of the corpora")
    parser.add_argument("--out", default="", help="write the result as JSON")
    options = parser.parse_args()
    pipeline = load_pipeline(load_settings(None), ROOT / "var" / "cache", offline=True)()
    result = {"machine": describe()} | asyncio.run(
        measure(pipeline, messages(options.number, options.messages), options.passes)
    )
    text = json.dumps(result, indent=1)
    print(text)
    if options.out:
        Path(options.out).write_text(text + "\n")


if __name__ == "__main__":
    main()
