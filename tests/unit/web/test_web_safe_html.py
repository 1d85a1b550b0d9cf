"""web/safe_html.py: nothing in the view runs, loads or leads anywhere; what speaks against the message is marked."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mail import parse
from gateway.web import safe_html
from gateway.web.evidence import Evidence, gather
from tests.builders import message_bytes

HOSTILE = [
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "<a href='javascript:alert(1)'>x</a>", "<iframe src=//e.example></iframe>",
    "<svg onload=alert(1)>", "<style>@import url(//e.example)</style>", "<div style='background:url(//e.example)'>x</div>",
    "<meta http-equiv=refresh content='0;url=//e.example'>", "<form action=//e.example><input name=p></form>", "<base href=//e.example>",
    "<math><mtext></p><style><img src=x onerror=alert(1)>", "<object data=//e.example></object>", "<link rel=stylesheet href=//e.example>",
    "<img srcset='//e.example 1x'>", "<video poster=//e.example>", "<table background=//e.example><td>x", "<a ping=//e.example>x</a>",
    "<noscript><img src=x onerror=alert(1)></noscript>", "<noscript><noscript><p title='</noscript><img src=x onerror=1>'></noscript>",
    "<template><p>x</template>", "<td dir='ltr\" onclick=x'>", "<p dir=ltr\" onclick=x>", "<td colspan='9 onclick=x'>",
]  # fmt: skip
# all that the view may hold; a sign of "<" anywhere else is a hole
ALLOWED = re.compile(
    r"</?(?:abbr|b|bdi|blockquote|br|caption|center|cite|code|dd|del|div|dl|dt|em|font|h[1-6]|hr|i|ins|li|mark|ol|p|pre|q|s"
    r"|small|span|strike|strong|sub|sup|table|tbody|td|tfoot|th|thead|tr|u|ul)"
    r'(?: (?:dir|align|class|colspan|rowspan)="[a-z0-9]+")*>'
)


def view(html: str, notes: Evidence | None = None) -> str:
    message = parse(message_bytes(html, Content_Type="text/html; charset=utf-8"))
    return str(safe_html.view(message, notes or Evidence(), "picture:"))


def is_harmless(shown: str) -> bool:
    return not set("<>") & set(ALLOWED.sub("", shown))


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_html(hostile: str) -> None:
    shown = view(f"<p>seen</p>{hostile}")
    assert is_harmless(shown)
    assert "seen" in shown


def test_what_is_harmless_can_be_told() -> None:
    assert not any(
        map(is_harmless, ("<p onclick=x>", '<a href="x">', "<script>", '<td colspan="9" style="x">', "a < b"))
    )


@pytest.mark.parametrize(
    ("html", "shown"),
    [
        ("<p>one<p>two", "<p>one</p><p>two\r\n</p>"),
        ("<b>x</i></b>", "<b>x</b>"),
        ("<ul><li>a<li>b</ul>", "<ul><li>a</li><li>b</li></ul>"),
        ("<table><tr><td>a<td>b<tr><td>c</table>", "<table><tr><td>a</td><td>b</td></tr><tr><td>c</td></tr></table>"),
        ("<p dir=RTL align=center onclick=x>x</p>", '<p dir="rtl" align="center">x</p>'),
        ("<form>x</form>", "<div>x</div>"),
        ("<noscript><p>x</p></noscript>", "<p>x</p>"),
        ("<style>x</style><title>y</title>z", "z"),
        ("&lt;b&gt; &amp; &quot;", "&lt;b&gt; &amp; &quot;"),
        ("<td></table>x", "<td>x</td>"),
        ("<img alt='<b>'>", '<span class="picture">picture: &lt;b&gt;</span>'),
        ("<img alt=x width=1>", ""),
        ("\u202egpj.exe", '<span class="control">[U+202E]</span>gpj.exe'),
        (
            "<a href=http://e.example/x>bank.example</a>",
            '<span class="link">bank.example</span> <bdi class="to" dir="ltr">[→ http://e.example/x]</bdi>',
        ),
        ("<a href=https://e.example/>https://e.example</a>", '<span class="link">https://e.example</span>'),
        ("<a href=https://e.example/>e.example</a>", '<span class="link">e.example</span>'),
        (
            "<base href=http://b.example/><a href=c>d</a>",
            '<span class="link">d</span> <bdi class="to" dir="ltr">[→ http://b.example/c]</bdi>',
        ),
        (
            "<a href='javascript:alert(1)'>d</a>",
            '<span class="link">d</span> <bdi class="to" dir="ltr">[→ javascript:alert(1)]</bdi>',
        ),
        ("<a href=#x>d</a>", "d"),
    ],
)
def test_what_is_left(html: str, shown: str) -> None:
    assert view(html).replace("\r\n", "") == shown.replace("\r\n", "")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://аррӏе.com/x?y", "https://xn--80ak6aa92e.com/x?y"),
        ("https://u@аррӏе.com:8443/", "https://u@xn--80ak6aa92e.com:8443/"),
        ("https://e.example/سلام", "https://e.example/سلام"),
        ("mailto:a@b", "mailto:a@b"),
        ("", ""),
    ],
)
def test_a_look_alike_host_is_shown_as_the_dns_knows_it(url: str, shown: str) -> None:
    assert safe_html.target(url) == shown


def hit(name: str, *evidence: str, score: float = 1.0) -> dict[str, object]:
    return {"name": name, "score": score, "description": name, "evidence": [*evidence]}


@pytest.mark.parametrize(
    ("hits", "html", "shown"),
    [
        # through tags, and any white space
        ([hit("X", "body: …you won…")], "<p>Have <b>YOU\n</b>won", "<p>Have <b><mark>YOU\n</mark></b><mark>won<sup>[1]</sup></mark></p>"),
        ([hit("X", "“won”")], "wont won", "wont <mark>won<sup>[1]</sup></mark>"),
        ([hit("X", "“برنده”")], "<p dir=rtl>برنده شدید", '<p dir="rtl"><mark>برنده<sup>[1]</sup></mark> شدید</p>'),
        ([hit("X", "“<b>”")], "&lt;b&gt;", "<mark>&lt;b&gt;<sup>[1]</sup></mark>"),
        # hosts that are blamed, in the words of a link and in where it leads
        (
            [hit("URL_TEXT_MISMATCH", "shown as bank.example, leads to e.example")],
            "<a href=http://e.example/>bank.example</a>",
            '<span class="link"><mark>bank.example<sup>[1]</sup></mark></span> <bdi class="to" dir="ltr">[→ http://'
            "<mark>e.example<sup>[1]</sup></mark>/]</bdi>",
        ),
        ([hit("SPF_FAIL", "192.0.2.1 is not permitted by bank.example")], "bank.example", "bank.example"),
        ([hit("GOOD", "“won”", score=-1.0)], "won", "won"),
        ([hit("X", "“gone”"), hit("Y", "“won”")], "won", "<mark>won<sup>[1]</sup></mark>"),
    ],
)  # fmt: skip
def test_evidence_is_marked(hits: list[dict[str, object]], html: str, shown: str) -> None:
    message = parse(message_bytes(html, Content_Type="text/html; charset=utf-8"))
    notes = gather({"hits": hits}, message)
    assert str(safe_html.view(message, notes, "picture:")).replace("\r\n", "") == shown


def test_weighed_and_hidden_words_are_marked() -> None:
    html = "<p>Claim now<p style='display:none'>harmless words that nobody reads"
    parts = [
        {"kind": "words", "value": "claim now", "weight": 2.0},
        {"kind": "words", "value": "harmless", "weight": -1.0},
    ]
    message = parse(message_bytes(html, Content_Type="text/html; charset=utf-8"))
    notes = gather({"hits": [], "prediction": {"contributions": parts}}, message)
    shown = str(safe_html.view(message, notes, "picture:"))
    assert "<mark>Claim now<sup>[1]</sup></mark>" in shown
    assert "<mark>harmless words that nobody reads<sup>[2]</sup></mark>" in shown.replace("\r\n", "")
    assert [(note.number, bool(note.contribution)) for note in notes.notes] == [(1, True), (2, False)]


def test_plain_text_is_escaped() -> None:
    message = parse(message_bytes("<b>"))
    assert str(safe_html.view(message, Evidence(), "")) == "<pre>&lt;b&gt;</pre>"


@pytest.mark.parametrize(
    "html",
    [
        "<div>" * 20_000, "<font size=%d>" * 10_000, "<a href=x>" * 20_000, "<table><tr>" + "<td>x" * 110_000,
        "<a href=x>" + "<b>x" * 110_000, "<noscript>" * 20_000, "<template>" * 20_000, "<p>" * 20_000, "won " * 50_000,
    ],
)  # fmt: skip
def test_hostile_html_costs_no_more_than_its_length(html: str) -> None:
    """A tree builder takes half a minute for 50,000 nested elements."""
    message = parse(message_bytes(html, Content_Type="text/html"))
    began = time.process_time()
    notes = gather({"hits": [hit("X", *(f"“won {n}”" for n in range(60)))]}, message)
    safe_html.view(message, notes, "")
    assert time.process_time() - began < 5


PIECES = [*"<>/=\"'& \0abpt!-", "<p", "<a href=", "<td", "</", "<script>", "<noscript>", "won"]


@given(st.lists(st.sampled_from(PIECES), max_size=60).map("".join))
def test_any_html_gives_a_harmless_view(html: str) -> None:
    message = parse(message_bytes(html, Content_Type="text/html; charset=utf-8"))
    assert is_harmless(str(safe_html.view(message, gather({"hits": [hit("X", "won", "“p”")]}, message), "p")))


@given(st.binary(max_size=400))
def test_any_bytes_give_a_view(content: bytes) -> None:
    message = parse(b"Content-Type: text/html\r\n\r\n" + content)
    assert is_harmless(str(safe_html.view(message, Evidence(), "p")))
