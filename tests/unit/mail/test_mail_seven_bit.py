"""Eight bits made seven: what bodies and fields say stays the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mail import decode_body, parse
from gateway.mail.edit import to_crlf
from gateway.mail.header import split_header
from gateway.mail.seven_bit import encode_bodies, encode_header

SALAM = "سلام، دنیا"


def message(head: str, body: str | bytes) -> bytes:
    """CRLF line ends."""
    return to_crlf(head.encode()) + b"\r\n" + (to_crlf(body.encode()) if isinstance(body, str) else body)


MIXED = "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\nContent-Transfer-Encoding: 8bit\n"
TEXT = "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n"


@pytest.mark.parametrize(
    ("head", "body", "encodings"),
    [
        ("MIME-Version: 1.0\n" + TEXT, SALAM + "\n", ["quoted-printable"]),
        ("MIME-Version: 1.0\n" + TEXT, SALAM + " \n.\n\n=3D" + "ا" * 300 + "\t\nend", ["quoted-printable"]),
        ("Subject: no MIME at all\n", SALAM + "\n", ["quoted-printable"]),
        ("MIME-Version: 1.0\nContent-Type: image/png\n", b"\x89PNG\r\n\0\xff" * 60, ["base64"]),
        (MIXED, f"--b\n{TEXT}\n{SALAM}\n--b\n\nplain\n--b--\n", ["7bit", "quoted-printable", "7bit"]),
        (MIXED, f"--b\nContent-Type: text/html\n\n<p>{SALAM}\n--b--", ["7bit", "quoted-printable"]),
        (
            MIXED,
            f"--b\nContent-Type: multipart/alternative; boundary=\"c d\"\n\n--c d\n\n{SALAM}\n--c d--\n\n--b--\n",
            ["7bit", "7bit", "quoted-printable"],
        ),
        (
            MIXED,
            f"--b\nContent-Type: message/rfc822\n\nSubject: x\nMIME-Version: 1.0\n{TEXT}\n{SALAM}\n--b--\n",
            ["7bit", "7bit", "quoted-printable"],
        ),
    ],
)  # fmt: skip
def test_bodies_say_the_same(head: str, body: str | bytes, encodings: list[str]) -> None:
    content = message(head, body)
    encoded = encode_bodies(content)
    assert encoded is not None
    before, after = parse(content), parse(encoded)
    assert encoded.isascii()
    assert [part.encoding for part in after.parts] == encodings
    assert [part.content_type for part in after.parts] == [part.content_type for part in before.parts]
    assert [decode_body(part) for part in after.parts] == [decode_body(part) for part in before.parts]
    assert after.text == before.text
    assert max(map(len, encoded.splitlines())) <= 998
    assert encoded.lower().count(b"mime-version") == max(1, content.lower().count(b"mime-version"))


@pytest.mark.parametrize(
    ("head", "body", "expected"),
    [
        # said to be encoded already, and not quite
        ("Content-Transfer-Encoding: quoted-printable\n", "a=20\u00e9\n", b"a=20=C3=A9\r\n"),
        ("Content-Transfer-Encoding: base64\n", "YWJj\u00e9\n", b"YWJj\r\n"),
        (MIXED, f"{SALAM[:2]}\n--b\n\nx\n--b--\n{SALAM[:2]}\n", b"????\r\n--b\r\n\r\nx\r\n--b--\r\n????\r\n"),
    ],
)
def test_odd_bodies(head: str, body: str, expected: bytes) -> None:
    encoded = encode_bodies(message(head, body))
    assert encoded is not None
    assert encoded[split_header(encoded).body_offset :] == expected


@pytest.mark.parametrize(
    ("head", "body"),
    [
        ("Content-Transfer-Encoding: x-uuencode\n", SALAM),
        ("Content-Type: multipart/mixed\n", SALAM),
        (MIXED, f"--b\n\n{SALAM}\n" * 1001),
        (MIXED, SALAM + "\n--b\n\nx" * 10_001),
        ("Content-Type: message/rfc822\n", "\n".join(["Content-Type: message/rfc822\n"] * 30) + "\n" + SALAM),
    ],
)
def test_what_cannot_be_encoded(head: str, body: str) -> None:
    assert encode_bodies(message(head, body)) is None


def test_seven_bits_stay_as_they_are() -> None:
    for content in (message("Subject: x\n", "plain\n"), message(f"Subject: {SALAM}\n", "plain\n"), b"", b"\r\n"):
        assert encode_bodies(content) == content


@given(
    st.binary(max_size=400),
    st.sampled_from(["text/plain", "application/x", "multipart/mixed; boundary=b", "message/rfc822"]),
)
def test_any_body_is_seven_bits_or_none(body: bytes, kind: str) -> None:
    content = to_crlf(f"MIME-Version: 1.0\r\nContent-Type: {kind}\r\n\r\n".encode() + body)
    encoded = encode_bodies(content)
    if encoded is None:
        return
    header = split_header(encoded)
    assert encoded[header.end :].isascii()
    if kind in ("text/plain", "application/x"):
        assert decode_body(parse(encoded).parts[0]) == content[split_header(content).body_offset :]


@given(st.binary(max_size=400))
def test_any_bytes_at_all(content: bytes) -> None:
    for encode in (encode_bodies, encode_header):
        encoded = encode(to_crlf(content))
        assert encoded is None or to_crlf(encoded) == encoded


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("Subject: plain", "Subject: plain"),
        (f"Subject: Re: {SALAM} x", f"Subject: Re: {SALAM} x"),
        (f"From: {SALAM} <sara@example.org>", f"From: {SALAM} <sara@example.org>"),
        (f'To: "{SALAM}, x" <a@example.org>, b@example.org', f"To: {SALAM}, x <a@example.org>, b@example.org"),
        ("Cc: a@\u0645\u062b\u0627\u0644.\u0627\u06cc\u0631\u0627\u0646", "Cc: a@xn--mgbh0fb.xn--mgba3a4f16a"),
        ("X-Long: " + "سلام " * 60, "X-Long: " + "سلام " * 60),
    ],
)
def test_fields_say_the_same(field: str, expected: str) -> None:
    content = f"{field}\r\n\r\nbody {SALAM}\r\n".encode()
    encoded = encode_header(content)
    assert encoded is not None
    head, _, body = encoded.partition(b"\r\n\r\n")
    assert head.isascii()
    assert body == content.partition(b"\r\n\r\n")[2]
    assert max(map(len, head.splitlines())) <= 260
    said, wanted = parse(encoded), parse(f"{expected}\r\n\r\n".encode())
    assert [one.text.split() for one in said.fields] == [one.text.split() for one in wanted.fields]


@pytest.mark.parametrize("field", ["From: سارا@example.org", "Cc: x@example.org, سارا <سارا@example.org>"])
def test_an_address_that_has_no_ascii_form(field: str) -> None:
    assert encode_header(f"{field}\r\n\r\nb\r\n".encode()) is None
