from __future__ import annotations

import time

import pytest

from gateway.mail.html import MAX_CHARACTERS, MAX_LINKS, render
from gateway.types import Link


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("", ""),
        ("plain", "plain"),
        ("a<br>b", "a\nb"),
        ("<p>a</p><p>b", "a\nb"),
        ("<p>a\nb   c&nbsp;d</p>", "a b c d"),
        ("<table><tr><td>a<td>b<tr><td>c</table>", "a b\nc"),
        ("<ul><li>a<li>b</ul>c", "a\nb\nc"),
        ("vi<b>ag</b>ra", "viagra"),
        ("vi<!-- x -->ag<!---->ra", "viagra"),
        ("&lt;b&gt;&#x633;&#1604;", "<b>سل"),
        ("a<script>x</script>b<style>y{}</style>c", "abc"),
        ("<title>t</title>b", "b"),
        ("<head><meta x><body>b", "b"),
        ("<!--[if mso]>outlook<![endif]-->all<![if !mso]>others<![endif]>", "allothers"),
        ("<noscript><p>no script</noscript>b", "no script\nb"),
        ("<noscript><noscript>" * 50 + "x", ""),
        ("<textarea><b>t</textarea>", "<b>t"),
        ("<svg onload=x>a</svg", "a"),
        ("می\u200cخوانم", "می\u200cخوانم"),
        ("nul\0l", "null"),
        ("<div>unclosed", "unclosed"),
        ("a < b", "a < b"),
    ],
)
def test_what_a_reader_sees(markup: str, text: str) -> None:
    assert render(markup).text == text


@pytest.mark.parametrize(
    ("markup", "shown", "hidden"),
    [
        ('<p style="display:none">h<p>s', "s", "h"),
        ("<span hidden>h</span>s", "s", "h"),
        ('<div style="display:none"><div style="display:block">h</div></div>s', "s", "h"),
        ('<font color="#ffffff">h</font>s', "s", "h"),
        ('<body bgcolor="black"><font color="#000">h</font><font color=white>s</font>', "s", "h"),
        ('<body text=white>h<span style="color:black">s', "s", "h"),
        (
            '<table bgcolor=#00f><tr><td><font color=white>s</font><td style="background:white"><font color=white>h',
            "s",
            "h",
        ),
        ('<div style="color:#fff">h<div style="background:#000">s</div></div>', "s", "h"),
        ('<div style="font-size:0">h<span style="font-size:14px">s</span></div>', "s", "h"),
        ('<div style="visibility:hidden">h<span style="visibility:visible">s</span></div>', "s", "h"),
        ('<div style="opacity:0">h<span style="opacity:1">h2</span></div>s', "s", "hh2"),
        ('<div style="max-height:0;overflow:hidden">pre&zwnj;header</div>s', "s", "pre\u200cheader"),
        ('<span style="text-indent:-9999px">h</span>s', "s", "h"),
        ('<ul><li style="display:none">h<li>s</ul>', "s", "h"),
        ('<table><tr><td style="display:none">h<td>s</table>', "s", "h"),
        ('<span style="display:none">h</b></i></span>s', "s", "h"),
        ('<table background="x.png"><tr><td style="color:white">s</table>', "s", ""),
        ('<div style="color:white"><a href="http://x.example/">s</a>h</div>', "s", "h"),
        ('<span style="font-size:1em">s</span>', "s", ""),
        ('<div style="display:none">' + "<b>" * 400 + "h" + "</b>" * 400 + "h</div>s", "s", "hh"),
    ],
)
def test_what_is_hidden(markup: str, shown: str, hidden: str) -> None:
    html = render(markup)
    assert (html.text, html.hidden_text) == (shown, hidden)


