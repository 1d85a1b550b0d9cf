"""How the cost of a message grows: with its size, and with the number of rules.

    python -m benchmarks.growth [--sizes 1000,...] [--counts 100,...] [--shapes NAME,...] [--number 100]
                                [--messages FOLDER] [--passes 3] [--out FILE.json] [--plot FILE.png]

Sizes: a written message with text, HTML and attachments of random bytes, each size judged in a process of its own,
beside reading the same file and base64-decoding its attachments. Rules: generated ones of one shape at a time over the
messages of benchmarks.mail, beside what the pipeline costs without any. CPU is process time, the best of the passes.
"""

from __future__ import annotations

import argparse
import asyncio
import binascii
import json
import multiprocessing
import os
import random
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pybase64

from benchmarks.machine import describe
from benchmarks.mail import messages
from benchmarks.processes import memory_mib
from benchmarks.scanners import Mail
from benchmarks.scanners.darban import CACHE, envelope
from gateway import rules
from gateway.app.pipeline import load_pipeline
from gateway.config.load import load_settings
from gateway.config.settings import Rules, Settings
from gateway.scan.pipeline import Pipeline

_SIZES = (1_000, 10_000, 100_000, 1_000_000, 5_000_000, 10_000_000, 25_000_000)
_COUNTS = (100, 300, 1_000, 3_000, 5_000)
_ATTACHMENT = 5_000_000  # bytes of base64; a bigger message has several
_COMMON_SHARE = 0.3  # of the words in rules: those that stand in much mail
_LINE = 57  # bytes in a line of 76 characters


def main() -> None:
    """Print JSON, write it and a picture where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--sizes", default=",".join(map(str, _SIZES)), help="bytes of a message")
    parser.add_argument("--counts", default=",".join(map(str, _COUNTS)), help="numbers of rules")
    parser.add_argument("--shapes", default=",".join(SHAPES), help="of the rules")
    parser.add_argument("--number", type=int, default=100, help="messages for the rules")
    parser.add_argument("--messages", default="", help="a folder of .eml files instead of the corpora")
    parser.add_argument("--passes", type=int, default=3)
    parser.add_argument("--out", default="", help="write the result as JSON")
    parser.add_argument("--plot", default="", help="draw the result as PNG")
    options = parser.parse_args()
    contents = [sample.content for sample in messages(options.number, options.messages)]
    counts = [int(one) for one in options.counts.split(",")]
    result = {
        "machine": describe(),
        "sizes": by_size([int(one) for one in options.sizes.split(",")], options.passes),
        "without_rules": by_rules("phrase", [0], contents, options.passes)[0],
        "rules": {shape: by_rules(shape, counts, contents, options.passes) for shape in options.shapes.split(",")},
    }
    text = json.dumps(result, indent=1)
    print(text)
    if options.out:
        Path(options.out).write_text(text + "\n")
    if options.plot:
        from benchmarks.plots import draw_growth

        draw_growth(result, Path(options.plot))


# --- size -------------------------------------------------------------------------------------------------------------


def by_size(sizes: Sequence[int], passes: int) -> list[dict[str, Any]]:
    """CPU milliseconds of judging and of decoding, peak memory above the loaded pipeline's, for each size."""
    make_pipeline = load_pipeline(load_settings(None), CACHE, offline=True)
    with tempfile.TemporaryDirectory() as folder:
        rows = []
        for size in sizes:
            file = Path(folder) / f"{size}.eml"
            file.write_bytes(big_message(size))
            rows.append(_in_child(partial(_size_row, make_pipeline, file, passes)))
        return rows


def _size_row(make_pipeline: Callable[[], Pipeline], file: Path, passes: int) -> dict[str, Any]:
    content = file.read_bytes()
    before = memory_mib(os.getpid())["rss_mib"]
    judging, incomplete = asyncio.run(_judge(make_pipeline(), [content], passes))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    decoding = {name: _best_ms(partial(_read_and_decode, file, decode), passes) for name, decode in _DECODERS.items()}
    return {
        "bytes": len(content),
        "judging_ms": round(judging, 3),
        "decoding_ms": round(decoding["pybase64"], 3),
        "decoding_binascii_ms": round(decoding["binascii"], 3),
        "judging_by_decoding": round(judging / decoding["pybase64"], 1) if decoding["pybase64"] else None,
        "added_mib": round(peak - before, 1),
        "incomplete": incomplete,
    }


_DECODERS: dict[str, Callable[[bytes], bytes]] = {
    "pybase64": pybase64.b64decode,
    "binascii": binascii.a2b_base64,
}


def _read_and_decode(file: Path, decode: Callable[[bytes], bytes]) -> int:
    """Bytes of all attachments: what no scanner that looks into them can do without."""
    parts = file.read_bytes().split(b"base64\r\n\r\n")[1:]
    return sum(len(decode(part.partition(b"\r\n--")[0])) for part in parts)


def big_message(size: int) -> bytes:
    """About `size` bytes: some text, the same as HTML, the rest attachments; no shorter than the text needs."""
    chooser = random.Random(size)
    words = "the report of this month is attached please look at the numbers before the meeting".split()
    text = " ".join(chooser.choices(words, k=40))
    head = (
        "From: Sara <sara@example.org>\r\nTo: you@darban.test\r\nSubject: the report\r\n"
        "Message-ID: <1@example.org>\r\nDate: Mon, 2 Mar 2026 10:00:00 +0000\r\n"
        "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=border\r\n"
    )
    parts = [f"Content-Type: text/plain\r\n\r\n{text}\r\n", f"Content-Type: text/html\r\n\r\n<p>{text}</p>\r\n"]
    left = size - len(head) - sum(map(len, parts))
    while left > 0:
        parts.append(_attachment(chooser, min(left, _ATTACHMENT), len(parts)))
        left -= _ATTACHMENT
    return (head + "".join(f"\r\n--border\r\n{part}" for part in parts) + "\r\n--border--\r\n").encode()


