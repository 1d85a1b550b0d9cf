from __future__ import annotations

import time

import pytest

from gateway.mail.address import MAX_MAILBOXES, domain_of, parse_mailboxes
from gateway.mail.header import read_header


def read(text: str) -> list[tuple[str, str, str]]:
    return [(one.display_name, one.address, one.domain) for one in parse_mailboxes(text)]


@pytest.mark.parametrize(
    ("text", "mailboxes"),
    [
        ("", []),
        (" , ;", []),
        ("a@example.com", [("", "a@example.com", "example.com")]),
        ("<a@Example.COM>", [("", "a@Example.COM", "example.com")]),
        ("Ann Lee <a@example.com>", [("Ann Lee", "a@example.com", "example.com")]),
        ('"Lee, Ann" <a@example.com>', [("Lee, Ann", "a@example.com", "example.com")]),
        ('"Ann \\"A\\" Lee" <a@example.com>', [('Ann "A" Lee', "a@example.com", "example.com")]),
        ("a@example.com (Ann (A) Lee)", [("Ann (A) Lee", "a@example.com", "example.com")]),
        ("Ann (home) <a@example.com>", [("Ann", "a@example.com", "example.com")]),
        ("Ann  Lee <a@example.com>", [("Ann Lee", "a@example.com", "example.com")]),
        ("a@x.example ,B <b@y.example>, ", [("", "a@x.example", "x.example"), ("B", "b@y.example", "y.example")]),
        ("a@x.example, (B) b@y.example", [("", "a@x.example", "x.example"), ("B", "b@y.example", "y.example")]),
        ("a@x.example, B <b@y.example>", [("", "a@x.example", "x.example"), ("B", "b@y.example", "y.example")]),
        ("a@x.example; b@y.example", [("", "a@x.example", "x.example"), ("", "b@y.example", "y.example")]),
        ("Team: a@x.example, B <b@y.example>;", [("", "a@x.example", "x.example"), ("B", "b@y.example", "y.example")]),
        ("undisclosed-recipients:;", []),
        ("Re: offer <a@example.com>", [("Re: offer", "a@example.com", "example.com")]),
        ('"quoted local"@example.com', [("", '"quoted local"@example.com', "example.com")]),
        ("<@relay.example:a@example.com>", [("", "a@example.com", "example.com")]),
        ("ceo@bank.example <a@evil.example>", [("ceo@bank.example", "a@evil.example", "evil.example")]),
        ("<a@bank.example> <a@evil.example>", [("<a@bank.example>", "a@evil.example", "evil.example")]),
        ("<a@bank.example@evil.example>", [("", "a@bank.example@evil.example", "evil.example")]),
        ("Ann a@example.com", [("Ann", "a@example.com", "example.com")]),
        ("Ann <a@example.com", [("Ann", "a@example.com", "example.com")]),
        ("a @ example.com", [("", "a@example.com", "example.com")]),
        ("Ann <>", [("Ann", "", "")]),
        ("Ann", [("Ann", "", "")]),
        ("<a@[192.0.2.1]>", [("", "a@[192.0.2.1]", "[192.0.2.1]")]),
        ("a@[IPv6:2001:db8::1], b@x.example", [("", "a@[IPv6:2001:db8::1]", "[ipv6:2001:db8::1]"), ("", "b@x.example", "x.example")]),
        ("<a@bücher.example>", [("", "a@bücher.example", "xn--bcher-kva.example")]),
        ("سارا <a@مثال.ایران>", [("سارا", "a@مثال.ایران", "xn--mgbh0fb.xn--mgba3a4f16a")]),
        ('"Ann <a@example.com>', [("Ann", "a@example.com", "example.com")]),
        ("Ann (open <a@example.com>", [("Ann (open", "a@example.com", "example.com")]),
        ("=?utf-8?Q?Lee,_Ann?= <a@example.com>", [("Lee, Ann", "a@example.com", "example.com")]),
        ('"=?utf-8?B?2LPZhNin2YU=?=" <a@example.com>', [("سلام", "a@example.com", "example.com")]),
        ("=?utf-8?Q?x?= =?utf-8?Q?y?= <a@example.com>", [("xy", "a@example.com", "example.com")]),
    ],
)  # fmt: skip
def test_mailboxes(text: str, mailboxes: list[tuple[str, str, str]]) -> None:
    assert read(text) == mailboxes


def test_an_encoded_bracket_forges_no_mailbox() -> None:
    encoded = "=?utf-8?Q?=3Cceo=40bank.example=3E=2C?= <a@evil.example>"
    assert read(encoded) == [("<ceo@bank.example>,", "a@evil.example", "evil.example")]


def test_a_field_is_read_before_its_encoded_words_are_decoded() -> None:
    content = b"From: =?utf-8?Q?a=40bank.example=2C_b?=\r\n <c@evil.example>\r\n\r\n"
    _, (field,) = read_header(content)
    (mailbox,) = parse_mailboxes(field)
    assert (mailbox.display_name, mailbox.address) == ("a@bank.example, b", "c@evil.example")


def test_the_number_is_bounded() -> None:
    assert len(parse_mailboxes("a@b.example," * 5000)) == MAX_MAILBOXES


@pytest.mark.parametrize(
    "unit", ['"', '\\"', "(", "<", "=?", "=?a?q?", '"\\', "[", " ", "@", " @", ":", "a ", "<a>", "\\(", '"a"@']
)
def test_linear_on_hostile_text(unit: str) -> None:
    started = time.process_time()
    parse_mailboxes(unit * (65536 // len(unit)))
    parse_mailboxes('"' + unit * (65536 // len(unit)))
    assert time.process_time() - started < 1.0


@pytest.mark.parametrize(("address", "domain"), [("a@B.example.", "b.example"), ("a", ""), ("a@", ""), ("a@b c", "")])
def test_domain_of(address: str, domain: str) -> None:
    assert domain_of(address) == domain
