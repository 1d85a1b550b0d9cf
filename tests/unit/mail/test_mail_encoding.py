from __future__ import annotations

import binascii

import pytest

from gateway.mail.encoding import decode_bytes, find_enclosures

UU = b"begin 644 cat.txt\n" + binascii.b2a_uu(b"hello world") + b"`\nend\n"


@pytest.mark.parametrize(
    ("raw", "encoding", "decoded"),
    [
        (b"a=3Db", "quoted-printable", b"a=b"),
        (b"a=3db=\r\nc", "quoted-printable", b"a=bc"),
        (b"a= \t\nb", "quoted-printable", b"ab"),
        (b"a \t\r\nb \nc\t", "quoted-printable", b"a\r\nb\nc"),  # blanks that were added on the way
        (b"a =\r\nb=20\r\nc =", "quoted-printable", b"a b \r\nc "),
        (b"a=\rb\nc", "quoted-printable", b"ab\nc"),  # a bare CR swallows nothing
        (b"a==\nb", "quoted-printable", b"a=b"),
        (b"a=ZZ=", "quoted-printable", b"a=ZZ"),
        (b"none", "quoted-printable", b"none"),
        (b"YWJj\r\n", "base64", b"abc"),
        (b"raw", "8bit", b"raw"),
        (b"raw", "no-such", b"raw"),
        (UU, "x-uuencode", b"hello world"),
        (b"junk\r\n" + UU.replace(b"\n", b"\r\n"), "uuencode", b"hello world"),
        (b"begin 644 x\n\xff\xff\nend", "x-uue", b""),
    ],
)
def test_decoding(raw: bytes, encoding: str, decoded: bytes) -> None:
    assert decode_bytes(raw, encoding) == decoded


def test_uuencoded_files_in_text() -> None:
    text = b"see\n" + UU + b"and\n" + UU.replace(b"cat", b"dog") + b"bye"
    found = list(find_enclosures(text))
    assert [one.name for one in found] == [b"cat.txt", b"dog.txt"]
    assert decode_bytes(text[found[1].start : found[1].end], "uuencode") == b"hello world"


@pytest.mark.parametrize(
    "text", [b"begin 100 days of fun\nwith you\nend", b"we begin 644 x", UU.replace(b"end", b"fin"), b"begin 644 x\n"]
)
def test_what_is_no_uuencoded_file(text: bytes) -> None:
    assert list(find_enclosures(text)) == []
