"""What encryption at rest costs: holding and reading back messages, plain and encrypted.

python -m benchmarks.at_rest [--number 300] [--folder FOLDER]; prints a Markdown table. The folder should be on the disk
that is asked about: every hold waits for fsync.
"""

from __future__ import annotations

import argparse
import hashlib
import secrets
import statistics
import tempfile
import time
from pathlib import Path

from gateway.stores.blobs import FileBlobs
from gateway.stores.engine import make_engine, migrate
from gateway.stores.quarantine import SqlQuarantine
from gateway.stores.vault import Key, SqlKeys
from gateway.types import HeldMessage, Summary

SIZES = (5_000, 100_000, 5_000_000)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--number", type=int, default=300)
    parser.add_argument("--folder", default=None)
    given = parser.parse_args()
    print("| size | hold, plain | hold, encrypted | read, plain | read, encrypted | cipher alone |")
    print("|---|---|---|---|---|---|")
    for size in SIZES:
        number = max(10, given.number * 5_000 // size) if size > 5_000 else given.number
        plain, locked = (measure(size, number, given.folder, is_encrypted=one) for one in (False, True))
        cells = (plain[0], locked[0], plain[1], locked[1], cipher(size))
        print(f"| {size:,} B | " + " | ".join(f"{one * 1000:.2f} ms" for one in cells) + " |", flush=True)


def measure(size: int, number: int, folder: str | None, *, is_encrypted: bool) -> tuple[float, float]:
    """Seconds of a hold and of a read, medians."""
    with tempfile.TemporaryDirectory(dir=folder) as place:
        url = f"sqlite:///{place}/darban.db"
        migrate(url)
        engine = make_engine(url)
        keys = SqlKeys(engine, lambda: [bytes(32)]) if is_encrypted else None
        store = SqlQuarantine(engine, FileBlobs(f"file://{Path(place)}/blobs"), keys)
        contents = [secrets.token_bytes(size) for _ in range(number)]
        rows = [row(one) for one in contents]
        holds = [
            timed(lambda one=one, content=content: store.hold([one], content))
            for one, content in zip(rows, contents, strict=True)
        ]
        reads = [timed(lambda one=one: store.content(one.id)) for one in rows]
        engine.dispose()
    return statistics.median(holds), statistics.median(reads)


def cipher(size: int) -> float:
    key, content = Key("k", bytes(32)), secrets.token_bytes(size)
    return statistics.median(timed(lambda: key.seal(content, "name")) for _ in range(50))


def timed(work: object) -> float:
    begin = time.perf_counter()
    work()  # type: ignore[operator]
    return time.perf_counter() - begin


def row(content: bytes) -> HeldMessage:
    digest = hashlib.sha256(content).hexdigest()
    summary = Summary(size_bytes=len(content))
    return HeldMessage(
        digest[:32],
        "Q",
        digest,
        "a@example.org",
        "you@darban.test",
        "darban.test",
        "192.0.2.1",
        "h",
        time.time(),
        summary,
        9.0,
        "score",
        "{}",
    )


if __name__ == "__main__":
    main()
