from __future__ import annotations

import pytest

from gateway.mail.header import MAX_FIELDS, decode_base64, decode_text, decode_words, read_header, split_header


def fields_of(content: bytes) -> list[tuple[str, str]]:
    return [(field.name, field.text) for field in read_header(content)[1]]


def body_of(content: bytes) -> bytes:
    return content[split_header(content).body_offset :]


@pytest.mark.parametrize("line_end", [b"\r\n", b"\n", b"\r", b"\r\r\n"])
def test_any_line_end(line_end: bytes) -> None:
    content = b"A: 1%B: 2%\tmore%A: 3%%body%".replace(b"%", line_end)
    assert fields_of(content) == [("A", "1"), ("B", "2\tmore"), ("A", "3")]
    assert body_of(content) == b"body" + line_end


def test_mixed_line_ends_and_raw_fields_make_up_the_header() -> None:
    content = b"A: 1\nB: 2\r\n x\rC: 3\n\r\nbody"
    raw = b"".join(field.raw for field in read_header(content)[1])
    assert raw == b"A: 1\nB: 2\r\n x\rC: 3\n"
    assert body_of(content) == b"body"


@pytest.mark.parametrize(
    ("content", "fields", "body"),
    [
        (b"", [], b""),
        (b"\r\nbody", [], b"body"),
        (b"\nbody", [], b"body"),
        (b"Name : x\n\n", [("Name", "x")], b""),
        (b"Name:\n\n", [("Name", "")], b""),
        (b"A: 1", [("A", "1")], b""),
        (b" lost\nTo: 1\n\nb", [("To", "1")], b"b"),
        (b"From me@x Mon Nov 23\nA: 1\n\nb", [("A", "1")], b"b"),
        (b">From me@x Mon Nov 23\nA: 1\n\nb", [("A", "1")], b"b"),
        (b"A: 1\nHello you,\nplease read\n\nbye", [("A", "1")], b"Hello you,\nplease read\n\nbye"),
        (b"A: 1\nstray line\nTo: 2\n\nb", [("A", "1"), ("To", "2")], b"b"),
        (b"A: 1\nlook here\nhttp://example.com/\n", [("A", "1")], b"look here\nhttp://example.com/\n"),
        (b"A: 1\n \n x\n\nb", [("A", "1  x")], b"b"),
    ],
)
def test_where_the_header_ends(content: bytes, fields: list[tuple[str, str]], body: bytes) -> None:
    assert fields_of(content) == fields
    assert body_of(content) == body


def test_more_fields_than_the_limit_are_cut_and_the_body_is_found() -> None:
    content = b"A: 1\r\n" * (MAX_FIELDS + 5) + b"\r\nbody"
    header = split_header(content)
    assert header.is_cut
    assert len(header.pieces) == MAX_FIELDS
    assert content[header.end :] == b"\r\nbody"
    assert content[header.body_offset :] == b"body"


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("=?utf-8?Q?caf=C3=A9?=", "café"),
        ("=?UTF-8?B?2LPZhNin2YU=?=", "سلام"),
        ("=?utf-8?B?2LPZhNin?= =?utf-8?B?2YU=?=", "سلام"),
        ("=?utf-8?Q?=D8?= =?utf-8?Q?=B3?=", "س"),  # a character split between two words
        ("=?utf-8?Q?a?=\t =?iso-8859-1?Q?=E9?=", "aé"),
        ("x =?utf-8?Q?a?= y =?utf-8?Q?b?=", "x a y b"),
        ("pre=?utf-8?Q?a_b?=post", "prea bpost"),
        ('"=?utf-8?Q?a?="', '"a"'),
        ("=?utf-8?Q?why? now?=", "why? now"),
        ("=?utf-8?B?YQ?=", "a"),  # padding missing
        ("=?utf-8?B?YWI==?=", "ab"),
        ("=?utf-8*fa?Q?a?=", "a"),
        ("=?windows-1256?Q?=D3=E1=C7=E3?=", "سلام"),
        ("=?x-no-such?Q?a=E9?=", "aé"),
        ("=?utf-8?X?a?=", "=?utf-8?X?a?="),
        ("=?utf-8?Q?open", "=?utf-8?Q?open"),
        ("=?utf-8?Q??=", ""),
        ("=?a?q?x=?utf-8?Q?b?=", "=?a?q?xb"),
        ("no words = ? here", "no words = ? here"),
    ],
)
def test_encoded_words(written: str, shown: str) -> None:
    assert decode_words(written) == shown


@pytest.mark.parametrize(
    ("value", "charset", "text"),
    [
        (" سلام\r\n".encode(), "", "سلام"),
        (" سلام\r\n".encode(), "windows-1256", "سلام"),
        (" سلام\r\n".encode("cp1256"), "windows-1256", "سلام"),
        (" café\n".encode("latin-1"), "", "café"),
        (b" a\r\n b\r\n\tc\r\n", "", "a b\tc"),
    ],
)
def test_field_text(value: bytes, charset: str, text: str) -> None:
    assert decode_text(value, charset) == text


def test_raw_8bit_header_is_read_in_the_charset_of_the_body() -> None:
    content = b"Content-Type: text/plain; charset=windows-1256\nSubject: " + "سلام".encode("cp1256") + b"\n\n"
    assert fields_of(content)[1] == ("Subject", "سلام")


@pytest.mark.parametrize(
    ("raw", "decoded"),
    [
        (b"YWJj", b"abc"),
        (b"YW\r\nJj\r\n", b"abc"),
        (b"Y W*J-j!", b"abc"),
        (b"YWI", b"ab"),
        (b"YQ==YmM=", b"abc"),  # padding in the middle hides nothing
        (b"YWJjZ", b"abc"),
        (b"====", b""),
        (b"", b""),
    ],
)
def test_base64_gives_whatever_is_in_there(raw: bytes, decoded: bytes) -> None:
    assert decode_base64(raw) == decoded
