from __future__ import annotations

import base64
import binascii
import time
import tracemalloc

import pytest

from gateway.mail import decode_body, parse
from gateway.mail.mime import MAX_DEPTH, MAX_PARTS, MAX_TEXT
from gateway.types import Message


def message(*lines: str) -> Message:
    return parse("\r\n".join(lines).encode())


def shape(parsed: Message) -> list[tuple[str, str]]:
    return [(part.path, part.content_type) for part in parsed.parts]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ([], ("text/plain", "", "7bit", "", "")),
        (["Content-Type: TEXT/HTML; charset=UTF-8"], ("text/html", "utf-8", "7bit", "", "")),
        (["Content-Type: text/plain (plain; text); charset=us-ascii (x)"], ("text/plain", "us-ascii", "7bit", "", "")),
        (["Content-Type: text"], ("text/plain", "", "7bit", "", "")),
        (["Content-Type: ; charset=x"], ("text/plain", "x", "7bit", "", "")),
        (["Content-Transfer-Encoding:", "  BASE64 ; x"], ("text/plain", "", "base64", "", "")),
        (["Content-Transfer-Encoding: base 64"], ("text/plain", "", "base64", "", "")),
        (['Content-Transfer-Encoding: "quoted-printable" (x)'], ("text/plain", "", "quoted-printable", "", "")),
        (["Content-Disposition: inline; filename=a.txt"], ("text/plain", "", "7bit", "inline", "a.txt")),
        (["Content-Disposition: ATTACHMENT; filename=a.txt"], ("text/plain", "", "7bit", "attachment", "a.txt")),
        (["Content-Disposition: strange; filename=a.txt"], ("text/plain", "", "7bit", "attachment", "a.txt")),
        (["Content-Disposition: filename=a.txt"], ("text/plain", "", "7bit", "", "a.txt")),
        (["Content-Type: application/pdf; name*=utf-8''%D8%B3.pdf"], ("application/pdf", "", "7bit", "", "س.pdf")),
    ],
)
def test_what_the_fields_say(fields: list[str], expected: tuple[str, str, str, str, str]) -> None:
    (part,) = message(*fields, "", "").parts
    assert (part.content_type, part.charset, part.encoding, part.disposition, part.filename) == expected


def test_two_names_are_kept() -> None:
    (part,) = message(
        "Content-Type: a/b; name=bill.pdf", "Content-Disposition: attachment; filename=bill.exe", "", ""
    ).parts
    assert (part.filename, part.other_filename) == ("bill.exe", "bill.pdf")


def test_multipart_in_document_order() -> None:
    parsed = message(
        'Content-Type: multipart/mixed; boundary="b 1"', "", "preamble", "--b 1", "Content-Type: multipart/alternative; boundary=b", "",
        "--b", "", "plain", "--b ", "Content-Type: text/html", "", "<p>html</p>", "--b--", "", "--b 1", "Content-Type: image/png",
        "Content-Transfer-Encoding: base64", "", "iVBORw0KGgo=", "--b 1--", "epilogue",
    )  # fmt: skip
    assert shape(parsed) == [
        ("1", "multipart/mixed"), ("1.1", "multipart/alternative"), ("1.1.1", "text/plain"), ("1.1.2", "text/html"), ("1.2", "image/png"),
    ]  # fmt: skip
    assert [part.depth for part in parsed.parts] == [0, 1, 2, 2, 1]
    assert parsed.text == "plain\n\nhtml"
    assert parsed.parts[4].text is None
    assert decode_body(parsed.parts[4]) == b"\x89PNG\r\n\x1a\n"
    assert parsed.defects == ()


@pytest.mark.parametrize(
    ("lines", "shapes", "text", "defect"),
    [
        (["--b", "", "x"], ["text/plain"], "x", "MIME_BOUNDARY_UNCLOSED"),
        (["no delimiter"], ["text/plain"], "no delimiter", "MIME_BOUNDARY_MISSING"),
        (["--bb", "", "x", "--b--"], ["text/plain"], "--bb\n\nx\n--b--", "MIME_BOUNDARY_MISSING"),
        (["--b", "text without header", "more", "--b--"], ["text/plain"], "text without header\nmore", None),
        (["--b", "", "x", "--b--", "--b", "", "after", "--b--"], ["text/plain"], "x", "MIME_PART_AFTER_END"),
        (["--b", "", "x --b y", "--b--"], ["text/plain"], "x --b y", None),
        (["--b", "--b", "", "x", "--b--"], ["text/plain", "text/plain"], "x", None),
        (["--b--"], ["text/plain"], "--b--", "MIME_BOUNDARY_MISSING"),
    ],
)
def test_delimiters(lines: list[str], shapes: list[str], text: str, defect: str | None) -> None:
    parsed = message("Content-Type: multipart/mixed; boundary=b", "", *lines)
    assert [part.content_type for part in parsed.parts[1:]] == shapes
    assert parsed.text == text
    assert parsed.defects == ((defect,) if defect else ())