@pytest.mark.parametrize(
    ("markup", "links"),
    [
        ('<a href="http://x.example/?a=1&amp;b=2">go</a>', [("http://x.example/?a=1&b=2", "go", "anchor")]),
        ("<a href=' http://x.ex\nample/ '>a <b>b</b> c</a>", [("http://x.example/", "a b c", "anchor")]),
        ('<a href="http://x.example/"><img src="http://y.example/i.png" alt="logo"></a>',
         [("http://x.example/", "logo", "anchor"), ("http://y.example/i.png", "", "image")]),
        ('<a href="http://x.example/">a<a href="http://y.example/">b</a>', [("http://x.example/", "a", "anchor"), ("http://y.example/", "b", "anchor")]),
        ('<a href="http://x.example/" style="display:none">h</a>', [("http://x.example/", "", "anchor")]),
        ('<area href="http://x.example/">', [("http://x.example/", "", "anchor")]),
        ('<form action="http://x.example/"><button formaction="http://y.example/">',
         [("http://x.example/", "", "form"), ("http://y.example/", "", "form")]),
        ('<td background="http://x.example/i">', [("http://x.example/i", "", "image")]),
        ('<p style="background:url(http://x.example/i)">', [("http://x.example/i", "", "image")]),
        ('<img srcset="http://x.example/i 2x, y 3x">', [("http://x.example/i", "", "image")]),
        ('<iframe src="http://x.example/">', [("http://x.example/", "", "other")]),
        ('<meta http-equiv="Refresh" content="0; URL=http://x.example/">', [("http://x.example/", "", "other")]),
        ('<link href="http://x.example/c.css">', [("http://x.example/c.css", "", "other")]),
        ('<a href="sub/x">t</a><base href="http://b.example/d/">', [("http://b.example/d/sub/x", "t", "anchor")]),
        ('<base href="http://[bad"><a href="x">t</a>', [("x", "t", "anchor")]),
        ('<a href="//x.example/">t</a>', [("http://x.example/", "t", "anchor")]),
        ('<a href="#top">t</a><a name=x>', []),
        ('<a href="mailto:a@x.example">t</a>', [("mailto:a@x.example", "t", "anchor")]),
        ('<img src="cid:1@x">', [("cid:1@x", "", "image")]),
        ('<a href="data:text/html,x">t</a>', [("data:text/html,x", "t", "anchor")]),
        ('<a href="javascript:x()">t</a>', [("javascript:x()", "t", "anchor")]),
        ('<noscript><a href="http://x.example/">t</a></noscript>', [("http://x.example/", "t", "anchor")]),
    ],
)  # fmt: skip
def test_links(markup: str, links: list[tuple[str, str, str]]) -> None:
    assert list(render(markup).links) == [Link(*link) for link in links]  # type: ignore[arg-type]


def test_links_without_a_scheme() -> None:
    html = render(
        '<base href="https://b.example/"><a href="//x.example/A">t</a><a href="//x.example/A">u</a><img src="i">'
    )
    assert html.schemeless == ("//x.example/A", "//x.example/A")


def test_counts() -> None:
    html = render('<IMG src=a><img src=b><form><input></form><p onclick="x()">')
    assert html.tags == {"img": 2, "form": 1, "input": 1, "p": 1}
    assert (html.image_count, html.has_form, html.has_script) == (2, True, True)
    assert render("<script>x</script>").has_script
    assert render('<a href="JavaScript:x()">').has_script
    assert not render("<p only=x>").has_script


def test_limits_are_defects() -> None:
    assert render("x" * MAX_CHARACTERS).defects == ()
    assert render("x" * (MAX_CHARACTERS + 1)).defects == ("HTML_TOO_LONG",)
    assert render("<i>x" * 300).defects == ("HTML_TOO_DEEP",)
    assert render("<img src=x>" * MAX_LINKS).defects == ()
    many = render("<img src=x>" * (MAX_LINKS + 1))
    assert many.defects == ("HTML_TOO_MANY_LINKS",)
    assert len(many.links) == MAX_LINKS
    assert render("<i></i>" * 160_000).defects == ("HTML_TOO_LONG",)


@pytest.mark.parametrize(
    "markup",
    [
        "<div>" * 50_000,
        "<div>" * 50_000 + "</div>" * 50_000,
        "<b>" * 250 + "<p>" * 100_000,
        "<div>" + "<b>" * 250 + "</i>" * 200_000,
        "<p " + " ".join(f"a{i}=b" for i in range(50_000)) + ">",
        "<p " + "x " * 200_000 + ">",
        "&" * 500_000,
        "&amp" * 300_000,
        "&#" + "9" * 500_000 + ";",
        "<!--" * 200_000,
        "<!-" * 300_000,
        "<" * 500_000,
        "<a href=" * 100_000,
        "<a href=x>" * 100_000,
        '<p style="' + "color:" * 100_000 + '">',
        '<p style="' + "/*" * 100_000 + '">',
        "<table><tr><td>" * 30_000,
        "<noscript>" * 100_000,
        "<script>" * 100_000,
        "<base href=http://b.example/>" + "<a href=y/../>" * 50_000,
        " \n" * 500_000,
        "<br> " * 100_000,
        "<![CDATA[" * 100_000,
        "<font color=white>" * 50_000 + "x",
    ],
    ids=lambda markup: markup[:18],
)
def test_linear_on_hostile_markup(markup: str) -> None:
    started = time.process_time()
    render(markup)
    assert time.process_time() - started < 2.0
