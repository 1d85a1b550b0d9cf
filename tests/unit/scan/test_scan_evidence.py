"""scan/evidence.py: every line that checks and authentication write of a message can be read back."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from gateway.checks import ENVELOPE_CHECKS, mime
from gateway.checks.dns_list import _SUBJECTS
from gateway.checks.new_domain import NewDomain
from gateway.checks.origin import Origin
from gateway.checks.virus import Virus
from gateway.ports import EnvelopeCheck
from gateway.scan.evidence import auth_text, evidence_text
from gateway.scan.wording import Tongue
from gateway.types import Client, Finding, Message, ScannerAnswer
from tests.builders import mail, message_bytes
from tests.check_case import findings_of, load_cases
from tests.fakes import FakeResolver, Zones

GATEWAY = Path(__file__).parents[3] / "gateway"
METHODS = ("iprev", "spf", "dkim", "arc", "dmarc")


@pytest.mark.parametrize(
    ("name", "line", "is_known"),
    [
        ("URL_DOMAIN_NEW", "link to x.example, a domain first seen here less than a day ago", True),
        ("MONEY_WON", "link to x.example, a domain first seen here less than a day ago", False),
        ("URL_DOMAIN_NEW", "link to , a domain first seen here less than a day ago", False),
        ("URL_DOMAIN_NEW", "link to a domain first seen here less than a day ago", False),
        ("URL_DOMAIN_NEW", "", False),
        ("DKIM_NONE", "no signature", True),
        ("DKIM_NONE", "no signature at all", False),
        ("DKIM_INVALID", "the signature lacks d=", True),
        ("REPLY_TO_FREEMAIL", "from a.example, but answers go to b@c.example", True),
        ("HTML_IMAGE_ONLY", "pictures and only 0 characters of text", True),
        ("HTML_IMAGE_ONLY", "pictures and only few characters of text", False),
        ("SPF_HELO_FAIL", "192.0.2.1 is not permitted by x.example, by -all", True),
        ("PERSON_NAME_FREEMAIL", "“%(person)s” is Sara, but this comes from %s@x.example", True),
        ("LOOKALIKE_TWIN", "From: yοur.com looks exactly like your partner's domain your.com", True),
        ("LOOKALIKE_NAME", "From: دربان.ایران is spelt in other letters than your domain darban.ir", True),
        ("LOOKALIKE_LINK", "x.example is close to your domain y.example: two letters differ", True),
        ("LOOKALIKE_LINK", "x.example looks like your domain y.example: “” for “-”", True),
        ("FROM_ENCODED", "Sara <sara@example.org>", False),
        ("DNSBL_ZEN", "the client 192.0.2.1 is on zen (127.0.0.2)", True),
        ("DNSBL_ZEN", "the client 192.0.2.1 is on zen (yes)", False),
        ("MONEY_WON", "the client 192.0.2.1 is on zen (127.0.0.2)", False),
    ],
)
def test_lines_of_evidence(name: str, line: str, is_known: bool) -> None:
    assert evidence_text(name, line) == (line if is_known else "")


# --- evidence -------------------------------------------------------------------------------------------------------

NOT_OF_THE_MESSAGE = re.compile(  # a date as numbers, methods, and whom a case's `person:` names
    r"[\d -]+:\d\d|(?:spf|dkim|dmarc|, )+|(?:Sara Rahimi \(finance\)|علیرضا محمدی \(director\)), [\w.]+@example\.ir"
)


def is_quoted(piece: str, message: Message) -> bool:
    """It is a word, such as an address or a domain, or stands in the message."""
    boxes = (*message.author, *message.reply_to)
    texts = [
        message.subject,
        message.hidden_text,
        *(one.text for one in message.fields),
        *(box.display_name for box in boxes),
    ]
    texts += [name for part in message.parts for name in (part.filename, part.other_filename)]
    return " " not in piece or any(piece.strip("“”'") in text for text in texts)


def english_left(found: Finding, message: Message) -> Iterator[str]:
    """Lines, and what stands in them as a stranger's, that are neither told nor quoted."""
    for line in found.evidence:
        pieces: list[str] = []

        def shown(piece: str, pieces: list[str] = pieces) -> str:
            pieces.append(piece)
            return piece

        told = evidence_text(found.name, line, Tongue(shown=shown))
        for piece in pieces if told == line else [line]:
            if not is_quoted(piece, message) and not NOT_OF_THE_MESSAGE.fullmatch(piece):
                yield f"{found.name}: {piece!r} in {line!r}"