@pytest.mark.parametrize(
    ("fields", "defect"),
    [
        (["Content-Type: multipart/mixed"], "MIME_BOUNDARY_MISSING"),
        (['Content-Type: multipart/mixed; boundary=""'], "MIME_BOUNDARY_MISSING"),
        (["Content-Type: multipart/mixed; boundary=a; boundary=b"], "MIME_BOUNDARY_AMBIGUOUS"),
        (["Content-Type: multipart/mixed; boundary=a; boundary*=''b"], "MIME_BOUNDARY_AMBIGUOUS"),
        (["Content-Type: text/plain", "Content-Type: text/html"], "MIME_DUPLICATE_FIELD"),
        (["Content-Type: nonsense"], "MIME_TYPE_MALFORMED"),
        (["Content-Transfer-Encoding: rot13"], "MIME_ENCODING_UNKNOWN"),
    ],
)
def test_defects_of_fields(fields: list[str], defect: str) -> None:
    assert defect in message(*fields, "", "x").defects


def test_outer_delimiter_ends_an_unclosed_inner_multipart() -> None:
    parsed = message(
        "Content-Type: multipart/mixed; boundary=o", "", "--o", "Content-Type: multipart/mixed; boundary=i", "", "--i", "", "x",
        "--o", "", "y", "--o--",
    )  # fmt: skip
    assert shape(parsed) == [
        ("1", "multipart/mixed"),
        ("1.1", "multipart/mixed"),
        ("1.1.1", "text/plain"),
        ("1.2", "text/plain"),
    ]
    assert parsed.text == "x\n\ny"


INNER = "Subject: inner\r\nContent-Type: text/html\r\n\r\n<p>inside</p>"


@pytest.mark.parametrize(
    ("fields", "body"),
    [
        (["Content-Type: message/rfc822"], INNER),
        (
            ["Content-Type: message/rfc822", "Content-Transfer-Encoding: base64"],
            base64.encodebytes(INNER.encode()).decode(),
        ),
        (["Content-Type: message/global", "Content-Transfer-Encoding: quoted-printable"], INNER.replace("<", "=3C")),
        (["Content-Type: multipart/digest; boundary=b"], f"--b\r\n\r\n{INNER}\r\n--b--"),
    ],
)
def test_nested_messages_are_walked(fields: list[str], body: str) -> None:
    parsed = message(*fields, "", body)
    inner = parsed.parts[-1]
    assert inner.content_type == "text/html"
    assert inner.fields[0].text == "inner"
    assert parsed.text == "inside"
    assert parsed.subject == ""


@pytest.mark.parametrize(
    ("fields", "is_text"),
    [
        (["Content-Type: text/plain"], True),
        (["Content-Type: text/plain; name=a.txt"], True),
        (["Content-Type: text/html", "Content-Disposition: inline; filename=a.html"], True),
        (["Content-Type: text/plain", "Content-Disposition: attachment"], False),
        (["Content-Type: text/calendar; name=a.ics"], False),
        (["Content-Type: text/calendar"], True),
        (["Content-Type: application/octet-stream"], False),
    ],
)
def test_which_parts_are_text(fields: list[str], is_text: bool) -> None:
    (part,) = message(*fields, "", "x").parts
    assert (part.text is not None) is is_text


def test_line_ends_of_text_are_normalised() -> None:
    assert parse(b"\r\na\r\nb\rc\nd").parts[0].text == "a\nb\nc\nd"


def test_charset_of_html_from_its_meta() -> None:
    body = '<meta charset="windows-1256"><p>سلام'.encode("cp1256")
    assert parse(b"Content-Type: text/html\n\n" + body).text == "سلام"


def test_uuencoded_file_in_text_becomes_a_part() -> None:
    body = b"see\nbegin 644 a.exe\n" + binascii.b2a_uu(b"MZ hello") + b"`\nend\nbye"
    parsed = parse(b"Subject: x\n\n" + body)
    assert [(part.path, part.filename, part.disposition) for part in parsed.parts] == [
        ("1", "", ""),
        ("1.1", "a.exe", "attachment"),
    ]
    assert decode_body(parsed.parts[1]) == b"MZ hello"
    assert parsed.text == "see\n\nbye"


def test_uuencoded_files_are_bounded_too() -> None:
    file = b"begin 644 a\n" + binascii.b2a_uu(b"x") + b"end\n"
    parsed = parse(b"\n" + file * (MAX_PARTS + 1))
    assert len(parsed.parts) <= MAX_PARTS
    assert parsed.defects == ("MIME_TOO_MANY_PARTS",)


def test_attachments_are_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(raw: bytes, encoding: str) -> bytes:
        raise AssertionError("decoded")

    monkeypatch.setattr("gateway.mail.mime.decode_bytes", fail)
    message("Content-Type: application/pdf", "Content-Transfer-Encoding: base64", "", "YWJj")


# --- limits


def nested(depth: int, text: str = "x") -> bytes:
    opening = "".join(f"Content-Type: multipart/mixed; boundary=b{i}\n\n--b{i}\n" for i in range(depth))
    return (opening + "\n" + text).encode()


def test_depth_is_bounded() -> None:
    assert "MIME_TOO_DEEP" not in parse(nested(10)).defects
    deep = parse(nested(5000))
    assert "MIME_TOO_DEEP" in deep.defects
    assert max(part.depth for part in deep.parts) < MAX_DEPTH


