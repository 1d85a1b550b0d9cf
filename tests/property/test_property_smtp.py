"""Paths by the grammar of RFC 5321 §4.1.2 with RFC 6531 §3.3: each that it allows is read, and what is read is one."""

from __future__ import annotations

import re
import string

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.listeners.command import Path, is_relay_trick, parse_bdat, parse_helo, parse_path

LET_DIG = string.ascii_letters + string.digits
UTF8 = st.characters(min_codepoint=0xA1, exclude_categories=("Cs", "Cn", "Cc", "Cf", "Zs", "Zl", "Zp", "Co"))
ATEXT = st.one_of(st.sampled_from(LET_DIG + "!#$%&'*+-/=?^_`{|}~"), UTF8)
DOT_STRING = st.lists(st.text(ATEXT, min_size=1, max_size=8), min_size=1, max_size=4).map(".".join)
QTEXT = st.one_of(st.sampled_from([chr(one) for one in range(32, 127) if chr(one) not in '"\\']), UTF8)
QUOTED_PAIR = st.sampled_from([f"\\{chr(one)}" for one in range(32, 127)])
QUOTED_STRING = st.lists(st.one_of(QTEXT, QUOTED_PAIR), max_size=12).map(lambda parts: f'"{"".join(parts)}"')
LABEL = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9-]{0,10}[A-Za-z0-9])?", fullmatch=True).filter(
    lambda one: one[2:4] != "--"  # RFC 5890 §2.3.1: reserved, and "xn--" is a language of its own
)
DOMAIN = st.lists(LABEL, min_size=1, max_size=4).map(".".join)
LITERAL = st.one_of(st.ip_addresses(v=4).map(lambda ip: f"[{ip}]"), st.ip_addresses(v=6).map(lambda ip: f"[IPv6:{ip}]"))
ROUTE = st.lists(DOMAIN, min_size=1, max_size=3).map(lambda hops: ",".join(f"@{hop}" for hop in hops) + ":")
PARAMETER = st.tuples(
    st.from_regex(r"[A-Za-z0-9][A-Za-z0-9-]{0,8}", fullmatch=True),
    st.from_regex(r"(=[!-<>-~]{1,10})?", fullmatch=True),
).map("".join)


@given(
    st.sampled_from(["FROM", "from", "To", "TO"]),
    st.one_of(st.just(""), ROUTE),
    st.one_of(DOT_STRING, QUOTED_STRING),
    st.one_of(DOMAIN, LITERAL),
    st.lists(PARAMETER, max_size=3, unique_by=lambda one: one.partition("=")[0].upper()),
)
@example("FROM", "", '"a>b<c"', "example.org", [])
@example("TO", "@a.example,@b.example:", '"\\"@\\""', "[IPv6:2001:db8::1]", [])
def test_what_the_grammar_allows_is_read(
    keyword: str, route: str, local: str, domain: str, parameters: list[str]
) -> None:
    argument = " ".join([f"{keyword}:<{route}{local}@{domain}>", *parameters])
    path = parse_path(argument, keyword.upper())
    assert path is not None, argument
    assert (path.local, path.domain) == (local, domain.lower())
    assert path.address == f"{local}@{domain.lower()}"
    expected = {name.upper(): value for name, _, value in (one.partition("=") for one in parameters)}
    assert path.parameters == expected


# As read, so that it can be shown: dots where they like to stand and "_" in domains are in real addresses
WORD = re.compile(r'[^\x00-\x20\x7f()<>@,;:\\"\[\]]+|"(?:[^"\\\x00-\x1f\x7f]|\\[\x20-\x7e])*"')
NAME = re.compile(r"[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_-])?|\[[0-9a-fipv.:]+\]")
HOSTILE = st.lists(
    st.sampled_from([*"<>@:,;.\"\\[]()%! \t", "\x00", "\x7f", "\u2028", "\uff20", "\u3002", "a", "b.example", "IPv6:", "::1", "1.2.3.4", "xn--", "\udcff"]),
    max_size=16,
).map("".join)  # fmt: skip


@given(st.one_of(HOSTILE, st.text(max_size=40)), st.sampled_from(["FROM", "TO"]))
def test_what_is_read_is_a_path(text: str, keyword: str) -> None:
    for argument in (
        f"{keyword}:{text}",
        f"{keyword}:<{text}>",
        f"{keyword}:<a@{text}>",
        f"{keyword}:<{text}@b.example>",
    ):
        path = parse_path(argument, keyword)
        if path is None or not path.domain:
            continue
        assert WORD.fullmatch(path.local), path
        assert NAME.fullmatch(path.domain), path
        assert path.address.encode()  # no lone surrogate
        if not is_relay_trick(path):
            assert not set("%!@") & set(path.local)


@pytest.mark.parametrize(
    "argument",
    [
        "TO:<a@[999.1.1.1]>", "TO:<a@[1.2.3]>", "TO:<a@[IPv6:::::]>", "TO:<a@[IPv6:1.2.3.4]>", "TO:<a@[::1]>", "TO:<a@[tag:x]>",
        "TO:<a@b.example]>", 'TO:<"a@b.example>', 'TO:<a"b"@b.example>', 'TO:<"a"b@b.example>', "TO:<a b@b.example>",
        "TO:<a@b example>", "TO:<a@b.example>>", "TO:<a@b.example>x", "TO:<a@-b.example>", "TO:<a@b..example>", "TO: a@b.example",
        "TO <a@b.example>", "TO:<@b.example:>", "TO:<@:a@b.example>", "TO:<a@b.example> A=B=C", "TO:<a@b.example> A A",
        "TO:<a@b.example> =", "TO:<a@b.example>\tA=\x01", "TO:<a@" + "b" * 64 + ".example>", "TO:<" + "a" * 257 + "@b.example>",
        "TO:<a@" + "b." * 127 + "example>",
    ],
)  # fmt: skip
def test_what_is_no_path_is_refused(argument: str) -> None:
    assert parse_path(argument, "TO") is None


def test_a_long_path_takes_linear_time() -> None:
    for text in (
        '"' * 100_000,
        '"\\' * 50_000,
        "<" * 100_000,
        "@" * 100_000,
        "a." * 50_000,
        "@a:" * 30_000,
        "\\" * 100_000,
    ):
        for argument in (f"TO:<{text}", f"TO:<{text}>", f"TO:<{text}@b.example>", f"TO:<@{text}:a@b.example>"):
            parse_path(argument, "TO")
            parse_helo(text)
            parse_bdat(text)


@given(st.integers(0, 10**20 - 1), st.sampled_from(["", " LAST", " last", "  Last"]))
def test_chunk_sizes(size: int, last: str) -> None:
    assert parse_bdat(f"{size}{last}") == (size, bool(last))


def test_a_path_is_what_it_says() -> None:
    assert parse_path('TO:<"a@b"@example.org>', "TO") == Path('"a@b"@example.org', '"a@b"', "example.org", {})
