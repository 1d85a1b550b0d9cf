"""net/clamd.py: a clamd that says what none says, stalls, hangs up or is away; the real one is in e2e/test_clamav.py."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.begun import Begun
from gateway.net.clamd import Clamd, Version, _read
from gateway.types import ScannerAnswer

UNCLEAR = "it did not say what it found"
HUNG_UP = "it hung up, perhaps as the message is larger than its StreamMaxLength"


@asynccontextmanager
async def clamd(path: Path, reply: bytes | None, *, hears: bool = True) -> AsyncIterator[list[bytes]]:
    """One that answers this; None: nothing. What it heard."""
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if hears:
            heard.append(await reader.readuntil(b"\0"))
            while heard[0].startswith(b"zINSTREAM") and (size := int.from_bytes(await reader.readexactly(4), "big")):
                heard.append(await reader.readexactly(size))
        if reply is None:
            await asyncio.sleep(60)
        writer.write(reply or b"")
        await writer.drain()
        writer.close()

    server = await asyncio.start_unix_server(serve, path)
    try:
        yield heard
    finally:
        server.close()


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        (b"stream: OK\0", ScannerAnswer()),
        (b"stream: Win.Test.EICAR_HDB-1 FOUND\0", ScannerAnswer("Win.Test.EICAR_HDB-1")),
        (b"stream: a name with spaces FOUND\0", ScannerAnswer("a name with spaces")),
        (b"INSTREAM size limit exceeded. ERROR\0", ScannerAnswer(fault="larger than its StreamMaxLength")),
        (b"INSTREAM: Size limit exceeded ERROR\0", ScannerAnswer(fault="larger than its StreamMaxLength")),
        (b"UNKNOWN COMMAND\0", ScannerAnswer(fault=UNCLEAR)),
        (b"stream: OK FOUND OK\0", ScannerAnswer(fault=UNCLEAR)),
        (b"stream: FOUND\0", ScannerAnswer(fault=UNCLEAR)),
        (b"\0", ScannerAnswer(fault=UNCLEAR)),
        (b"\xff\xfe\0", ScannerAnswer(fault=UNCLEAR)),
        (b"x" * 100_000 + b"\0", ScannerAnswer(fault=UNCLEAR)),
        (b"stream: OK", ScannerAnswer(fault=HUNG_UP)),
        (b"", ScannerAnswer(fault=HUNG_UP)),
    ],
)
async def test_what_it_says(tmp_path: Path, reply: bytes, answer: ScannerAnswer) -> None:
    async with clamd(tmp_path / "s", reply) as heard:
        assert await Clamd(f"unix:{tmp_path}/s", 5.0).scan(b"a message") == answer
    assert heard == [b"zINSTREAM\0", b"a message"]


async def test_a_large_one_that_it_does_not_hear_out(tmp_path: Path) -> None:
    async with clamd(tmp_path / "s", b"", hears=False):
        assert await Clamd(f"unix:{tmp_path}/s", 5.0).scan(bytes(30_000_000)) == ScannerAnswer(fault=HUNG_UP)


@pytest.mark.parametrize("size", [0, 1, (1 << 18) - 1, 1 << 18, (1 << 18) + 1, 3_000_000])
async def test_all_of_it_is_shown(tmp_path: Path, size: int) -> None:
    content = bytes(range(251)) * (size // 251 + 1)
    async with clamd(tmp_path / "s", b"stream: OK\0") as heard:
        assert await Clamd(f"unix:{tmp_path}/s", 5.0).scan(content[:size]) == ScannerAnswer()
    assert b"".join(heard[1:]) == content[:size]


async def test_one_that_stalls_is_left_alone_for_a_while(tmp_path: Path) -> None:
    async with clamd(tmp_path / "s", None):
        scanner, began = Clamd(f"unix:{tmp_path}/s", 0.2), time.monotonic()
        assert await scanner.scan(b"x") == ScannerAnswer(fault="no answer within 0.2 s")
        waited = time.monotonic() - began
        assert await scanner.scan(b"x") == ScannerAnswer(fault="it did not answer a moment ago")
        assert waited >= 0.2 and time.monotonic() - began < waited + 0.2


@pytest.mark.parametrize("address", ["unix:/nonexistent/clamd", "127.0.0.1:1", "[::1]:1", "no.such.name.invalid:3310"])
async def test_one_that_is_away(address: str) -> None:
    assert await Clamd(address, 5.0).scan(b"x") == ScannerAnswer(fault="it cannot be reached")
    assert await Clamd(address, 5.0).version() is None


async def test_it_runs_as_a_check_does(tmp_path: Path) -> None:
    """Until its first wait in the caller's task, which a timeout of its own would end."""
    async with clamd(tmp_path / "s", None):
        begun = Begun(Clamd(f"unix:{tmp_path}/s", 0.1).scan(b"x"))
        assert begun.task is not None
        await asyncio.wait((begun.task,))
        assert begun.result().fault == "no answer within 0.1 s"


@pytest.mark.parametrize(
    ("reply", "made_at"),
    [
        (b"ClamAV 1.4.3/27500/Mon Nov 23 09:26:24 2026\0", time.mktime((2026, 11, 23, 9, 26, 24, 0, 0, -1))),
        (b"ClamAV 1.4.3\0", None),
        (b"ClamAV 1.4.3/27500/yesterday\0", None),
    ],
)
async def test_its_version(tmp_path: Path, reply: bytes, made_at: float | None) -> None:
    async with clamd(tmp_path / "s", reply):
        version = await Clamd(f"unix:{tmp_path}/s", 5.0).version()
    assert version == Version(reply[:-1].decode(), made_at)


async def test_what_is_no_clamd(tmp_path: Path) -> None:
    async with clamd(tmp_path / "s", b"220 mx.example.org ESMTP\0"):
        assert await Clamd(f"unix:{tmp_path}/s", 5.0).version() is None


@settings(max_examples=300)
@given(st.text(max_size=60))
def test_any_reply_is_read(said: str) -> None:
    answer = _read(said)
    assert bool(answer.signature) + bool(answer.fault) + (said == "stream: OK") == 1
