"""mail/rewrite.py: what is to go is gone, everything else reads as before, for any encoding and any bytes."""

from __future__ import annotations

import base64
import quopri
import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mail import parse, rewrite
from gateway.mail.link import host_of
from tests.builders import message_bytes

TEXT = "Dear Sara,\n\nSee http://bad.example/x and http://good.example/y now.\n\nThe café is open.\n\nBye"
HTML = (
    '<p>Dear <b>Sara</b>,</p><a href="http://bad.example/&amp;x">here</a> <a href=http://good.example/>there</a>'
    "<div style='display:none'>an old <i>secret</i></div><p>Caf&eacute; &lt;open&gt;</p><script>p('Dear')</script>"
)


def encoded(text: str, encoding: str, charset: str, kind: str = "plain") -> bytes:
    content = text.encode(charset).replace(b"\n", b"\r\n")
    body = {"base64": base64.encodebytes, "quoted-printable": quopri.encodestring}.get(encoding, bytes)(content)
    head = f"Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: text/{kind}; charset={charset}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"
    return head.encode() + body


def is_bad(url: str) -> bool:
    return host_of(url).endswith("bad.example")


ENCODINGS = [
    (encoding, charset)
    for encoding in ("8bit", "base64", "quoted-printable")
    for charset in ("utf-8", "iso-8859-1", "windows-1252")
]


@pytest.mark.parametrize(("encoding", "charset"), [*ENCODINGS, ("base64", "utf-16")])
@pytest.mark.parametrize("kind", ["plain", "html"])
def test_a_link_goes_and_all_else_stays(encoding: str, charset: str, kind: str) -> None:
    before = parse(encoded(TEXT if kind == "plain" else HTML, encoding, charset, kind))
    written = rewrite.edit_texts(before, lambda part, text: rewrite.without_links(part, text, is_bad))
    assert written is not None
    after = parse(written)
    assert [host_of(link.url) for link in after.links] == ["good.example"]
    assert after.text == before.text.replace("http://bad.example/x", "")
    assert [field.raw for field in after.fields] == [field.raw for field in before.fields]


def test_passages_of_a_text() -> None:
    part = parse(encoded(TEXT, "8bit", "utf-8")).parts[0]
    assert [one.text for one in rewrite.passages(part)] == [
        "Dear Sara,",
        "See http://bad.example/x and http://good.example/y now.",
        "The café is open.",
        "Bye",
    ]
    short = parse(message_bytes("One. Two?\nThree\r\n")).parts[0]
    assert [one.text for one in rewrite.passages(short)] == ["One.", "Two?", "Three"]


def test_passages_of_html() -> None:
    part = parse(encoded(HTML, "8bit", "utf-8", "html")).parts[0]
    assert [one.text for one in rewrite.passages(part)] == ["Dear Sara ,", "here there", "an old secret", "Café <open>"]


def test_a_passage_goes_from_both_forms_of_a_text() -> None:
    content = (
        b"MIME-Version: 1.0\r\nContent-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\n\r\n"
        b"Dear\r\nSara\r\n\r\nClick here\r\n\r\nBye\r\n\r\nAnd so on\r\n--b\r\nContent-Type: text/html\r\n\r\n"
        b"<p>Dear Sara</p><p><b>Click</b> here</p><p>Bye</p>\r\n--b--\r\n"
    )
    letters = rewrite.key("Click here")
    written = rewrite.edit_texts(
        parse(content),
        lambda part, text: rewrite.without_passages(part, text, lambda one: rewrite.key(one.text) == letters),
    )
    assert written is not None
    assert "Click" not in parse(written).text and "Bye" in parse(written).text
    assert b"<b></b>" in written


def test_hidden_text_goes() -> None:
    before = parse(encoded(HTML, "quoted-printable", "utf-8", "html"))
    assert before.hidden_text
    written = rewrite.edit_texts(before, rewrite.without_hidden)
    assert written is not None
    assert (parse(written).hidden_text.strip(), parse(written).text) == ("", before.text)


MIXED = (
    b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nHello\r\n"
    b"--b\r\nContent-Type: application/zip; name=a.zip\r\n\r\nHello\r\n--b\r\nContent-Type: image/png\r\n\r\nPNG\r\n--b--\r\n"
)


@pytest.mark.parametrize(
    ("path", "left"),
    [("1.2", ["text/plain", "image/png"]), ("1.3", ["text/plain", "application/zip"]), ("1", None), ("9", None)],
)
def test_a_part_goes(path: str, left: list[str] | None) -> None:
    written = rewrite.without_part(parse(MIXED), path)
    assert (written is None) == (left is None)
    if written is not None:
        after = parse(written)
        assert [part.content_type for part in after.parts[1:]] == left
        assert after.defects == ()


@pytest.mark.parametrize(
    "content",
    [
        b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        + base64.b64encode(b"A: b\r\n\r\nHello"),
        b"Subject: x\r\n\r\nHello\r\nbegin 644 a.txt\r\n#0V%T\r\nend\r\nHello\r\n",
        b"Subject: x\r\n\r\n" + b"x" * (rewrite.MAX_TEXT + 1),
    ],
)
def test_what_cannot_be_edited_is_left(content: bytes) -> None:
    assert (
        rewrite.edit_texts(parse(content), lambda _, text: text + "!" if len(text) < rewrite.MAX_TEXT else "") is None
    )


def test_nothing_to_change_is_none() -> None:
    assert rewrite.edit_texts(parse(message_bytes()), lambda _, text: text) is None


@given(st.binary(max_size=400) | st.text("<>/ap=\"'!-\n scriptyle.h:?", max_size=200).map(str.encode))
def test_total(body: bytes) -> None:
    for head in (b"Content-Type: text/html\r\n\r\n", b"\r\n", b""):
        message = parse(head + body)
        for part in message.parts:
            for one in rewrite.passages(part):
                assert one.text and all(0 <= start < end <= len(part.text or "") for start, end in one.spans)
            rewrite.without_part(message, part.path)
        rewrite.edit_texts(message, lambda part, text: rewrite.without_links(part, text, lambda _: True))
        rewrite.edit_texts(message, rewrite.without_hidden)


@pytest.mark.parametrize(
    "unit", ["<", "<a href='", "<!--", "href=", "<p>x", "\n\n", ". ", "http://a.example/ ", "www.a.b "]
)
def test_linear(unit: str) -> None:
    text = unit * (rewrite.MAX_TEXT // len(unit))
    part = parse(b"Content-Type: text/html\r\n\r\n<p>x").parts[0]
    began = time.process_time()
    rewrite.without_links(part, text, lambda _: True)
    rewrite.passages(replace(part, text=text))
    rewrite.passages(replace(part, text=text, html=None))
    rewrite.without_hidden(part, text)
    assert time.process_time() - began < 4.0
