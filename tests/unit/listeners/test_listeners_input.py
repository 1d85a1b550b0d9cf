"""Bytes in any pieces give the same lines, messages and chunks; only CRLF and <CRLF>.<CRLF> end them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.settings import Smtp
from gateway.listeners.content import receive
from gateway.listeners.input import BLOCK, Input
from gateway.net.dialogue import _stuffed

BITS = st.sampled_from(
    [b"\r", b"\n", b"\r\n", b".", b"..", b"\0", b" ", b"a", b"\r\n.", b"\n.\n", b"\x85", b"MAIL FROM:<a@b>"]
)
CONTENT = st.lists(BITS, max_size=30).map(b"".join)
SPLITS = st.lists(st.integers(1, 7), max_size=60)


def pieces(data: bytes, sizes: list[int]) -> Iterator[bytes]:
    position = 0
    for size in sizes:
        if position < len(data):
            yield data[position : position + size]
            position += size
    if position < len(data):
        yield data[position:]
    while True:
        yield b""


def fed(data: bytes, sizes: list[int]) -> Input:
    source = pieces(data, sizes)

    async def read(_: int) -> bytes:
        return next(source)

    return Input(read)


def reference(wire: bytes) -> tuple[bytes, bytes] | None:
    """What RFC 5321 §4.1.1.4 and §4.5.2 say, line by line: the message, and what stands behind its end."""
    lines, rest = [], wire
    while True:
        line, end, rest = rest.partition(b"\r\n")
        if not end:
            return None
        if line == b".":
            return b"".join(lines), rest
        lines.append(line.removeprefix(b".") + b"\r\n")


@given(CONTENT, SPLITS)
def test_a_message_ends_where_the_rfc_says_however_it_comes(wire: bytes, sizes: list[int]) -> None:
    async def go() -> tuple[bytes, bytes] | None:
        source = fed(wire, sizes)
        try:
            content = await source.message(1 << 20)
        except ConnectionResetError:
            return None
        assert content is not None
        rest = b""
        while await source.more():
            pass
        rest = await source.chunk(len(source))
        return content, rest

    assert asyncio.run(go()) == reference(wire)


@given(CONTENT, SPLITS)
def test_what_goes_on_has_no_bare_line_end_no_nul_and_one_end(wire: bytes, sizes: list[int]) -> None:
    """One message in, one out: also a server that takes every look-alike for an end finds none before the real one."""

    async def go() -> bytes | None:
        return await fed(_stuffed_as_it_is(wire), sizes).message(1 << 20)

    content = asyncio.run(go())
    assert content is not None
    received = receive(content, Smtp())
    out = _stuffed(received.content)
    assert b"\0" not in out
    assert out.replace(b"\r\n", b"").count(b"\r") == out.replace(b"\r\n", b"").count(b"\n") == 0
    assert (b"\r\n" + out).index(b"\r\n.\r\n") == len(out) + 2 - 5
    refusing = receive(content, Smtp(bare_line_ends="refuse", nul_bytes="refuse"))
    assert (refusing.refused is None) == (received.content == content)
    if refusing.refused is None:
        assert refusing.content == content


def _stuffed_as_it_is(content: bytes) -> bytes:
    """A client's stuffing of CRLF lines alone; its bare ones stay."""
    content = content if content.endswith(b"\r\n") else content + b"\r\n"
    return (b"\r\n" + content).replace(b"\r\n.", b"\r\n..")[2:] + b".\r\n"


@given(st.lists(st.binary(max_size=20).filter(lambda one: b"\n" not in one and b"\r" not in one), max_size=6), SPLITS)
def test_lines_in_any_pieces(lines: list[bytes], sizes: list[int]) -> None:
    async def go() -> list[bytes | None]:
        source = fed(b"".join(line + b"\r\n" for line in lines), sizes)
        return [await source.line() for _ in range(len(lines) + 1)]

    assert asyncio.run(go()) == [*lines, None]


@given(st.binary(max_size=60), st.lists(st.integers(0, 20), max_size=5), SPLITS)
def test_chunks_are_taken_by_their_size(data: bytes, chunks: list[int], sizes: list[int]) -> None:
    async def go() -> None:
        source, position = fed(data, sizes), 0
        for number, size in enumerate(chunks):
            if position + size > len(data):
                with pytest.raises(ConnectionResetError):
                    await source.chunk(size)
                return
            if number % 2:
                await source.skip(size)
            else:
                assert await source.chunk(size) == data[position : position + size]
            position += size

    asyncio.run(go())


async def test_a_line_without_an_end_is_not_kept() -> None:
    reads = 0

    async def read(size: int) -> bytes:
        nonlocal reads
        reads += 1
        return b"x" * size

    source = Input(read)
    with pytest.raises(ValueError, match="too long"):
        await source.line()
    assert reads == 2
    assert len(source) == 0


@pytest.mark.parametrize("size", [1000, 1001, 1 << 17, 1 << 18])
async def test_a_message_too_large_is_drained_around_its_end(size: int) -> None:
    """The end is found wherever blocks part it."""
    for shift in range(6):
        data = b"x" * (size + shift) + b"\r\n.\r\nNOOP\r\n"
        source = fed(data, [BLOCK] * 3)
        content = await source.message(1 << 17)
        assert content is None if size + shift + 2 > 1 << 17 else len(content or b"") == size + shift + 2
        assert await source.line() == b"NOOP"
