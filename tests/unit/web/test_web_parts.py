"""web/parts.py: what a part is, whatever it is called, and the name it is saved under."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mail import parse
from gateway.web import parts

MIXED = (
    b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\ntext\r\n--b\r\nContent-Type: application/pdf; name=\"a.pdf\"\r\n"
    b"Content-Transfer-Encoding: base64\r\n\r\nTVoAAA==\r\n--b\r\nContent-Type: image/png; name=\"x.exe\"\r\n\r\nx\r\n--b--\r\n"
)  # fmt: skip


def test_parts_are_told_by_their_bytes() -> None:
    container, text, disguised, program = parts.attached(parse(MIXED))
    assert (container.declared, container.size, container.sha256) == ("multipart/mixed", None, "")
    assert (text.path, text.found, text.size, text.dangers) == ("1.1", "", 4, ())
    assert (disguised.filename, disguised.declared, disguised.size) == ("a.pdf", "application/pdf", 4)
    assert (disguised.found, disguised.dangers) == ("application/x-msdownload", ("ATTACHMENT_DISGUISED",))
    assert disguised.sha256 == hashlib.sha256(b"MZ\0\0").hexdigest()
    assert program.dangers == ("ATTACHMENT_EXECUTABLE",)


def test_a_part_is_found_by_its_place() -> None:
    message = parse(MIXED)
    assert [parts.find(message, one.path) is not None for one in message.parts] == [False, True, True, True]
    assert parts.find(message, "9") is None
    assert parts.find(message, "") is None


@pytest.mark.parametrize(
    ("body", "found"),
    [(b"%PDF-1.7", "application/pdf"), (b"MZ-1001 and text", ""), (b"BM\0\0", "image/bmp"), (b"", ""), (b"BMW", "")],
)
def test_sniffed(body: bytes, found: str) -> None:
    assert parts.sniffed(body) == found


@pytest.mark.parametrize(
    ("filename", "field"),
    [
        ("a.pdf", "attachment; filename=\"a.pdf\"; filename*=UTF-8''a.pdf"),
        ("", "attachment; filename=\"part\"; filename*=UTF-8''part"),
        ("../../etc/passwd", "attachment; filename=\"_.._etc_passwd\"; filename*=UTF-8''_.._etc_passwd"),
        ('"; x="\r\nSet-Cookie: a=b', None),
        ("fdp\u202eexe", "attachment; filename=\"fdp_exe\"; filename*=UTF-8''fdp_exe"),
        ("نامه.pdf", "attachment; filename=\"____.pdf\"; filename*=UTF-8''%D9%86%D8%A7%D9%85%D9%87.pdf"),
    ],
)
def test_a_name_cannot_leave_its_field(filename: str, field: str | None) -> None:
    made = parts.disposition(filename)
    assert field is None or made == field
    assert made.isascii() and made.isprintable()
    assert made.count('"') == 2


@given(st.text(max_size=200))
def test_any_name_gives_one_field(filename: str) -> None:
    made = parts.disposition(filename)
    assert made.isascii() and made.isprintable() and made.count('"') == 2 and made.count(";") == 2
