"""What holds for mail of any shape: parse is total, edits keep the body, results written are read back."""

from __future__ import annotations

import dataclasses
import re
from itertools import pairwise

import authres
from hypothesis import given
from hypothesis import strategies as st

from gateway.mail import decode_body, parse
from gateway.mail.address import parse_mailboxes
from gateway.mail.authentication_results import authserv_id_of, may_be_of, write
from gateway.mail.authentication_results import parse as parse_results
from gateway.mail.charset import decode
from gateway.mail.date import parse_date
from gateway.mail.domain import to_a_label, to_u_label
from gateway.mail.edit import edit_header, format_field, inbound_field_to_strip, to_crlf
from gateway.mail.header import MAX_FIELDS, _split_any, read_header, split_header
from gateway.mail.html import render
from gateway.mail.link import find_links, host_of
from gateway.mail.summary import clean, summarise
from gateway.types import AuthResult

LINE_END = st.sampled_from([b"\r\n", b"\n", b"\r", b"\r\r\n"])
NAME = st.sampled_from(
    [b"Subject", b"From", b"X-Spam-Flag", b"Content-Type", b"Authentication-Results", b"To ", b"", b"x y", b"\xe9"]
)
VALUE = st.one_of(
    st.binary(max_size=40),
    st.sampled_from(
        [
            b" a@b.example",
            b" =?utf-8?B?2LM=?=",
            b" multipart/mixed; boundary=b",
            b" text/html",
            b" message/rfc822",
            b"\r\n folded",
            b" mx.example.ir; x",
        ]
    ),
)
FIELD = st.tuples(NAME, st.sampled_from([b":", b" :", b""]), VALUE, LINE_END).map(b"".join)
BODY = st.one_of(
    st.binary(max_size=200),
    st.lists(
        st.sampled_from(
            [
                b"--b",
                b"--b--",
                b"\r\n",
                b"\n",
                b"<p>x",
                b"<a href=http://x.example/>",
                b"begin 644 a\n",
                b"end",
                b"text ",
            ]
        ),
        max_size=20,
    ).map(b"".join),
)
MAIL = st.one_of(
    st.binary(max_size=400), st.tuples(st.lists(FIELD, max_size=8).map(b"".join), LINE_END, BODY).map(b"".join)
)


@given(MAIL)
def test_parse_is_total_and_what_it_gives_can_be_written(content: bytes) -> None:
    parsed = parse(content)
    assert parsed.raw == content
    assert len(set(parsed.defects)) == len(parsed.defects)
    assert len(set(parsed.links)) == len(parsed.links)
    for text in (parsed.subject, parsed.text, parsed.hidden_text, *(one.display_name for one in parsed.author)):
        text.encode()
    for part in parsed.parts:
        decode_body(part)
    for text in dataclasses.astuple(summarise(parsed))[:3]:
        text.encode()


@given(MAIL)
def test_fields_stand_in_the_header_in_order(content: bytes) -> None:
    parsed = parse(content)
    position = 0
    for field in parsed.fields:
        position = content.index(field.raw, position) + len(field.raw)
        assert field.raw.startswith(field.name.encode())
    assert position <= parsed.body_offset


@given(MAIL, st.booleans())
def test_edit_keeps_the_body_and_the_other_fields(content: bytes, is_prepended: bool) -> None:
    prepend = [format_field("X-New", "value " * 20)] if is_prepended else []
    before = parse(content)
    after = parse(edit_header(content, lambda name, raw: name.lower() == "subject", prepend))
    kept = [field.raw.rstrip(b"\r\n") for field in before.fields if field.name.lower() != "subject"]
    assert after.raw[after.body_offset :] == content[before.body_offset :]
    assert [field.raw.rstrip(b"\r\n") for field in after.fields if field.name != "X-New"] == kept
    assert [field.name for field in after.fields[: len(prepend)]] == ["X-New"] * len(prepend)


@given(MAIL)
def test_without_an_order_nothing_changes(content: bytes) -> None:
    assert edit_header(content, lambda name, raw: False, ()) == content


@given(MAIL)
def test_tagging_twice_is_tagging_once(content: bytes) -> None:
    def tag(mail: bytes) -> bytes:
        return edit_header(
            mail,
            lambda name, raw: inbound_field_to_strip(name, raw, "mx.example.ir"),
            [format_field("X-Spam-Flag", "NO")],
        )

    assert tag(tag(content)) == tag(content)


@given(MAIL)
def test_crlf_is_stable_and_changes_line_ends_only(content: bytes) -> None:
    crlf = to_crlf(content)
    assert to_crlf(crlf) == crlf
    assert crlf.count(b"\r") == crlf.count(b"\n") == crlf.count(b"\r\n")
    assert crlf.translate(None, b"\r\n") == content.translate(None, b"\r\n")


