"""What training takes: seconds, and the memory of all its processes together, against the number of messages.

    python -m benchmarks.training [--number 25000 100000] [--body BYTES] [--jobs 2] [--messages FOLDER] [--work FOLDER]
                                  [--out FILE]

The messages are the corpora's with the words of each line and the lines of each body in another order (seeded): as many
as wanted, all different, with the same words; --body cuts each body. They are written as mboxes (9 KB a message, uncut)
below --work, and `darban train` runs on those. Memory is looked at ten times a second: PSS counts a page that processes
share once, RSS in each.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from benchmarks.machine import ROOT, describe
from benchmarks.mail import messages, training
from benchmarks.processes import cpu_s, family, memory_mib
from gateway.classify.corpus import Sample

_EVERY_S = 0.1


def varied(samples: Iterable[Sample], seed: int, body_bytes: int | None = None) -> Iterator[Sample]:
    """Without end: each once as it is, then again and again in another order of words and lines."""
    found = [replace(one, content=_cut(one.content, body_bytes)) for one in samples]
    yield from found
    draw = random.Random(seed)
    for turn in itertools.count(1):
        for one in found:
            head, _, body = one.content.partition(b"\r\n\r\n")
            lines = [b" ".join(_shuffled(line.split(b" "), draw)) for line in body.split(b"\r\n")]
            content = b"\r\n\r\n".join((head, b"\r\n".join(_shuffled(lines, draw))))
            yield Sample(one.source, f"{one.path}.{turn}", one.is_spam, content)


def _cut(content: bytes, body_bytes: int | None) -> bytes:
    head, end, body = content.partition(b"\r\n\r\n")
    return head + end + body[:body_bytes]


def _shuffled(items: list[bytes], draw: random.Random) -> list[bytes]:
    draw.shuffle(items)
    return items


def write_mboxes(samples: Iterable[Sample], folder: Path) -> None:
    """SOURCE/ham.mbox and SOURCE/spam.mbox."""
    open_files = {}
    for one in samples:
        place = folder / one.source / ("spam.mbox" if one.is_spam else "ham.mbox")
        if place not in open_files:
            place.parent.mkdir(parents=True, exist_ok=True)
            open_files[place] = place.open("wb")
        content = one.content.replace(b"\r\n", b"\n").replace(b"\nFrom ", b"\n>From ")
        open_files[place].write(b"From nobody Mon Sep 21 13:33:20 2026\n" + content + b"\n\n")
    for file in open_files.values():
        file.close()


def measure(number: int, body_bytes: int | None, jobs: int, folder: Path, given: str) -> dict[str, float | int | str]:
    """One run of `darban train`."""
    samples = training(number, given) if given else messages(20_000)
    write_mboxes(itertools.islice(varied(samples, 1, body_bytes), number), folder / "corpora")
    command = [sys.executable, "-m", "gateway", "train", "--json", "--jobs", str(jobs)]
    command += ["--corpora", str(folder / "corpora"), "--out", str(folder / "model")]
    began, peak_pss, peak_rss, features = time.monotonic(), 0.0, 0.0, 0
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    while process.poll() is None:
        sizes = []
        for pid in family(process.pid):
            with suppress(OSError, ValueError, KeyError):  # it has ended meanwhile
                sizes.append(memory_mib(pid))
        peak_pss = max(peak_pss, sum(one["pss_mib"] for one in sizes))
        peak_rss = max(peak_rss, sum(one["rss_mib"] for one in sizes))
        with suppress(OSError):
            features = max(features, sum(path.stat().st_size for path in folder.glob(".features-*/*")))
        cpu = cpu_s([process.pid])
        time.sleep(_EVERY_S)
    assert process.stdout is not None
    if process.returncode:
        raise SystemExit("training failed")
    said = json.loads(process.stdout.read())
    return {
        "messages": said["training"]["messages"],
        "body_bytes": body_bytes,
        "passes": said["training"]["passes"],
        "seconds": round(time.monotonic() - began, 1),
        "cpu_s": round(cpu, 1),
        "peak_pss_mib": round(peak_pss),
        "peak_rss_mib": round(peak_rss),
        "features_on_disk_mib": features >> 20,
        "model": said["id"],
    }


def main() -> None:
    """Print JSON, and write it where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--number", type=int, nargs="+", default=[25_000, 100_000])
    parser.add_argument("--body", type=int, default=None, metavar="BYTES", help="cut each body there")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--messages", default="", help="any folder: messages that are made up instead of the corpora's")
    parser.add_argument("--work", default=None, help="where the messages are written, instead of the temporary folder")
    parser.add_argument("--out", default="", help="write the result as JSON")
    options = parser.parse_args()
    runs = []
    for number in options.number:
        with tempfile.TemporaryDirectory(dir=options.work) as folder:
            runs.append(measure(number, options.body, options.jobs, Path(folder), options.messages))
            print(json.dumps(runs[-1]), file=sys.stderr, flush=True)
    result = {"machine": describe(), "jobs": options.jobs, "runs": runs}
    text = json.dumps(result, indent=1)
    print(text)
    if options.out:
        Path(options.out).write_text(text + "\n")


if __name__ == "__main__":
    main()
