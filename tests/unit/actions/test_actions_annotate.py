"""actions/annotate.py: what the next hop reads agrees with what it would find itself."""

from __future__ import annotations

import authres
import pytest

from gateway.actions.annotate import annotate, annotate_release, annotate_scanned, fields_on_top
from gateway.auth import dkim
from gateway.auth.seal import Sealer
from gateway.mail import parse
from gateway.types import AuthResult, Envelope, Mta
from tests.builders import envelope, message_bytes, recipient, verdict
from tests.dkim_keys import ed25519_key, rsa_record, sign
from tests.fakes import FakeResolver

KEY = {"s1._domainkey.example.org": {"TXT": [rsa_record()]}}
AUTH = (
    AuthResult("iprev", "pass", "mail.example.org", identity="192.0.2.1"),
    AuthResult("spf", "pass", "example.org", identity="mailfrom", reason="permitted"),
    AuthResult("spf", "fail", "mx.example.net", identity="helo", reason='x says: "(no); dkim=pass"'),
    AuthResult("dkim", "pass", "example.org", "s1", "@example.org"),
    AuthResult("dmarc", "pass", "example.org", policy="reject"),
)
FORGED = (
    "Authentication-Results: mx.darban.test; dmarc=pass header.from=bank.example",
    "Authentication-Results: (c) MX.Darban.Test. 1; dmarc=pass",
    'Authentication-Results :\r\n "mx.darban.test"; dmarc=pass',
    "AUTHENTICATION-RESULTS: mail.darban.test; dmarc=pass",
    "Authentication-Results: dmarc=pass header.from=bank.example",
    "X-Spam-Flag: NO",
    "X-Spam-Score: -99",
    "X-Darban-Id: forged",
    "X-MS-Exchange-Organization-SCL: -1",
)


def where() -> Envelope:
    return envelope(hostname="mx.darban.test")


def values(content: bytes, name: str) -> list[str]:
    return [field.text for field in parse(content).by_name.get(name, ())]


def test_an_mta_puts_the_same_fields_on_top_but_for_received() -> None:
    judged = verdict(6.0, auth=AUTH, incomplete=("dns: timeout",))
    relayed = annotate(where(), message_bytes(), judged, [recipient()], 5.0)
    mta = fields_on_top(where(), message_bytes(), judged, 5.0, Mta("mail.darban.test", "4XyZ"))
    assert all(one.endswith(b"\r\n") and len(parse(one + b"\r\n").fields) == 1 for one in mta)
    ours = [(one.name, one.raw) for one in parse(b"".join(mta) + b"\r\n").fields]
    theirs = [(one.name, one.raw) for one in parse(relayed).fields if one.name != "Received"]
    assert [one for one in ours if one[0] != "X-Darban-Mta"] == theirs[: len(ours) - 1]
    assert ("X-Darban-Mta", b"X-Darban-Mta: mail.darban.test 4XyZ\r\n") in ours
    assert len(fields_on_top(where(), message_bytes(), judged, 5.0, Mta())) == len(mta) - 1


def test_an_mta_puts_our_seal_above_all() -> None:
    judged, content = verdict(1.0, auth=AUTH), message_bytes()
    on_top = fields_on_top(where(), content, judged, 5.0, Mta(), Sealer("darban.test", "s1", ed25519_key()))
    assert [one.partition(b":")[0] for one in on_top[:3]] == [
        b"ARC-Seal", b"ARC-Message-Signature", b"ARC-Authentication-Results",
    ]  # fmt: skip
    assert len(on_top) == 3 + len(fields_on_top(where(), content, judged, 5.0, Mta()))