def test_all_that_the_checks_say_has_sentences() -> None:
    """Every finding is in a case (test_checks_cases.py), so a check without sentences for its words fails here."""
    cases = [(case.mail.message, findings_of(case.mail, case.checks)) for case in load_cases()]
    assert [text for message, findings in cases for found in findings for text in english_left(found, message)] == []


class AllNew:
    """A memory in which every domain is new."""

    async def lookup_new(self, domains: Sequence[str]) -> frozenset[str]:
        return frozenset(domains)


class AllKnown:
    """A scanner that knows everything."""

    async def scan(self, _content: bytes) -> ScannerAnswer:
        return ScannerAnswer("Win.Test.EICAR_HDB-1")


@pytest.mark.parametrize(
    ("check", "zones"),
    [
        (Origin(), {"example.org": {"MX": ["0 ."]}}),
        (Origin(), {"www.example.org": {"A": ["192.0.2.1"]}}),
        (Origin(), {}),
        (NewDomain(AllNew()), {}),
        (Virus(AllKnown()), {}),
    ],
)
async def test_all_that_the_checks_with_a_dns_say_has_sentences(check: EnvelopeCheck, zones: Zones) -> None:
    seen = mail(message_bytes("http://a.new.example/ http://xn--mgbaam7a8h.example/\r\n"), reverse_path="a@example.org")
    (found,) = await check.check(seen, FakeResolver(zones))
    assert isinstance(found, Finding)
    assert [evidence_text(found.name, line) for line in found.evidence] == [*found.evidence]
    assert {type(one) for one in ENVELOPE_CHECKS} == {Origin, NewDomain, Virus}


def test_all_that_dns_lists_say_has_sentences() -> None:
    content = "Received: from a.com (a.com [8.8.8.8]) by b.com\r\nFrom: a@a.com\r\n\r\nhttp://b.com/ http://8.8.8.8/"
    seen = mail(content.encode(), client=Client("8.8.8.8", helo="mx.a.com"), reverse_path="a@a.com")
    lines = [f"{one.words} is on zen (127.0.0.2)" for of in _SUBJECTS.values() for one in of(seen)]
    assert len(set(lines)) == 7
    assert [evidence_text("DNSBL_ZEN", line) for line in lines] == lines


@pytest.mark.parametrize("line", mime._CUT.values())
def test_all_that_is_cut_short_has_a_sentence(line: str) -> None:
    assert evidence_text("MESSAGE_CUT_SHORT", line) == line


# --- reasons of authentication --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "reason", "is_known"),
    [
        ("spf", "192.0.2.1 is not permitted by x.example, by -all", True),
        ("spf", '192.0.2.1 is not permitted by x.example, by -all; y.example says: "Go; z.example says: \'no\'"', True),
        ("spf", "Temporary Error: DNS timeout for x.example TXT", True),
        ("spf", "Permanent Error: No valid SPF record for included domain: x.example: include:x.example", True),
        ("spf", "Permanent Error: what pyspf says tomorrow", True),
        ("dkim", "signed by x.example (rsa-sha256, 1024 bits, a key in test)", True),
        ("dkim", "the signature does not match the header, a key in test", True),
        ("dkim", "a Content-Type field is not signed, and there are two", True),
        ("dkim", "192.0.2.1 is not permitted by x.example, by -all", False),
        ("dkim", "signed", False),
        ("arc", "sealed by a.example, before it by b.example, c.example and others", True),
        ("arc", "sealed by a.example. a.example, a trusted sealer, recorded dmarc=pass for x.example", True),
        ("arc", "the seal of a.example: the key k._domainkey.a.example could not be looked up (servfail)", True),
        ("arc", "instance 2: the ARC-Seal lacks cv=", True),
        ("dmarc", "neither SPF nor DKIM passes for x.example, but a.example, a trusted sealer, recorded dkim=pass for x.example", True),
        ("dmarc", "not evaluated", True),
        ("dmarc", "", False),
        ("unheard", "the DNS took too long", False),
    ],
)  # fmt: skip
def test_reasons(method: str, reason: str, is_known: bool) -> None:
    assert auth_text(method, reason) == (reason if is_known else "")


