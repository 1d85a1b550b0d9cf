"""What the classifier costs for one message: parsed mail in, prediction out; one process.

    python -m benchmarks.classify [--number 2000] [--passes 5] [--sizes LEAST MOST] [--messages FOLDER] [--model FOLDER]
        [--out FILE]

CPU time of the process in microseconds. The first pass warms caches and is not counted; of the others the fastest
counts for each message. `predict` is what every message costs; `explain` is the same and the contributions a person
reads.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.machine import ROOT, describe, percentile
from benchmarks.mail import messages
from gateway import classify
from gateway.checks import observe
from gateway.mail import parse
from gateway.types import MailObject


def measure(work: Callable[[MailObject], object], mails: list[MailObject], passes: int) -> dict[str, float]:
    """Microseconds for one message."""
    best = [float("inf")] * len(mails)
    for turn in range(passes + 1):
        for number, mail in enumerate(mails):
            began = time.process_time_ns()
            work(mail)
            if turn:
                best[number] = min(best[number], (time.process_time_ns() - began) / 1000)
    shares = {"p50": 0.5, "p99": 0.99, "max": 1.0}
    return {"mean": round(sum(best) / len(best), 1)} | {
        name: round(percentile(best, share), 1) for name, share in shares.items()
    }


def main() -> None:
    """Print a table, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--number", type=int, default=2000)
    parser.add_argument("--passes", type=int, default=5)
    parser.add_argument("--sizes", type=int, nargs=2, default=(0, 1 << 40), help="bytes: only messages of these sizes")
    parser.add_argument("--messages", default="", help="a folder of .eml files instead of the corpora")
    parser.add_argument("--model", default=str(ROOT / "models" / "default"))
    parser.add_argument("--out", default="", help="write the result as JSON")
    options = parser.parse_args()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    model = classify.load(Path(options.model))
    loaded = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    least, most = options.sizes
    chosen = [one for one in messages(options.number, options.messages) if least <= len(one.content) <= most]
    mails = [observe(MailObject(one.envelope(), parse(one.content))) for one in chosen]
    result = {
        "machine": describe(),
        "messages": len(mails),
        "model": model.model_id,
        "model_file_kib": (Path(options.model) / "weights.npz").stat().st_size // 1024,
        "model_memory_kib": loaded,
        "us": {
            "predict": measure(model.read, mails, options.passes),
            "explain": measure(lambda mail: model.read(mail).explain(), mails, options.passes),
        },
    }
    text = json.dumps(result, indent=1)
    print(text)
    if options.out:
        Path(options.out).write_text(text + "\n")


if __name__ == "__main__":
    main()
