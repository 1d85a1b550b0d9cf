"""rules/uri.py: what counts as a URI, and the forms it is seen in."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rules.reader import read
from gateway.rules.uri import UriReader

FILE = r"""
util_rb_tld com org ir
redirector_pattern m'^https?:/*(?:\w+\.)?google\.com/url\?.*?(?<=[?&])q=(.*?)(?:$|[&\#])'i
"""


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> UriReader:
    path: Path = tmp_path_factory.mktemp("rules") / "t.cf"
    path.write_text(FILE)
    return UriReader(read([path]))


@pytest.mark.parametrize(
    ("text", "uris"),
    [
        ("see http://a.org/x.", "http://a.org/x"),
        ("(http://a.org/x)", "http://a.org/x"),
        ("http://a.org/x_(y)", "http://a.org/x_(y"),
        ("www.a.org/x", "http://www.a.org/x"),
        ("ftp.a.org", "ftp://ftp.a.org"),
        ("a.org", "http://a.org"),
        ("write to sara@a.org, now", "mailto:sara@a.org"),
        ("mail:sara@a.org", "mailto:sara@a.org"),
        ("e.g. file.txt and a.nowhere", ""),
        ("http://a.nowhere/x", ""),
        ("http://192.0.2.1/x", "http://192.0.2.1/x"),
        ("at http://3221225985/x", "http://3221225985/x http://192.0.2.1/x"),
        ("sara@a.nowhere", ""),
        ("[cid:image.png@01D4.E3.org]", ""),
        ("قیمت:https://a.ir/x", "https://a.ir/x"),
        ("twice a.org a.org", "http://a.org"),
    ],
)
def test_in_text(reader: UriReader, text: str, uris: str) -> None:
    assert set(reader.read((), text)) == set(uris.split())


@pytest.mark.parametrize(
    ("linked", "form"),
    [
        ("http://%61.org/%2Fx", "http://a.org//x"),
        ("http://a.org%20/", "http://a.org%20/"),
        ("http:a.org\\x", "http://a.org/x"),
        ("//a.org/X", "//a.org/X"),
        ("a.org/x", "http://a.org/x"),
        ("http://a.org?x", "http://a.org/?x"),
        ("http://a.org/?&#46;&#x2e;&#12290;", "http://a.org/?..."),
        ("http://a.org:80/x", "http://a.org/x"),
        ("http://büro.org/", "http://xn--bro-hoa.org/"),
        ("http://a.org!!/", "http://a.org/"),
        ("http://0xc0.0.02.1/", "http://192.0.2.1/"),
        ("http://0xC0000201/", "http://192.0.2.1/"),
        ("http://3221225985/", "http://192.0.2.1/"),
        ("http://intranet/x", "http://www.intranet.com/x"),
        ("http://a.org/go?to=http://b.com/", "http://b.com/"),
        ("https://www.google.com/url?sa=t&q=b.com/x&z=1", "http://b.com/x"),
        ("mailto:sara@a.org?subject=x", "mailto:sara@a.org"),
    ],
)
def test_forms(reader: UriReader, linked: str, form: str) -> None:
    assert {linked, form} <= set(reader.read((linked,), ""))


def test_a_plain_one_is_itself(reader: UriReader) -> None:
    assert reader.read(("http://a.org/x?y=1", "#top", "?x", "cid:1"), "") == [
        "http://a.org/x?y=1",
        "#top",
        "?x",
        "cid:1",
    ]


def test_without_a_list_of_domains_any_written_scheme_counts() -> None:
    assert UriReader().read((), "http://a.example/ b.com c.txt") == ["http://a.example/", "http://b.com"]


@given(st.text(max_size=200) | st.text("htp:/@.w%&#x0123aoi?()[]\\", max_size=200))
def test_total(reader: UriReader, text: str) -> None:
    assert all(reader.read((text,), text))


@pytest.mark.parametrize(
    "unit", ["a.", "@a", "http://a.org/", "www.", "a@b.", "%41", "http://http://", "&#46;", "a.com:", "(.a", "-.a"]
)
def test_linear(reader: UriReader, unit: str) -> None:
    text = unit * (300_000 // len(unit))
    started = time.process_time()
    reader.read((text,), text)
    reader.read((), " ".join(text[i : i + 1000] + str(i) for i in range(0, 300_000, 1000)))
    assert time.process_time() - started < 2.0
