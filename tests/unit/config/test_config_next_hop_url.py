"""The URL of a server: what is read from it, and what is wrong in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config.next_hop_url import NextHopUrl, parse_next_hop, with_absolute_files
from gateway.errors import ConfigError


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("smtp://a.test:25", NextHopUrl("smtp://a.test:25", False, "a.test", 25)),
        ("smtp://[::1]:2525/", NextHopUrl("smtp://[::1]:2525/", False, "::1", 2525)),
        ("smtp+mx://example.ir", NextHopUrl("smtp+mx://example.ir", False, "example.ir", 25, is_mx=True)),
        ("smtp+mx://example.ir:26", NextHopUrl("smtp+mx://example.ir:26", False, "example.ir", 26, is_mx=True)),
        ("lmtp+unix:/run/l", NextHopUrl("lmtp+unix:/run/l", True, "", 0, "/run/l", tls="none")),
        (
            "lmtp://a:24?tls=verify&ca=/etc/a+b%20c.pem&name=b.test",
            NextHopUrl("lmtp://a:24", True, "a", 24, tls="verify", ca="/etc/a+b c.pem", name="b.test"),
        ),
        (
            "smtp://a:587?tls=verify&user=u@x&password_file=/p&proxy=v2",
            NextHopUrl(
                "smtp://a:587", False, "a", 587, tls="verify", user="u@x", password_file="/p", proxy="v2"
            ),
        ),
    ],
)  # fmt: skip
def test_what_is_read(url: str, expected: NextHopUrl) -> None:
    assert parse_next_hop(url) == expected


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("smtp://a:0", "write smtp://host:port"),
        ("smtp://a:70000", "write smtp://host:port"),
        ("smtp://a:²5", "write smtp://host:port"),
        ("smtp://u:p@a:25", "write smtp://host:port"),
        ("smtp+mx://", "write smtp://host:port"),
        ("smtp://a:25?", "smtp://a:25: "),
        ("smtp://a:25?tsl=verify", "tsl: unknown; there are tls, name"),
        ("smtp://a:25?shown=x", "shown: unknown"),
        ("smtp://a:25?verify", "verify: unknown"),
        ("smtp://a:25?tls=maybe", "tls=maybe: write one of none, opportunistic, required, verify, dane, dane-only"),
        ("smtp://a:25?proxy=v3", "proxy=v3: write v1 or v2"),
        ("lmtp+unix:/l?proxy=v1", "no addresses on a unix socket"),
        ("smtp://a:25?tls=verify&user=x", "user and password_file go together"),
        ("smtp://a:25?user=x&password_file=/p", "the password would go to whoever answers"),
        ("smtp://a:25?key=/k", "key: cert is missing"),
        ("smtp://a:25?ca=/k", "ca: nothing is verified with tls=opportunistic"),
        ("smtp://a:25?name=b&tls=dane", "name: nothing is verified with tls=dane"),
        ("lmtp+unix:/l?tls=verify", "a unix socket has no name"),
    ],
)
def test_faults_are_one_line(url: str, said: str) -> None:
    if url.endswith("?"):
        assert parse_next_hop(url).shown == "smtp://a:25"
        return
    with pytest.raises(ConfigError, match=f"^next_hop {url.partition('?')[0]}".replace("+", r"\+")) as caught:
        parse_next_hop(url)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "absolute"),
    [
        ("smtp://a:25", "smtp://a:25"),
        ("maildir:var/mail", "maildir:/etc/d/var/mail"),
        ("maildir:/var/mail", "maildir:/var/mail"),
        ("smtp://a:25?tls=verify&ca=a%20b.pem", "smtp://a:25?tls=verify&ca=/etc/d/a%20b.pem"),
        ("smtp://a:25?ca=/x.pem&user=a", "smtp://a:25?ca=/x.pem&user=a"),
        ("smtp://a:25?tls", "smtp://a:25?tls"),
    ],
)
def test_files_are_taken_from_the_configurations_folder(url: str, absolute: str) -> None:
    assert with_absolute_files(url, Path("/etc/d")) == absolute
