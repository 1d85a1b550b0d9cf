"""What is fuzzed: name -> what must not fail for any bytes, and bytes to begin with."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import authres

from gateway.auth.author import read_author
from gateway.errors import ConfigError, DarbanError
from gateway.mail import decode_body, parse
from gateway.mail.authentication_results import may_be_of
from gateway.mail.authentication_results import parse as parse_results
from gateway.mail.edit import edit_header, inbound_field_to_strip, to_crlf
from gateway.mail.html import render
from gateway.mail.summary import summarise
from gateway.rules import expression
from gateway.rules.reader import read
from tests.fuzz.test_mail_fuzz import DICTIONARY, SEEDS

ROOT = Path(__file__).parent.parent.parent
CRASHES = Path(__file__).parent / "crashes"


class Target(NamedTuple):
    run: Callable[[bytes], None]
    seeds: Callable[[], Iterable[bytes]]
    max_bytes: int = 4096


def mail(content: bytes) -> None:
    """Invariant: any bytes give a Message that can be written; an edit keeps the body."""
    parsed = parse(content)
    for part in parsed.parts:
        decode_body(part)
    (parsed.text + parsed.hidden_text + parsed.subject).encode()
    assert len(set(parsed.links)) == len(parsed.links)
    summarise(parsed)
    author = read_author(parsed)
    assert bool(author.domain) != bool(author.problem)
    edited = edit_header(
        content, lambda name, raw: inbound_field_to_strip(name, raw, "mx.example.ir"), [b"X-New: x\r\n"]
    )
    again = parse(edited)
    assert again.raw[again.body_offset :] == content[parsed.body_offset :]
    assert len(parse(to_crlf(content)).fields) == len(parsed.fields)


def html(content: bytes) -> None:
    """Invariant: any text is rendered, without NUL and with links that lead somewhere."""
    found = render(content.decode("utf-8", "replace"))
    assert "\0" not in found.text + found.hidden_text
    assert all(link.url for link in found.links)


def rules(content: bytes) -> None:
    """Invariant: any file is read, what is not understood is a problem with its place; or it is refused by name."""
    with tempfile.TemporaryDirectory() as folder, suppress(ConfigError):
        file = Path(folder) / "fuzz.cf"
        file.write_bytes(content)
        for problem in read([file]).problems:
            str(problem)


def expressions(content: bytes) -> None:
    """Invariant: an expression is read and evaluated to a number, or refused by name."""
    try:
        node = expression.parse(content.decode("utf-8", "replace"))
    except (DarbanError, ValueError):
        return
    names = expression.names(node)
    for value in (0.0, 1.0, -2.5):
        float(expression.evaluate(node, dict.fromkeys(names, value)))


def results(content: bytes) -> None:
    """Invariant: any Authentication-Results is read; what a strict reader takes for ours is taken for ours."""
    value = content.decode("utf-8", "replace")
    parse_results(value)
    is_taken = may_be_of(value, ["mx.example.ir"], ["bank.example"])
    try:
        theirs = authres.AuthenticationResultsHeader.parse_value(value.replace("\r", "").replace("\n", ""))
    except Exception:
        return
    claimed = str(theirs.authserv_id).lower()
    assert is_taken or (claimed != "mx.example.ir" and not f".{claimed}".endswith(".bank.example"))


TARGETS: dict[str, Target] = {
    "mail": Target(mail, lambda: (*SEEDS, *DICTIONARY)),
    "results": Target(
        results,
        lambda: [
            b' mx.example.ir 1; spf=pass (c) reason="x" smtp.mailfrom=a@b.example; dkim=fail header.b="a/b="; none',
            b'(a(b\\)) "mx.example.ir"; iprev=pass policy.iprev="2001:db8::1"; dmarc=pass header.from=bank.example',
        ],
        400,
    ),
    "html": Target(html, lambda: [SEEDS[1], b"<noscript><p>x</noscript><svg><style>a</style></svg><table><a href=x>y"]),
    "rules": Target(
        rules, lambda: [chunk.encode() for file in (ROOT / "rules").glob("*.cf") for chunk in _parts(file.read_text())]
    ),
    "expression": Target(expressions, lambda: [b"A && !(B || C) > 2 + 3 * -D", b"(A + B + C >= 2) && D == 1"], 400),
}


def _parts(text: str) -> list[str]:
    return text.split("\n\n")[:200]
