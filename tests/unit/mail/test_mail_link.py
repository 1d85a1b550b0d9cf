from __future__ import annotations

import time

import pytest

from gateway.mail.link import find_links, host_of


@pytest.mark.parametrize(
    ("text", "urls"),
    [
        ("see http://example.com/a.", ["http://example.com/a"]),
        ("(http://example.com/a)", ["http://example.com/a"]),
        ("http://example.com/a_(b)", ["http://example.com/a_(b)"]),
        ("<https://example.com/?a=b&c=d>", ["https://example.com/?a=b&c=d"]),
        ("HTTPS://Example.com", ["HTTPS://Example.com"]),
        ("ftp://example.com/x, www.example.org!", ["ftp://example.com/x", "http://www.example.org"]),
        ("WWW.Example.org", ["http://WWW.Example.org"]),
        ("http://www.example.org", ["http://www.example.org"]),
        ("awww.example.org me@www.example.org", []),
        ("http:// nothing, www.", []),
        ("gopher://example.com", []),
        ("http://[2001:db8::1]/x", ["http://[2001:db8::1]/x"]),
        ("نشانی http://مثال.ایران/می\u200cخوانم؟ است", ["http://مثال.ایران/می\u200cخوانم"]),
        ("http://example.com/س\u200c، بعد", ["http://example.com/س"]),
        ("http://a.example/x;http://b.example", ["http://a.example/x;http://b.example"]),
        ("İİ WWW.example.org", ["http://WWW.example.org"]),  # lower() would move what follows
        ("“http://example.com/q”", ["http://example.com/q"]),
    ],
)
def test_bare_urls(text: str, urls: list[str]) -> None:
    assert list(find_links(text)) == urls


@pytest.mark.parametrize("unit", ["://", "http://", "www.", "http://)", "http://a ", ")", "www.)))))"])
def test_linear_on_hostile_text(unit: str) -> None:
    started = time.process_time()
    for _ in find_links(unit * (1_000_000 // len(unit))):
        pass
    assert time.process_time() - started < 2.0


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://Example.com:8080/x", "example.com"),
        ("https://user:pw@example.com/", "example.com"),
        ("https://bank.example@evil.example/", "evil.example"),
        ("http://evil.example\\@bank.example/", "evil.example"),
        ("http:\\\\evil.example\\x", "evil.example"),
        ("http:evil.example/x", "evil.example"),
        ("http:////evil.example/x", "evil.example"),
        ("http://example.com.", "example.com"),
        ("http://bücher.example/", "xn--bcher-kva.example"),
        ("http://مثال.ایران/", "xn--mgbh0fb.xn--mgba3a4f16a"),
        ("http://ex%61mple.com/", "example.com"),
        ("http://example.com%2f.evil.example/", "example.com"),
        ("http://example。com/", "example.com"),
        ("http://0x7f.1/", "0x7f.1"),
        ("http://2130706433/", "2130706433"),
        ("http://192.0.2.1:80", "192.0.2.1"),
        ("http://[2001:DB8::1]:80/", "[2001:db8::1]"),
        ("//example.com/x", ""),
        ("mailto:a@example.com", ""),
        ("javascript:alert(1)", ""),
        ("data:text/html,x", ""),
        ("cid:a@b", ""),
        ("tel:+981234", ""),
        ("", ""),
        ("http://", ""),
        ("http://a b/", "a b"),
    ],
)
def test_host_of(url: str, host: str) -> None:
    assert host_of(url) == host
