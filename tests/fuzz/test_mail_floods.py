"""Invariant: twice the flood costs about twice the time and memory, and what is cut short stands in the defects."""

from __future__ import annotations

import base64
import gc
import time
import tracemalloc
from collections.abc import Callable

import pytest

from gateway.mail import parse
from gateway.mail.encoding import decode_bytes

KB = 1 << 10
HTML = b"Content-Type: text/html; charset=utf-8\n\n"
TEXT = b"Content-Type: text/plain; charset=utf-8\n\n"
QP = b"Content-Transfer-Encoding: quoted-printable\n"
BASE64 = b"Content-Transfer-Encoding: base64\n"
MIXED = b"Content-Type: multipart/mixed; boundary=b\n\n"


def nested(number: int) -> bytes:
    return (
        b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (i, i) for i in range(number)) + b"\ntext"
    )


def nested_messages(number: int) -> bytes:
    content = b"Subject: x\n\nbody"
    for _ in range(number):
        content = b"Content-Type: message/rfc822\n" + BASE64 + b"\n" + base64.encodebytes(content)
    return content


def counted(pattern: bytes, number: int) -> bytes:
    return b"".join(pattern % index for index in range(number))


# name -> (the flood of this size, a size that takes some ten milliseconds)
FLOODS: dict[str, tuple[Callable[[int], bytes], int]] = {
    "fields": (lambda n: b"X-A: b\n" * n + b"\n", 4000),
    "fields, encoded": (lambda n: b"X-A: =?utf-8?q?=41?= =?utf-8?b?QQ==?=\n" * n + b"\n", 1500),
    "fields, 8-bit": (lambda n: b"X-A: \xe9\xe8\n" * n + b"\n", 3000),
    "folded lines": (lambda n: b"Subject: a" + b"\n " * n + b"\n\n", 200 * KB),
    "a line in the header": (lambda n: b"Subject: " + b"a" * n, 4096 * KB),
    "a line without a colon": (lambda n: b"a" * n, 2048 * KB),
    "a line of text": (lambda n: TEXT + b"a" * n, 1024 * KB),
    "a line of HTML": (lambda n: HTML + b"a" * n, 800 * KB),
    "a line of base64": (lambda n: BASE64 + b"\n" + b"QUFB" * (n // 4), 1024 * KB),
    "parts": (lambda n: MIXED + b"--b\n\nx\n" * n, 400),
    "nesting": (nested, 45),
    "nested messages in base64": (nested_messages, 10),
    "entities": (lambda n: HTML + b"&amp;" * n, 150 * KB),
    "entities without end": (lambda n: HTML + b"&" * n, 500 * KB),
    "elements": (lambda n: HTML + b"<div>" * n, 20_000),
    "elements that close others": (lambda n: HTML + b"<p><span>" * n, 8000),
    "end tags of nothing": (lambda n: HTML + b"<div>" * 250 + b"</b>" * n, 20_000),
    "attributes": (lambda n: HTML + b"<a " + counted(b"a%d=1 ", n) + b">", 40_000),
    "the same attribute": (lambda n: HTML + b"<a " + b"a=1 " * n + b">", 200_000),
    "styles": (lambda n: HTML + counted(b"<p style='color:#%06x;display:none'>x", n), 2000),
    "links in HTML": (lambda n: HTML + b"<a href=http://a.b/>x</a>" * n, 5000),
    "links in text": (lambda n: TEXT + b"http://a.b/ " * n, 8000),
    "links that begin": (lambda n: TEXT + b"http://[::" * n, 20_000),
    "brackets behind a link": (lambda n: TEXT + b"http://a.b/" + b")" * n, 1000 * KB),
    "encoded-words": (lambda n: b"Subject: " + b"=?utf-8?q?=41?= " * n + b"\n\n", 1500),
    "encoded-words that begin": (lambda n: b"Subject: " + b"=?utf-8?q?a" * n + b"\n\n", 2500),
    "quotes": (lambda n: b"From: " + b'"' * n + b"\n\n", 25 * KB),
    "backslashes": (lambda n: b'From: "' + b"\\" * n + b"\n\n", 30 * KB),
    "parentheses": (lambda n: b"From: " + b"(" * n + b"\n\n", 30 * KB),
    "spaces in an address": (lambda n: b"From: a" + b" " * n + b"@b\n\n", 30 * KB),
    "mailboxes": (lambda n: b"To: " + b'"x,y"<a@b>,' * n + b"\n\n", 450),
    "parameters": (lambda n: b"Content-Type: text/plain" + b";a=b" * n + b"\n\n", 7000),
    "parameters in parts": (lambda n: MIXED + (b"--b\nContent-Type: text/plain" + b";a=b" * 9000 + b"\n\nx\n") * n, 10),
    "continued parameters": (lambda n: b"Content-Type: a/b" + counted(b";name*%d=a", n) + b"\n\n", 3000),
    "soft line breaks": (lambda n: QP + b"\n" + b"=\n" * n, 500 * KB),
    "odd line breaks": (lambda n: QP + b"\n" + b"= \r" * n, 100 * KB),
    "padding": (lambda n: BASE64 + b"\n" + b"QQ==" * n, 250 * KB),
    "lookalikes of a boundary": (lambda n: MIXED + b"--bx\n" * n, 40_000),
    "uuencoded files": (lambda n: TEXT + b"begin 644 a\n#8V%T\n`\nend\n" * n, 400),
    "uuencoded beginnings": (lambda n: TEXT + b"begin 644 a\n" * n, 60_000),
    "unknown charsets": (lambda n: MIXED + (b"--b\nContent-Type: text/plain\n\n" + b"\xe9 abc \xd1" * 400 + b"\n") * n, 40),
    "utf-7": (lambda n: TEXT.replace(b"utf-8", b"utf-7") + b"+AGE-" * n, 300_000),
}  # fmt: skip


def seconds(content: bytes) -> float:
    started = time.process_time()
    parse(content)
    return time.process_time() - started


@pytest.mark.parametrize("name", FLOODS)
def test_twice_the_flood_takes_twice_the_time(name: str) -> None:
    make, number = FLOODS[name]
    one, two = make(number), make(2 * number)
    pairs: list[tuple[float, float]] = []
    while len(pairs) < 8:  # another load on the machine makes some of them slow, never all
        pairs.append((seconds(one), seconds(two)))
        least, twice = min(pair[0] for pair in pairs), min(pair[1] for pair in pairs)
        if len(pairs) > 1 and twice < min(4 * least + 0.02, 1.0):
            return
    raise AssertionError(f"{least:.3f} s, and {twice:.3f} s for twice as much")


@pytest.mark.parametrize("name", FLOODS)
def test_memory_is_a_small_multiple(name: str) -> None:
    """Six times the message and 25 MB at most, most of it for as long as the HTML tokenizer or a word list lives."""
    make, number = FLOODS[name]
    content = make(number)
    gc.collect()
    tracemalloc.start()
    try:
        parse(content)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 6 * len(content) + 25_000_000


CUTS: dict[str, bytes] = {
    "HEADER_TOO_MANY_FIELDS": b"X-A: b\n" * 11_000 + b"\n",
    "HEADER_FIELD_TOO_LONG": b"Subject: " + b"a" * 70_000 + b"\n\n",
    "HEADER_TOO_LONG": (b"Subject: " + b"=?utf-8?q?=41?= " * 4000 + b"\n") * 20 + b"\n",
    "HEADER_TOO_MANY_ADDRESSES": b"To: " + b"a@b.example," * 1001 + b"\n\n",
    "MIME_TOO_MANY_PARTS": MIXED + b"--b\n\nx\n" * 1100,
    "MIME_TOO_DEEP": nested(1000),
    "MIME_TEXT_TOO_LONG": TEXT + b"a" * (5 << 20),
    "MIME_TOO_MANY_BOUNDARIES": MIXED + b"--bx\n" * 310_000,
    "MIME_TOO_MANY_CHARSETS": MIXED + (b"--b\nContent-Type: text/plain\n\n" + b"\xe9 abc \xd1" * 20 + b"\n") * 110,
    "HTML_TOO_LONG": HTML + b"a" * (3 << 20),
    "HTML_TOO_DEEP": HTML + b"<div>" * 300,
    "HTML_TOO_MANY_LINKS": HTML + counted(b"<a href=http://a.b/%d>x</a>", 2100),
    "HTML_ATTRIBUTE_TOO_LONG": HTML + b"<a href='http://a.b/" + b"a" * 5000 + b"'>x</a>",
    "MESSAGE_TOO_MANY_LINKS": TEXT + counted(b"http://a.b/%d ", 2100),
}  # fmt: skip


@pytest.mark.parametrize("defect", CUTS)
def test_what_is_cut_stands_in_the_defects(defect: str) -> None:
    assert defect in parse(CUTS[defect]).defects


@pytest.mark.parametrize(
    "content",
    [
        HTML + b"<p style='" + b" " * 5000 + b"display:none'>x",
        HTML + b"<noscript>" + b"<b>" * 310_000 + b"</noscript>",
        MIXED.replace(b"boundary=b", b"boundary=b0") + b"--b0\n" + nested(40) + b"--b0x\n" * 310_000,
        TEXT + b"http://a.b/ " * 25_000,
    ],
    ids=["a long style", "a long noscript", "lookalikes at any depth", "one link very often"],
)
def test_other_ways_to_be_cut(content: bytes) -> None:
    assert any("_TOO_" in defect for defect in parse(content).defects)


def test_a_picture_in_the_url_is_not_too_long() -> None:
    content = HTML + b"<img src='data:image/png;base64," + b"QUFB" * 5000 + b"'>"
    assert parse(content).defects == ()


@pytest.mark.parametrize("unit", [b"=\r", b"= \r", b"=\n", b"=", b"= "])
def test_quoted_printable_without_end(unit: bytes) -> None:
    started = time.process_time()
    decode_bytes(unit * (4 << 20), "quoted-printable")
    assert time.process_time() - started < 1.0


def test_endless_padding_is_one_run() -> None:
    assert len(decode_bytes(b"QQ==" * 4000, "base64")) == 4000
    started = time.process_time()
    assert decode_bytes(b"QQ==" * (2 << 20), "base64")
    assert time.process_time() - started < 1.0