def _attachment(chooser: random.Random, size: int, number: int) -> str:
    content = chooser.randbytes(max(1, size * _LINE // 78))
    lines = (content[at : at + _LINE] for at in range(0, len(content), _LINE))
    encoded = "".join(binascii.b2a_base64(line, newline=False).decode() + "\r\n" for line in lines)
    head = f'Content-Type: application/octet-stream\r\nContent-Disposition: attachment; filename="{number}.dat"\r\n'
    return f"{head}Content-Transfer-Encoding: base64\r\n\r\n{encoded}"


# --- rules ------------------------------------------------------------------------------------------------------------


def by_rules(shape: str, counts: Sequence[int], contents: Sequence[bytes], passes: int) -> list[dict[str, Any]]:
    """CPU milliseconds a message for each number of rules; how long they took to compile and to load again."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = []
        for count in counts:
            file = folder / f"{shape}-{count}.cf"
            file.write_text(generated(shape, count))
            rows.append(_in_child(partial(_rules_row, file, folder / "cache", contents, passes)))
        return rows


def _rules_row(file: Path, cache: Path, contents: Sequence[bytes], passes: int) -> dict[str, Any]:
    began = time.process_time()
    ruleset = rules.load([file], cache)
    compiled = time.process_time() - began
    began = time.perf_counter()
    make_pipeline = load_pipeline(Settings(rules=Rules(paths=(str(file),))), cache, offline=True)
    loaded = time.perf_counter() - began
    judging, _ = asyncio.run(_judge(make_pipeline(), contents, passes))
    return {
        "rules": len(ruleset.files.rules),
        "cpu_ms": round(judging / len(contents), 3),
        "compile_cpu_s": round(compiled, 2),
        "load_s": round(loaded, 2),
        "problems": len(ruleset.files.problems),
    }


def _phrase(word: Callable[[], str], name: str) -> str:
    return rf"body {name} /\b{word()} {word()}\b/i"


def _alternatives(word: Callable[[], str], name: str) -> str:
    return rf"body {name} /\b(?:{word()}|{word()}|{word()})\s{{1,3}}\d{{1,6}}\s?(?:{word()}|{word()})/i"


def _gap(word: Callable[[], str], name: str) -> str:
    return rf"body {name} /\b{word()}\b.{{0,40}}\b{word()}\b/i"


def _look_around(word: Callable[[], str], name: str) -> str:
    return rf"body {name} /(?<!{word()} ){word()}\b(?! {word()})/i"


def _header(word: Callable[[], str], name: str) -> str:
    return rf"header {name} Subject =~ /\b{word()} {word()}\b/i"


def _uri(word: Callable[[], str], name: str) -> str:
    return rf"uri {name} m{{^https?://[^/]*{word()}\.[a-z]{{2,4}}/{word()}}}i"


def _meta(word: Callable[[], str], name: str) -> str:
    return f"body __{name} /{word()} {word()}/i\nmeta {name} (__{name} && !CLASSIFIER) || (__{name} + DATE_MISSING > 1)"


SHAPES: dict[str, Callable[[Callable[[], str], str], str]] = {
    "phrase": _phrase,
    "alternatives": _alternatives,
    "gap": _gap,
    "look-around": _look_around,
    "header": _header,
    "uri": _uri,
    "meta": _meta,
}
_COMMON = "the your please free click account money offer now time list mail name send order price today people".split()
_SYLLABLES = "ba co di fu ga he ji ko la me ni po qua ri so ta ul ve wi xo ya ze ing tion er".split()


def generated(shape: str, count: int) -> str:
    """A rule file with this many rules of one shape (meta: each with its sub-rule), the same each time."""
    chooser = random.Random(shape)

    def word() -> str:
        if chooser.random() < _COMMON_SHARE:
            return chooser.choice(_COMMON)
        return "".join(chooser.choices(_SYLLABLES, k=chooser.randint(2, 4)))

    lines = [SHAPES[shape](word, f"GENERATED_{number}") for number in range(count)]
    return "\n".join([*lines, "score CLASSIFIER 6.0", ""])


# --- both -------------------------------------------------------------------------------------------------------------


async def _judge(pipeline: Pipeline, contents: Sequence[bytes], passes: int) -> tuple[float, list[str]]:
    """(CPU milliseconds of the best pass, what the last message's verdict left out). One pass more warms up."""
    best, incomplete = float("inf"), ()
    for _ in range(passes + 1):
        began = time.process_time()
        for content in contents:
            incomplete = (await pipeline.score(_ENVELOPE, content)).incomplete
        best = min(best, (time.process_time() - began) * 1000)
    return best, [one for one in incomplete if not one.startswith("dns")]


_ENVELOPE = envelope(Mail(0, b"", "203.0.113.7", "mail.example.org", "sara@example.org", False, Path()))


def _best_ms(work: Callable[[], object], passes: int) -> float:
    best = float("inf")
    for _ in range(passes):
        began = time.process_time()
        work()
        best = min(best, time.process_time() - began)
    return best * 1000


def _in_child(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The work's result from a forked process: the memory of one row is not the next one's."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=lambda: theirs.send(work()))
    child.start()
    theirs.close()
    try:
        row: dict[str, Any] = ours.recv()
    except EOFError:
        raise SystemExit("a measurement died; its traceback is above") from None
    child.join()
    return row


if __name__ == "__main__":
    main()
