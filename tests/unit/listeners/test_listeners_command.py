"""Arguments of commands, the reply line and the queue ids."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.listeners.command import is_relay_trick, parse_helo, parse_path
from gateway.listeners.reply import line, new_queue_id
from gateway.types import Reply


@pytest.mark.parametrize(
    ("argument", "name"),
    [
        ("client.example", "client.example"),
        (" client.example ", "client.example"),
        ("[192.0.2.1]", "[192.0.2.1]"),
        ("[IPv6:2001:db8::1]", "[IPv6:2001:db8::1]"),
        ("localhost_1", "localhost_1"),
        ("مشتری.example", "مشتری.example"),
        ("", None),
        ("two words", None),
        ("a<b>", None),
        ("x" * 256, None),
        ("a\x00b", None),
    ],
)
def test_helo(argument: str, name: str | None) -> None:
    assert parse_helo(argument) == name


@pytest.mark.parametrize(
    ("argument", "address"),
    [
        ("FROM:<sara@example.org>", "sara@example.org"),
        ("from:<sara@EXAMPLE.org>", "sara@example.org"),
        ("FROM: <sara@example.org>", "sara@example.org"),
        ("FROM:<>", ""),
        ("FROM:<Sara.K+tag@example.org>", "Sara.K+tag@example.org"),
        ('FROM:<"sara k"@example.org>', '"sara k"@example.org'),
        ("FROM:<sara@[192.0.2.1]>", "sara@[192.0.2.1]"),
        ("FROM:<sara@[IPv6:2001:db8::1]>", "sara@[ipv6:2001:db8::1]"),
        ("FROM:<@a.example,@b.example:sara@example.org>", "sara@example.org"),
        ("FROM:<sara@example.org> SIZE=1 BODY=8BITMIME", "sara@example.org"),
        ("FROM:<سارا@example.org>", "سارا@example.org"),
        ("FROM:sara@example.org", None),
        ("FROM:<sara@example.org", None),
        ("FROM:<sara>", None),
        ("FROM:<@example.org>", None),
        ("FROM:<sara@>", None),
        ("FROM:<sara@.example.org>", None),
        ("FROM:<sara@a..b>", None),
        ("FROM:<sa ra@example.org>", None),
        ("FROM:<sara@example.org> SIZE=1 SIZE=2", None),
        ("FROM:<sara@example.org> =1", None),
        ("FROM:<sara@example.org>x", None),
        ("FROM:<<sara@example.org>>", None),
        ("FROM:<sara@example.org>\x00", None),
        ("FROM:<\udcff@example.org>", None),
        (f"FROM:<{'a' * 300}@example.org>", None),
        (f"FROM:<a@{'b.' * 200}org>", None),
        ("TO:<sara@example.org>", None),
        ("", None),
    ],
)
def test_reverse_path(argument: str, address: str | None) -> None:
    path = parse_path(argument, "FROM")
    assert (path and path.address) == address if address else (path is None) == (address is None)


def test_postmaster_needs_no_domain() -> None:
    path = parse_path("TO:<Postmaster>", "TO")
    assert path is not None
    assert (path.address, path.domain) == ("postmaster", "")


def test_parameters() -> None:
    path = parse_path("FROM:<a@example.org> size=10 smtputf8", "FROM")
    assert path is not None
    assert path.parameters == {"SIZE": "10", "SMTPUTF8": ""}


@pytest.mark.parametrize(
    ("local", "is_trick"),
    [("you", False), ("you+tag", False), ("a%b", True), ("a!b", True), ('"a@b"', True), ("a-b_c.d", False)],
)
def test_relay_trick(local: str, is_trick: bool) -> None:
    path = parse_path(f"TO:<{local}@darban.test>", "TO")
    assert path is not None
    assert is_relay_trick(path) is is_trick


@given(st.text(max_size=400), st.sampled_from(["FROM", "TO"]))
def test_no_argument_breaks_the_parser(argument: str, keyword: str) -> None:
    for text in (argument, f"{keyword}:{argument}", f"{keyword}:<{argument}>", f"{keyword}:<a@{argument}>"):
        path = parse_path(text, keyword)
        if path is not None and path.address and path.domain:
            assert path.address == f"{path.local}@{path.domain}"
            assert not set(path.address) & set("\r\n\x00<>")
    parse_helo(argument)


@given(st.text(max_size=1000), st.integers(200, 599))
def test_a_reply_is_one_line_whatever_its_text(text: str, code: int) -> None:
    raw = line(Reply(code, "2.0.0", text))
    assert raw.endswith(b"\r\n")
    assert raw.count(b"\r") == raw.count(b"\n") == 1
    assert len(raw) <= 512  # RFC 5321 §4.5.3.1.5
    assert raw.isascii()


def test_queue_ids_are_in_the_order_of_time_and_never_the_same() -> None:
    ids = [new_queue_id() for _ in range(2000)]
    assert all(len(one) == 14 and one.isalnum() and one.isupper() for one in ids)
    assert [one[:9] for one in ids] == sorted(one[:9] for one in ids)
    assert len(set(ids)) == 2000
