"""Fuzz one target with atheris for a time: python -m tests.fuzz.run TARGET SECONDS.

What was learnt is kept in var/fuzz/TARGET, what failed in tests/fuzz/crashes, where test_crashes.py reads it.
"""

from __future__ import annotations

import hashlib
import sys

import atheris

with atheris.instrument_imports(include=["gateway"]):
    from tests.fuzz.targets import CRASHES, ROOT, TARGETS


def main(name: str, seconds: str) -> None:
    """Run until the time is over, or something fails."""
    target = TARGETS[name]
    corpus = ROOT / "var" / "fuzz" / name
    corpus.mkdir(parents=True, exist_ok=True)
    for seed in target.seeds():
        (corpus / hashlib.sha1(seed).hexdigest()).write_bytes(seed)
    options = {
        "max_total_time": seconds,
        "max_len": target.max_bytes,
        "timeout": 5,  # seconds for one input
        "rss_limit_mb": 2048,
        "artifact_prefix": f"{CRASHES}/{name}-",
        "print_final_stats": 1,
    }
    atheris.Setup([sys.argv[0], *(f"-{key}={value}" for key, value in options.items()), str(corpus)], target.run)
    atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