@given(MAIL)
def test_stripping_before_or_after_line_ends_are_mended_is_the_same(content: bytes) -> None:
    def names(mail: bytes) -> list[str]:
        return [name for name, _, _ in split_header(mail).pieces if name]

    assert names(to_crlf(content)) == names(content)


@given(MAIL)
def test_the_usual_header_is_read_as_every_header_is_split(content: bytes) -> None:
    header, fields = read_header(content)
    assert header == split_header(content) == _split_any(content, 0, len(content))
    assert [(field.name, field.raw) for field in fields] == [
        (name, content[start:end]) for name, start, end in header.pieces if name
    ]


@given(st.text(max_size=20), st.text(max_size=400))
def test_a_formatted_field_is_one_field(name: str, value: str) -> None:
    raw = format_field(f"X{name}", value)
    header = split_header(raw + b"\r\n")
    assert len(header.pieces) == 1
    assert header.pieces[0][1:] == (0, len(raw))
    assert max(map(len, raw.split(b"\r\n"))) <= 998
    told = raw.decode().partition(":")[2]
    assert re.sub(r"[\x00-\x20\x7f]", "", told) == re.sub(r"[\x00-\x20\x7f]", "", value)


WORD = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=60)


@given(st.lists(WORD, min_size=1, max_size=40))
def test_a_formatted_field_is_folded_as_late_as_can_be(words: list[str]) -> None:
    lines = format_field("X", " ".join(words)).decode().split("\r\n")[:-1]
    assert "".join(lines) == f"X: {' '.join(words)}"
    for line, following in pairwise(lines):
        assert len(line) <= 78 < len(line) + len(following.partition(" ")[2].partition(" ")[0]) + 1


HOST = st.from_regex(r"[a-z][a-z0-9-]{0,10}[a-z0-9]\.example", fullmatch=True)
RESULT = st.builds(
    AuthResult,
    method=st.sampled_from(["spf", "dkim", "dmarc", "iprev", "arc"]),
    result=st.sampled_from(["pass", "fail", "softfail", "neutral", "none", "temperror", "permerror"]),
    domain=HOST,
    selector=st.from_regex(r"[a-z0-9]{1,8}", fullmatch=True),
    identity=st.text(max_size=20),
    policy=st.sampled_from(["", "none", "reject"]),
    reason=st.text(max_size=60),
    properties=st.just(()),
)


@given(HOST, st.lists(RESULT, max_size=5))
def test_results_written_are_read_back(authserv_id: str, results: list[AuthResult]) -> None:
    raw = format_field("Authentication-Results", write(authserv_id, results))
    value = raw.partition(b":")[2].decode()
    assert authserv_id_of(value) == authserv_id
    assert parse_results(value)[1] == tuple((one.method, one.result) for one in results)


PIECES = st.sampled_from(
    [
        "mx.example.ir",
        "MX.",
        "example.ir",
        " ",
        "\t",
        "\r\n ",
        "(",
        ")",
        '"',
        ";",
        "1",
        "/1",
        ".",
        "\\",
        "spf=pass",
        "=?",
        "\0",
        "x",
    ]
)


@given(st.lists(PIECES, max_size=14).map("".join))
def test_what_a_strict_reader_takes_for_ours_is_taken_for_ours(value: str) -> None:
    try:
        theirs = authres.AuthenticationResultsHeader.parse_value(value.replace("\r", "").replace("\n", ""))
    except Exception:
        return
    if str(theirs.authserv_id).lower() == "mx.example.ir":
        assert may_be_of(value, ["mx.example.ir"])


@given(st.text(max_size=200))
def test_readers_of_text_are_total(text: str) -> None:
    for mailbox in parse_mailboxes(text):
        assert mailbox.domain == "" or mailbox.address
    for url in find_links(text):
        assert url.partition("://")[2]
        host_of(url)
    host_of(text)
    to_u_label(text)
    label = to_a_label(text)
    assert to_a_label(label) == label
    assert label.isascii()
    parse_date(text)
    parse_results(text)
    assert len(clean(text, 10)) <= 10
    html = render(text)
    assert "\x00" not in html.text


@given(
    st.binary(max_size=100),
    st.sampled_from(
        ["utf-8", "utf-7", "utf-16", "hz", "gb2312", "iso-2022-jp", "big5", "x", "", "idna", "windows-1256"]
    ),
)
def test_any_bytes_in_any_charset_give_a_text(content: bytes, charset: str) -> None:
    decode(content, charset).encode()


def test_the_limit_on_fields_holds_for_edits_of_edits() -> None:
    content = b"A: 1\n" * MAX_FIELDS + b"\nbody"
    once = edit_header(content, lambda name, raw: False, [b"N: x\r\n"])
    assert edit_header(once, lambda name, raw: name == "N", [b"N: x\r\n"]).endswith(b"\n\nbody")
