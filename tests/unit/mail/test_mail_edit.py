from __future__ import annotations

import time

import pytest

from gateway.mail import parse
from gateway.mail.edit import edit_header, format_field, inbound_field_to_strip, to_crlf
from gateway.mail.header import MAX_FIELDS, split_header

OURS = "mx.example.ir"


def is_spam_field(name: str, raw: bytes) -> bool:
    return name.lower().startswith("x-spam")


@pytest.mark.parametrize(
    ("content", "edited"),
    [
        (b"A: 1\r\nX-Spam: y\r\n z\r\nB: 2\r\n\r\nX-Spam: body", b"A: 1\r\nB: 2\r\n\r\nX-Spam: body"),
        (b"A: 1\nX-SPAM : y\n\tz\nB: 2\n\nbody", b"A: 1\nB: 2\n\nbody"),
        (b"A: 1\rX-Spam: y\rB: 2\r\rbody", b"A: 1\rB: 2\r\rbody"),
        (b"X-Spam: y", b""),
        (b"\r\nX-Spam: body", b"\r\nX-Spam: body"),
        (b"", b""),
        (b"A: 1\nno field here\nX-Spam: y\n\nbody", b"A: 1\n\nbody"),  # it was header for that field's sake alone
        (b"A: 1\nno field here\nTo: 2\nX-Spam: y\n\nbody", b"A: 1\nno field here\nTo: 2\n\nbody"),
        (b"X-Spam: y\nFrom a\n", b"\r\nFrom a\n"),
        (b"A: 1\rX-Spam: y\n\nbody", b"A: 1\r\n\nbody"),  # the bare CR would swallow the empty line
        (b"A: 1\nDear you,\n\nX-Spam: body", b"A: 1\nDear you,\n\nX-Spam: body"),
    ],
)
def test_fields_are_removed_and_nothing_else(content: bytes, edited: bytes) -> None:
    assert edit_header(content, is_spam_field, ()) == edited


@pytest.mark.parametrize(
    ("content", "edited"),
    [
        (b"A: 1\r\n\r\nbody", b"N: x\r\nA: 1\r\n\r\nbody"),
        (b"\r\nbody", b"N: x\r\n\r\nbody"),
        (b"", b"N: x\r\n"),
        (b" evil=pass\r\nTo: 1\r\n\r\nbody", b"N: x\r\nTo: 1\r\n\r\nbody"),  # it would continue our field
        (b"From a@b Mon\nA: 1\n\nbody", b"N: x\r\nA: 1\n\nbody"),  # it would end the header
        (b"no field\nat all", b"N: x\r\n\r\nno field\nat all"),
        (b" no field\nat all", b"N: x\r\n\r\n no field\nat all"),
        (b"A: 1\nDear you,\n\nbye", b"N: x\r\nA: 1\n\r\nDear you,\n\nbye"),
    ],
)
def test_fields_are_put_on_top(content: bytes, edited: bytes) -> None:
    assert edit_header(content, is_spam_field, [b"N: x\r\n"]) == edited
    assert parse(edited).raw[parse(edited).body_offset :] == content[parse(content).body_offset :]


def test_what_nobody_looked_at_is_not_sent_on() -> None:
    content = b"A: 1\n" * MAX_FIELDS + b"X-Spam: y\n\nbody"
    assert edit_header(content, is_spam_field, ()) == b"A: 1\n" * MAX_FIELDS + b"\nbody"


@pytest.mark.parametrize(
    ("name", "value", "raw"),
    [
        ("X", "short", b"X: short\r\n"),
        ("X", "", b"X: \r\n"),
        ("X", "a\r\nEvil: b", b"X: a Evil: b\r\n"),
        ("X", "a\nEvil: b\0", b"X: a Evil: b \r\n"),
        ("X: a\r\nEvil", "b", b"XaEvil: b\r\n"),
        ("X", "سلام", "X: سلام\r\n".encode()),
        ("X", "half \ud800", b"X: half ?\r\n"),
    ],
)
def test_format_field(name: str, value: str, raw: bytes) -> None:
    assert format_field(name, value) == raw


@pytest.mark.parametrize(
    "value",
    [
        "word " * 100,
        "x" * 5000,
        "س" * 5000,
        " " * 500 + "x",
        ("y" * 70 + "  ") * 9,
        "a" + " " * 300 + "b",
        "\t\x0b" * 200,
    ],
)
def test_format_field_folds_into_one_field(value: str) -> None:
    raw = format_field("X-Long", value)
    header = split_header(raw + b"\r\nbody")
    assert [(name, end) for name, _, end in header.pieces] == [("X-Long", len(raw))]
    lines = raw.split(b"\r\n")[:-1]
    assert all(len(line) <= 998 and line.strip() for line in lines)
    assert b"\r" not in raw.replace(b"\r\n", b"")
    assert b"\n" not in raw.replace(b"\r\n", b"")


def test_words_are_kept_and_lines_are_short() -> None:
    raw = format_field("X", "word " * 100)
    assert raw.replace(b"\r\n", b"").split() == [b"X:", *[b"word"] * 100]
    assert max(map(len, raw.split(b"\r\n"))) <= 78


