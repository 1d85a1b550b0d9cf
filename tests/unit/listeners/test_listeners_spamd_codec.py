"""The spamd protocol as bytes: requests of its clients, whole and in pieces, and answers as they have to look."""

from __future__ import annotations

import re
import zlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.listeners import spamd_codec as codec
from gateway.listeners.spamd_codec import ProtocolError, Reader, Request

LIMIT = 1000
MESSAGE = b"Subject: hello\r\n\r\nHello\r\n"
SPAMC = b"PROCESS SPAMC/1.5\r\nUser: reza\r\nContent-length: 25\r\n\r\n" + MESSAGE
ZIPPED = zlib.compress(MESSAGE)


def read(data: bytes, sizes: list[int] | None = None, limit: int = LIMIT) -> Request:
    """The request, fed in pieces; the client stops sending where it is not whole yet."""
    reader, place, content = Reader(limit), 0, b""
    for size in [*(sizes or []), len(data) or 1]:
        content += b"".join(reader.feed(data[place : place + size]))
        if reader.is_whole:
            return replace(reader.request, content=content)
        place += size
    reader.finish()
    return replace(reader.request, content=content)


def request(command: str, *fields: tuple[str, str], content: bytes = b"", **more: object) -> Request:
    return Request(command, fields=fields, content=content, **more)