def test_nested_messages_are_bounded() -> None:
    assert "MIME_TOO_DEEP" in parse(b"Content-Type: message/rfc822\n\n" * 5000).defects


def test_parts_are_bounded() -> None:
    parsed = parse(b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--b\n\nx\n" * 5000)
    assert len(parsed.parts) == MAX_PARTS
    assert "MIME_TOO_MANY_PARTS" in parsed.defects


def test_text_is_bounded_in_all_parts_together() -> None:
    part = b"--b\n\n" + b"word " * (MAX_TEXT // 10) + b"\n"
    parsed = parse(b"Content-Type: multipart/mixed; boundary=b\n\n" + part * 4)
    assert "MIME_TEXT_TOO_LONG" in parsed.defects
    assert sum(len(one.text or "") for one in parsed.parts) <= MAX_TEXT


def test_nesting_multiplies_neither_time_nor_memory() -> None:
    content = nested(99, "x" * 10_000_000)
    started = time.process_time()
    tracemalloc.start()
    parsed = parse(content)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "MIME_TOO_DEEP" in parsed.defects
    assert peak < 4 * len(content)
    assert time.process_time() - started < 2.0


@pytest.mark.parametrize(
    "body",
    [
        b"--b" * 300_000,
        b"\n--b" * 100_000,
        b"\n--b x" * 100_000,
        b"\n--b" + b" " * 1_000_000,
        b"\n--b\n" + b"a:\n" * 300_000,
        b"\n--b\n" + b"stray\nTo: x\n" * 100_000,
        b"\n--b\nContent-Type: text/plain" + b"; a=b" * 100_000,
        b"\n--b\nContent-Type: text/plain" + b"; " * 100_000 + b"(" * 100_000,
        b"\n--b\nContent-Disposition: attachment" + b"; filename*1=x" * 100_000,
        b"\n--b\nSubject: " + b"=?utf-8?q?" * 100_000,
        b"\n--b\nSubject: " + b"=?utf-8?q?a?= " * 100_000,
        b"\n--b\n\n" + b"begin 644 x\n" * 100_000,
        b"\n--b\nContent-Transfer-Encoding: base64\n\n" + b"=" * 2_000_000,
        b"\n--b\nContent-Transfer-Encoding: base64\n\n" + b"YQ==" * 500_000,
        b"\n--b\nContent-Transfer-Encoding: quoted-printable\n\n" + b"= " * 1_000_000,
        b"\n--b\nContent-Transfer-Encoding: quoted-printable\n\n" + b"=" + b" " * 1_000_000,
        b"\n--b\n\n" + b"\xe9\xe8 \xff" * 300_000,
        b"\n--b\n\n\xe9" * 900 + b"\xff" * 100_000,
    ],
    ids=range(18),
)  # fmt: skip
def test_linear_on_hostile_bodies(body: bytes) -> None:
    started = time.process_time()
    parse(b"Content-Type: multipart/mixed; boundary=b\n\n" + body)
    assert time.process_time() - started < 2.0


TWO_READINGS = (
    "",
    "--a", "Content-Type: text/plain", "", "what one reader shows", "--a--", "",
    "--b", "Content-Type: application/x-msdownload; name=pay.exe", "", "what another shows", "--b--", "",
)  # fmt: skip


@pytest.mark.parametrize(
    "content_type",
    [
        "multipart/mixed; boundary=a; boundary=b",
        "multipart/mixed; boundary=b; boundary=a",
        "multipart/mixed; boundary=a; boundary*=us-ascii''b",
        "multipart/mixed; boundary=a; boundary*0=b",
    ],
)
def test_both_readings_of_two_boundaries_are_looked_at(content_type: str) -> None:
    """CVE-2024-28054: a scanner that follows one boundary misses what the reader's other one shows."""
    parsed = message(f"Content-Type: {content_type}", *TWO_READINGS)
    assert {"text/plain", "application/x-msdownload"} <= {part.content_type for part in parsed.parts}
    assert "pay.exe" in {part.filename for part in parsed.parts}
    assert "MIME_BOUNDARY_AMBIGUOUS" in parsed.defects
    assert len({part.path for part in parsed.parts}) == len(parsed.parts)


def test_a_second_boundary_that_splits_nothing_adds_nothing() -> None:
    parsed = message("Content-Type: multipart/mixed; boundary=a; boundary=c", *TWO_READINGS[:6])
    assert shape(parsed) == [("1", "multipart/mixed"), ("1.1", "text/plain")]


@pytest.mark.parametrize(
    "written", ["multipart / mixed", "multipart/(c)mixed", "(c) multipart/mixed", "multipart/ mixed (c)"]
)
def test_blanks_and_comments_in_a_type(written: str) -> None:
    """RFC 5322 §3.2.2 lets white space and comments stand between its words; what is inside has to be seen."""
    parsed = message(f"Content-Type: {written}; boundary=a", *TWO_READINGS[:6])
    assert shape(parsed) == [("1", "multipart/mixed"), ("1.1", "text/plain")]