@pytest.mark.parametrize(
    ("content", "crlf"),
    [
        (b"a\r\nb\r\n", b"a\r\nb\r\n"),
        (b"a\nb\rc\r\nd", b"a\r\nb\r\nc\r\nd"),
        (b"a\r\r\nb", b"a\r\nb"),
        (b"a\nb\n\n", b"a\r\nb\r\n\r\n"),
        (b"a\n\rb", b"a\r\n\r\nb"),
        (b"a\r\rb", b"a\r\n\r\nb"),
        (b"a", b"a"),
        (b"", b""),
    ],
)
def test_to_crlf(content: bytes, crlf: bytes) -> None:
    assert to_crlf(content) == crlf


@pytest.mark.parametrize(
    "name", ["X-Spam-Flag", "x-spam-status", "X-Spam", "X-Darban-Id", "X-MS-Exchange-Organization-SCL"]
)
def test_names_that_are_stripped(name: str) -> None:
    assert inbound_field_to_strip(name, name.encode() + b": x", OURS)


@pytest.mark.parametrize(
    "name", ["Subject", "X-Spammer", "X-Mailer", "Received", "ARC-Authentication-Results", "X-MS-Exchange-Org"]
)
def test_names_that_stay(name: str) -> None:
    assert not inbound_field_to_strip(name, name.encode() + b": mx.example.ir; x", OURS)


@pytest.mark.parametrize(
    "value",
    [
        b" mx.example.ir; spf=pass",
        b"mx.example.ir",
        b" MX.Example.IR.; spf=pass",
        b" mx.example.ir 1; spf=pass",
        b" mx.example.ir/1; spf=pass",
        b'\r\n "mx.example.ir" ; spf=pass',
        b' "mx.\\example.ir"; spf=pass',
        b' "mx.example.ir; spf=pass',
        b" (a (nested) comment)\r\n\t(and) mx.example.ir; spf=pass",
        b" (never closed mx.example.ir",
        b" mx.example.ir(x); spf=pass",
        b" mx.example.ir\0; spf=pass",
        b" =?utf-8?Q?mx.example.ir?=; spf=pass",
        b" mx.(c)example.ir; spf=pass",
        b" mx.example.(c (d) e)ir (f) 1; spf=pass",
        b" mx.\r\n example.ir; spf=pass",
        b' mx."example".ir; spf=pass',
        b" mx.exam\\ple.ir; spf=pass",
        " mx.exam\u200bple.ir; spf=pass".encode(),
        "\uff4d\uff58.example.ir; spf=pass".encode(),  # full-width letters, which IDNA maps
        b" (" + b"x" * 50_000 + b") mx.example.ir; spf=pass",
        b" " * 50_000 + b"mx.example.ir; spf=pass",
        b' "' + b" " * 50_000 + b'mx.example.ir"; spf=pass',
        # these name nobody
        b"",
        b" ;",
        b" ; spf=pass",
        b" spf=pass smtp.mailfrom=bank.example; dkim=pass",
        b' ""; spf=pass',
    ],
)
def test_authentication_results_in_our_name_are_stripped(value: bytes) -> None:
    assert inbound_field_to_strip("authentication-results", b"Authentication-Results:" + value, OURS)


@pytest.mark.parametrize(
    ("authserv_id", "is_stripped"),
    [
        ("mail.bank.example", True),
        ("bank.example", True),
        ("MAIL.Bank.Example.", True),
        ("notbank.example", False),
        ("bank.example.net", False),
        ("mail.partner.example", False),
    ],
)
def test_authentication_results_of_hosts_behind_us_are_stripped(authserv_id: str, is_stripped: bool) -> None:
    raw = f"Authentication-Results: {authserv_id}; spf=pass".encode()
    assert inbound_field_to_strip("Authentication-Results", raw, OURS, {"bank.example"}) is is_stripped
    assert not inbound_field_to_strip("ARC-Authentication-Results", b"ARC-" + raw, OURS, {"bank.example"})


@pytest.mark.parametrize(
    "value",
    [
        b" mx.example.com; spf=pass",
        b" evil; mx.example.ir",
        b' "a" mx.example.ir',
        b" xmx.example.ir; none",
        b" mx.example.ir.evil.example; none",
        b" evil (mx.example.ir); none",
        b" mx-example.ir; none",
        b" google.com; dkim=pass (mx.example.ir says)",
    ],
)
def test_authentication_results_of_others_stay(value: bytes) -> None:
    assert not inbound_field_to_strip("Authentication-Results", b"Authentication-Results:" + value, OURS)


def test_our_name_as_an_idn() -> None:
    assert inbound_field_to_strip("Authentication-Results", "x: bücher.example; x".encode(), "xn--bcher-kva.example")


@pytest.mark.parametrize(
    "content", [b"a:\n" * 1_000_000, b"\r" * 1_000_000, b"x\nTo: y\n" * 200_000, b"A: " + b"(" * 1_000_000]
)
def test_linear_on_hostile_headers(content: bytes) -> None:
    started = time.process_time()
    edit_header(content, lambda name, raw: inbound_field_to_strip("authentication-results", raw, OURS), [b"N: x\r\n"])
    to_crlf(content)
    assert time.process_time() - started < 2.0