def test_what_a_domain_says_is_a_strangers() -> None:
    said = 'x.example says: "sealed by y.example. y.example, a trusted sealer, recorded dmarc=pass for x.example"'
    reason = f"192.0.2.1 is not permitted by x.example, by -all; {said}"
    assert auth_text("spf", reason, Tongue(shown=lambda text: f"[{text}]")) == (
        "[192.0.2.1] is not permitted by [x.example], by [-all]; [x.example] says: "
        '"[sealed by y.example. y.example, a trusted sealer, recorded dmarc=pass for x.example]"'
    )


FRAMES = (  # in which a piece stands that is no reason by itself
    "{}",
    "Temporary Error: {}",
    "Permanent Error: {}",
    "Permanent Error: {}: x",
    "the seal of x: {}",
    "a x field is not signed, and {}",
    "there {} x of instance 7",
    "x, a trusted sealer, recorded {}",
    "sealed by x. {}",
    "sealed by x. x, a trusted sealer, recorded {}",
    "sealed by x. {} dmarc=pass for x",
)
VALUES = ("7", "x", "another is", "is no", "DNS x for x x", "dmarc=pass for x")
ADDITIONS = frozenset(("test", "term"))  # names of values that may be ""


def written_in(module: str) -> Iterator[tuple[str, ...]]:
    """Of each sentence in a module's source: how it may read, all its values being one of VALUES."""
    tree = ast.parse((GATEWAY / "auth" / f"{module}.py").read_text())
    parents = {child: parent for parent in ast.walk(tree) for child in ast.iter_child_nodes(parent)}
    for node in ast.walk(tree):
        if isinstance(parents.get(node), ast.Expr | ast.JoinedStr | ast.Attribute):
            continue  # a docstring, a piece of another, words to be split
        if isinstance(node, ast.JoinedStr):
            text = "".join(map(piece_of, node.values))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = re.sub(r"\{(\w+)\}", lambda place: "" if place[1] in ADDITIONS else "{}", node.value)
        else:
            continue
        if " " in text and len(re.findall("[A-Za-z]{2,}", text)) > 1 and text[0] not in " ," and "|" not in text:
            yield tuple(text.replace("{}", value) for value in VALUES)


def piece_of(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    assert isinstance(node, ast.FormattedValue)
    if isinstance(node.value, ast.IfExp) and isinstance(node.value.body, ast.Constant):
        return str(node.value.body.value)
    return "" if isinstance(node.value, ast.Name) and node.value.id in ADDITIONS else "{}"


def is_read(text: str) -> bool:
    """As a reason of some method, of which no words stay English."""
    pieces: list[str] = []
    tongue = Tongue(shown=lambda piece: pieces.append(piece) or piece)  # type: ignore[func-returns-value]
    for method in METHODS:
        pieces.clear()
        if auth_text(method, text, tongue) and all(" " not in piece or piece in VALUES for piece in pieces):
            return True
    return False


@pytest.mark.parametrize("module", ["iprev", "spf", "dkim", "key", "arc", "dmarc", "author", "trust"])
def test_every_sentence_of_authentication_is_known(module: str) -> None:
    written = [*written_in(module)]
    unknown = [one[0] for one in written if not any(is_read(frame.format(text)) for text in one for frame in FRAMES)]
    assert (unknown, len(written) > 3) == ([], True)