@pytest.mark.parametrize("is_release", [False, True])
def test_what_is_forged_goes_and_ours_is_alone(is_release: bool) -> None:
    others = "Authentication-Results: mx.elsewhere.example; spf=fail\r\nARC-Authentication-Results: i=1; mx.darban.test; x=y\r\n"
    content = ("\r\n".join(FORGED) + "\r\n" + others).encode() + message_bytes()
    if is_release:
        done = annotate_release(where(), content, AUTH, [recipient()])
    else:
        done = annotate(where(), content, verdict(1.0, auth=AUTH), [recipient()], 5.0)
    ours, theirs = values(done, "authentication-results")
    assert theirs.startswith("mx.elsewhere.example")
    assert b"forged" not in done and b"bank.example" not in done and b"-99" not in done and b"SCL" not in done
    assert len(values(done, "arc-authentication-results")) == 1
    read = authres.AuthenticationResultsHeader.parse_value(ours)
    assert read.authserv_id == "mx.darban.test"
    assert [(one.method, one.result) for one in read.results] == [(one.method, one.result) for one in AUTH]
    spf = [one for one in read.results if one.method == "spf"]
    assert (spf[0].smtp_mailfrom, spf[1].smtp_helo) == ("example.org", "mx.example.net")


@pytest.mark.parametrize("form", [(b"simple", b"simple"), (b"relaxed", b"relaxed")])
@pytest.mark.parametrize("line_end", [b"\r\n", b"\n"])
async def test_the_next_hop_finds_the_signatures_as_we_did(form: tuple[bytes, bytes], line_end: bytes) -> None:
    """Fields are removed and put on top, lines get their CRLF; none of that is what a signature covers."""
    whole = sign(message_bytes("Hello  \r\n\r\n  world\r\n\r\n"), canonicalize=form)
    content = ("\r\n".join(FORGED) + "\r\n").encode() + whole
    content = content.replace(b"\r\n", line_end)
    before = await dkim.evaluate(parse(content), FakeResolver(KEY))
    done = annotate(where(), content, verdict(1.0, auth=before), [recipient()], 5.0)
    after = await dkim.evaluate(parse(done), FakeResolver(KEY))
    assert [one.result for one in before] == [one.result for one in after] == ["pass"]
    assert f"dkim={after[0].result}" in values(done, "authentication-results")[0]


async def test_a_header_that_was_doubted_stays_doubted() -> None:
    """A continuation of nothing is dropped when fields are put above it: the next hop may find more valid than we did,
    never less than we say."""
    content = b" continued\r\n" + sign(message_bytes())
    before = await dkim.evaluate(parse(content), FakeResolver(KEY))
    done = annotate(where(), content, verdict(1.0, auth=before), [recipient()], 5.0)
    assert before[0].result == "policy"
    assert values(done, "authentication-results")[0].startswith("mx.darban.test; dkim=policy")


def test_results_that_are_not_there() -> None:
    done = annotate(where(), message_bytes(), verdict(1.0), [recipient()], 5.0)
    assert values(done, "authentication-results") == ["mx.darban.test; none"]


def test_an_internationalised_name_of_ours_is_written_in_ascii() -> None:
    done = annotate(envelope(hostname="bücher.example"), message_bytes(), verdict(1.0), [recipient()], 5.0)
    assert values(done, "authentication-results") == ["xn--bcher-kva.example; none"]


@pytest.mark.parametrize("newline", [b"\r\n", b"\n"])
@pytest.mark.parametrize("line", [b"", b"From sara@example.org Fri Nov 27 08:00:00 2026"])
def test_what_is_scanned_goes_back_as_it_came_but_for_our_fields(newline: bytes, line: bytes) -> None:
    plain = message_bytes().replace(b"\r\n", newline)
    forged = newline.join(one.replace("\r\n", "\n").encode().replace(b"\n", newline) for one in FORGED) + newline
    start = line + newline if line else b""
    found = annotate_scanned(where(), start + forged + plain, verdict(6.0, auth=AUTH), 5.0)
    assert found.startswith(start + b"X-Spam-Flag: YES" + newline)
    assert found.endswith(plain)
    assert len(values(found.removeprefix(start), "x-spam-score")) == 1
    assert len(values(found.removeprefix(start), "authentication-results")) == 1
    assert "received" not in parse(found).by_name
    assert (b"\r" in found) == (newline == b"\r\n")
    again = annotate_scanned(where(), found, verdict(6.0, auth=AUTH), 5.0)
    assert again == found
