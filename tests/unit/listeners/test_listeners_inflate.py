"""Compressed bodies: however they are cut, the same comes out, and never much more than was allowed."""

from __future__ import annotations

import gzip
import random
import zlib
from collections.abc import Sequence

import pytest
import zstandard

from gateway.listeners.inflate import make_inflater

LIMIT = 100_000
TEXT = b"".join(b"%d " % number for number in range(9000))
CODED = [
    ("gzip", gzip.compress(TEXT, mtime=0)),
    ("deflate", zlib.compress(TEXT)),
    ("zlib", zlib.compress(TEXT)),
    ("zstd", zstandard.ZstdCompressor(write_checksum=True).compress(TEXT)),
]


def inflated(coding: str, data: bytes, sizes: Sequence[int] = ()) -> tuple[bytes, bool] | str:
    made = make_inflater(coding, LIMIT)
    assert made is not None
    found, place = b"", 0
    try:
        for size in (*sizes, len(data)):
            found += b"".join(made.feed(data[place : place + size]))
            place += size
    except ValueError:
        return "broken"
    assert made.size == len(found)
    return found, made.is_whole


@pytest.mark.parametrize(("coding", "data"), CODED)
def test_any_cut_is_the_same(coding: str, data: bytes) -> None:
    chooser = random.Random(7)
    assert inflated(coding, data) == (TEXT, True)
    assert inflated(coding, data, [1] * len(data)) == (TEXT, True)
    for wrong in (data[:-3], data + b"x", data * 2, b"no " + data, data[:50] + b"\0\0\0\0" + data[54:]):
        whole = inflated(coding, wrong)
        assert whole == "broken" or not whole[1]
        for _ in range(5):
            cut = inflated(coding, wrong, [chooser.randint(0, 3000) for _ in range(20)])
            assert (cut == "broken") == (whole == "broken")


@pytest.mark.parametrize(("coding", "pack"), [("gzip", gzip.compress), ("zlib", zlib.compress)])
def test_a_bomb_stops_at_the_limit(coding: str, pack: object) -> None:
    found = inflated(coding, pack(b"x" * 50_000_000))  # type: ignore[operator]
    assert found == (b"x" * (LIMIT + 1), False)


def test_a_bomb_of_zstd_stops_after_a_step() -> None:
    found = inflated("zstd", zstandard.compress(b"x" * 500_000_000))
    assert isinstance(found, tuple)
    assert LIMIT < len(found[0]) <= 32 << 20
    assert not found[1]


def test_an_unknown_coding() -> None:
    assert make_inflater("br", LIMIT) is None