REQUESTS = [
    (SPAMC, request("PROCESS", ("user", "reza"), ("content-length", "25"), content=MESSAGE)),
    (b"CHECK SPAMC/1.2\r\n\r\n" + MESSAGE, request("CHECK", version=(1, 2), content=MESSAGE)),
    (b"CHECK SPAMC/1.5\n\n" + MESSAGE, request("CHECK", content=MESSAGE)),
    (b"check SPAMC/1.5\r\n\r\n", request("CHECK")),
    (b"PING SPAMC/1.5\r\n\r\n", request("PING")),
    (b"PING SPAMC/1.2\r\n", request("PING", version=(1, 2))),
    (b"PING SPAMC/1.5\r\n", request("PING")),
    (b"PING SPAMC/1.5", request("PING")),
    (b"SKIP SPAMC/1.5\r\nUser: x\r\n\r\n", request("SKIP", ("user", "x"))),
    (
        f"SYMBOLS SPAMC/1.5\r\nCompress: zlib\r\nContent-length: {len(ZIPPED)}\r\n\r\n".encode() + ZIPPED,
        request("SYMBOLS", ("compress", "zlib"), ("content-length", str(len(ZIPPED))), content=MESSAGE),
    ),
    (
        b"REPORT SPAMC/1.5\r\nCompress: zlib\r\n\r\n" + ZIPPED,
        request("REPORT", ("compress", "zlib"), content=MESSAGE),
    ),
    (
        b"TELL SPAMC/1.5\r\nMessage-class: spam\r\nSet: local\r\nX-Unknown: a: b\r\nContent-length: 25\r\n\r\n" + MESSAGE,
        request(
            "TELL",
            ("message-class", "spam"),
            ("set", "local"),
            ("x-unknown", "a: b"),
            ("content-length", "25"),
            content=MESSAGE,
        ),
    ),
    (
        b"CHECK RSPAMC/1.3\r\nContent-length: 25\r\nFrom: <a@b.example>\r\nRcpt: <x@y.example>\r\nRcpt: <z@y.example>\r\n\r\n" + MESSAGE,
        request(
            "CHECK",
            ("content-length", "25"),
            ("from", "<a@b.example>"),
            ("rcpt", "<x@y.example>"),
            ("rcpt", "<z@y.example>"),
            content=MESSAGE,
            is_rspamc=True,
            version=(1, 3),
        ),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("data", "wanted"), REQUESTS)
def test_requests(data: bytes, wanted: Request) -> None:
    assert read(data) == wanted
    assert read(data, [1] * len(data)) == wanted


@given(st.sampled_from(REQUESTS), st.lists(st.integers(0, 40), max_size=12))
def test_any_split_gives_the_same_request(pair: tuple[bytes, Request], sizes: list[int]) -> None:
    assert read(pair[0], sizes) == pair[1]


def test_what_follows_the_content_is_not_part_of_it() -> None:
    assert read(SPAMC + b"more").content == MESSAGE


@pytest.mark.parametrize(
    ("data", "code", "words"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", codec.EX_PROTOCOL, "no command"),
        (b"STEAL SPAMC/1.5\r\n\r\n", codec.EX_PROTOCOL, "unknown command STEAL"),
        (b"", codec.EX_PROTOCOL, "no command"),
        (b"CHECK", codec.EX_PROTOCOL, "no command"),
        (b"CHECK SPAMC/1.5\r\nUser: x\r\n", codec.EX_PROTOCOL, "EOF during headers"),
        (b"CHECK SPAMC/1.5\r\nUser\r\n\r\n", codec.EX_PROTOCOL, "Name: value"),
        (b"CHECK SPAMC/1.5\r\nContent-length: many\r\n\r\n", codec.EX_PROTOCOL, "non-numeric"),
        (b"CHECK SPAMC/1.5\r\nContent-length: -1\r\n\r\n", codec.EX_PROTOCOL, "non-numeric"),
        ("CHECK SPAMC/1.5\r\nContent-length: ۱۲\r\n\r\n".encode(), codec.EX_PROTOCOL, "non-numeric"),
        (b"CHECK SPAMC/1.5\r\nContent-length: 30\r\n\r\n" + MESSAGE, codec.EX_PROTOCOL, "mismatch"),
        (b"CHECK SPAMC/1.5\r\nContent-length: 1001\r\n\r\n", codec.EX_DATAERR, "larger than 1000"),
        (b"CHECK SPAMC/1.5\r\n\r\n" + b"x" * 1001, codec.EX_DATAERR, "larger than 1000"),
        (b"CHECK SPAMC/1.5\r\nCompress: lzma\r\n\r\n", codec.EX_PROTOCOL, "compression"),
        (b"CHECK SPAMC/1.5\r\nCompress: zlib\r\n\r\nno zlib", codec.EX_DATAERR, "not a zlib stream"),
        (b"CHECK SPAMC/1.5\r\nCompress: zlib\r\n\r\n" + ZIPPED[:-5], codec.EX_DATAERR, "end of zlib"),
        (b"CHECK SPAMC/1.5\r\nCompress: zlib\r\n\r\n" + ZIPPED * 2, codec.EX_DATAERR, "end of zlib"),
        (b"CHECK SPAMC/1.5\r\nCompress: zlib\r\n\r\n" + zlib.compress(b"x" * 2000), codec.EX_DATAERR, "larger than"),
        (b"CHECK SPAMC/1.5\r\n" + b"X: y\r\n" * 300 + b"\r\n", codec.EX_PROTOCOL, "too many headers"),
        (b"CHECK SPAMC/1.5\r\nX: " + b"y" * 70_000, codec.EX_PROTOCOL, "too many headers"),
        (b"C" * 9000, codec.EX_PROTOCOL, "line too long"),
    ],
)
def test_what_is_no_request(data: bytes, code: int, words: str) -> None:
    for sizes in ([], [7] * (len(data) // 7)):
        with pytest.raises(ProtocolError, match=re.escape(words)) as caught:
            read(data, sizes)
        assert caught.value.code == code


@given(st.binary(max_size=300), st.lists(st.integers(1, 30), max_size=10))
def test_any_bytes_are_a_request_or_a_protocol_error(data: bytes, sizes: list[int]) -> None:
    try:
        assert len(read(data, sizes).content) <= LIMIT
    except ProtocolError as error:
        assert codec.failure(error.code, error.text).isascii()


SPAM, HAM = (7.26, 5.0), (1.0, 5.0)


@pytest.mark.parametrize(
    ("command", "version", "score", "body", "wanted"),
    [
        ("CHECK", (1, 5), SPAM, b"", b"SPAMD/1.1 0 EX_OK\r\nSpam: True ; 7.3 / 5.0\r\n\r\n"),
        ("CHECK", (1, 2), HAM, b"", b"SPAMD/1.1 0 EX_OK\r\nSpam: False ; 1.0 / 5.0\r\n\r\n"),
        ("SYMBOLS", (1, 5), SPAM, b"A,B", b"SPAMD/1.1 0 EX_OK\r\nContent-length: 3\r\nSpam: True ; 7.3 / 5.0\r\n\r\nA,B"),
        # what Exim looks for
        ("REPORT", (1, 2), SPAM, b"R\r\n", b"SPAMD/1.1 0 EX_OK\r\nSpam: True ; 7.3 / 5.0\r\n\r\nR\r\n"),
        ("PROCESS", (1, 5), HAM, b"M", b"SPAMD/1.1 0 EX_OK\r\nContent-length: 1\r\nSpam: False ; 1.0 / 5.0\r\n\r\nM"),
        ("PROCESS", (1, 2), HAM, b"M", b"SPAMD/1.1 0 EX_OK\r\nContent-length: 1\r\n\r\nM"),
        ("PROCESS", (1, 0), HAM, b"M", b"SPAMD/1.0 0 EX_OK\r\nM"),
    ],
)  # fmt: skip
def test_answers(
    command: str, version: tuple[int, int], score: tuple[float, float], body: bytes, wanted: bytes
) -> None:
    assert codec.answer(Request(command, version=version), *score, body) == wanted


def test_other_answers() -> None:
    assert codec.pong(Request("PING")) == b"SPAMD/1.5 0 PONG\r\n"
    assert codec.pong(Request("PING", is_rspamc=True)).startswith(b"RSPAMD/1.3 0 ")
    assert codec.failure(75, "EX_TEMPFAIL\r\nnot a line") == b"SPAMD/1.0 75 EX_TEMPFAIL?not a line\r\n"
    assert codec.told({"DidSet": "local"}) == b"SPAMD/1.1 0 EX_OK\r\nDidSet: local\r\n\r\n\r\n"


@given(st.floats(-100, 100), st.floats(-10, 30))
def test_the_score_that_is_shown_is_on_the_right_side(score: float, required: float) -> None:
    shown = float(codec.shown_score(score, required)), float(codec.shown_number(required))
    assert (shown[0] >= shown[1]) == (score >= required)
    assert float(f"{shown[0]:.1f}") == pytest.approx(score, abs=0.11)


@pytest.mark.parametrize(("score", "shown"), [(4.96, "4.96"), (5.0, "5.0"), (4.94, "4.9"), (23.456, "23.5")])
def test_one_decimal_where_it_tells_the_truth(score: float, shown: str) -> None:
    assert codec.shown_score(score, 5.0) == shown


@given(st.sampled_from([wanted for _, wanted in REQUESTS]))
def test_a_request_that_is_forwarded_arrives(one: Request) -> None:
    arrived = read(codec.pack_request(one))
    kept = [(name, value) for name, value in one.fields if name not in ("compress", "content-length")]
    assert (arrived.command, arrived.content, arrived.is_rspamc) == (one.command, one.content, one.is_rspamc)
    assert [pair for pair in arrived.fields if pair[0] != "content-length"] == (kept if one.command != "PING" else [])
