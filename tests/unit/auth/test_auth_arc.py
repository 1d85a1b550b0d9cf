"""auth/arc.py: what RFC 8617 §5.2 passes passes; everything else fails with its reason, in bounded time."""

from __future__ import annotations

import time
from collections.abc import Callable

import dkim
import pytest

from gateway.auth import arc
from gateway.auth.arc import Chain
from gateway.mail import parse
from gateway.types import DnsAnswer
from tests.arc_chain import AAR, AMS, AS, LIST, MAIL, SCHOOL, STRANGER, add_set, chain, zones
from tests.dkim_keys import rsa_key, rsa_record
from tests.fakes import FakeResolver

LIVE = zones() | {"s1._domainkey.ed.example": zones(ed=["ed.example"])["s1._domainkey.ed.example"]}


async def evaluate(content: bytes, resolver: FakeResolver | None = None, now: float | None = None) -> Chain:
    return await arc.evaluate(parse(content), "192.0.2.7", resolver or FakeResolver(LIVE), now)


def without(name: str, instance: int) -> Callable[[bytes], bytes]:
    return lambda content: b"".join(
        one.raw for one in parse(content).fields if not (one.name == name and f"i={instance};".encode() in one.raw)
    ) + b"\r\nGood morning\r\n"  # fmt: skip


def twice(name: str, instance: int) -> Callable[[bytes], bytes]:
    def work(content: bytes) -> bytes:
        raw = next(
            one.raw for one in parse(content).fields if one.name == name and f"i={instance};".encode() in one.raw
        )
        return raw + content

    return work


def replaced(old: bytes, new: bytes, name: str = "", instance: int = 0) -> Callable[[bytes], bytes]:
    """Another text in one field of one set, or anywhere."""

    def work(content: bytes) -> bytes:
        raws = [one.raw for one in parse(content).fields if one.name == name and f"i={instance};".encode() in one.raw]
        piece = raws[0] if raws else content
        assert old in piece
        return content.replace(piece, piece.replace(old, new, 1))

    return work


async def test_nothing_is_asked_without_arc_fields() -> None:
    resolver = FakeResolver(LIVE)
    assert await evaluate(MAIL, resolver) is arc.NO_CHAIN
    assert resolver.queries == []


async def test_a_chain_of_three() -> None:
    resolver = FakeResolver(LIVE)
    found = await evaluate(chain(SCHOOL, LIST, STRANGER), resolver)
    assert found.result.result == "pass"
    assert found.result.domain == STRANGER
    assert found.result.reason == f"sealed by {STRANGER}, before it by {LIST}, {SCHOOL}"
    assert found.result.properties == (
        ("smtp.remote-ip", "192.0.2.7"),
        ("header.oldest-pass", "0"),
        ("arc.chain", f"{STRANGER}:{LIST}:{SCHOOL}"),
    )
    assert found.sealers == (STRANGER, LIST, SCHOOL)
    assert [one.strip() for one in found.assessments] == [
        f"{one}; dmarc=pass header.from=example.org" for one in found.sealers
    ]
    assert found.is_binding
    assert len(resolver.queries) == 3


async def test_ed25519() -> None:
    found = await evaluate(add_set(chain(SCHOOL), "ed.example", ed=True))
    assert (found.result.result, found.sealers) == ("pass", ("ed.example", SCHOOL))


@pytest.mark.parametrize(("changed_before", "oldest"), [(1, "0"), (2, "2"), (3, "3")])
async def test_the_oldest_signature_that_holds(changed_before: int, oldest: str) -> None:
    content = MAIL
    for number, domain in enumerate((SCHOOL, LIST, STRANGER), 1):
        if number == changed_before > 1:
            content = content.replace(b"Subject: Hello", b"Subject: [list] Hello")
        content = add_set(content, domain)
    found = await evaluate(content)
    assert found.result.result == "pass"
    assert dict(found.result.properties)["header.oldest-pass"] == oldest


async def test_a_long_chain_looks_at_the_newest_signatures_only() -> None:
    found = await evaluate(chain(*[LIST] * 13))
    assert (found.result.result, dict(found.result.properties)["header.oldest-pass"]) == ("pass", "3")
    assert (await evaluate(chain(*[LIST] * 11))).result.properties[1] == ("header.oldest-pass", "0")


NAMES = {AAR: "an assessment", AMS: "a message signature", AS: "a seal"}


@pytest.mark.parametrize("instance", [1, 2, 3])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("mutilate", "said"), [(without, "there is no"), (twice, "there are several")])
async def test_each_field_once(
    name: str, instance: int, mutilate: Callable[[str, int], Callable[[bytes], bytes]], said: str
) -> None:
    resolver = FakeResolver(LIVE)
    found = await evaluate(mutilate(name, instance)(chain(SCHOOL, LIST, STRANGER)), resolver)
    assert found.result.result == "fail"
    assert found.result.reason == f"{said} {name} of instance {instance}"
    assert (found.sealers, resolver.queries) == ((), [])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "written", [b"i=0;", b"i=;", b"i=51;", b"i=99;", b"i=x;", b"i=002;", b"i=-1;", b"i=2.0;", b"j=2;", b""]
)
async def test_unusable_instances(name: str, written: bytes) -> None:
    found = await evaluate(replaced(b"i=2;", written, name, 2)(chain(SCHOOL, LIST)))
    assert found.result.result == "fail"
    assert "no instance from 1 to 50" in found.result.reason or "not a list of tags" in found.result.reason


@pytest.mark.parametrize(
    ("mutilate", "said"),
    [
        (replaced(b"Good morning", b"Good evening"), "the newest ARC-Message-Signature: the body was changed"),
        (replaced(b"Sara <sara@", b"Boss <boss@"), "the newest ARC-Message-Signature: the signature does not match"),
        (replaced(b"Subject: Hello", b"Subject: Pay"), "the newest ARC-Message-Signature: the signature does not match"),
        (replaced(b"dmarc=pass", b"dmarc=fail", AAR, 2), f"the seal of {LIST}: it does not match"),
        (replaced(b"dmarc=pass", b"dmarc=fail", AAR, 1), f"the seal of {LIST}: it does not match"),
        (replaced(b"header.from=example.org", b"header.from=bank.example", AAR, 1), f"the seal of {LIST}: it does not match"),
        (replaced(b"t=1790000000", b"t=1790000001", AMS, 1), f"the seal of {LIST}: it does not match"),
        (replaced(b"t=1790000000", b"t=1790000001", AS, 1), f"the seal of {LIST}: it does not match"),
        (replaced(b"cv=none", b"cv=pass", AS, 1), "instance 1 cannot have cv=pass"),
        (replaced(b"cv=pass", b"cv=none", AS, 2), "instance 2 cannot have cv=none"),
        (replaced(b"cv=pass", b"cv=fail", AS, 2), f"{LIST} found the chain broken (cv=fail)"),
        (replaced(b"cv=none", b"cv=fail", AS, 1), "instance 1 cannot have cv=fail"),
        (replaced(b"cv=pass", b"cv=maybe", AS, 2), "instance 2: the ARC-Seal's cv= is not known"),
        (replaced(b"cv=pass; ", b"", AS, 2), "instance 2: the ARC-Seal lacks cv="),
        (replaced(b"d=lists.example", b"d=lists", AS, 2), "d= or s= is not a domain name"),
        (replaced(b"b=", b"b=*", AS, 2), "b= is not base64"),
        (replaced(b"t=1790000000", b"t=soon", AS, 2), "t= is not a number"),
        (replaced(b"a=rsa-sha256", b"a=rsa-sha1", AS, 2), "rsa-sha1 is not accepted"),
        (replaced(b"a=rsa-sha256", b"a=ed25519-sha256", AS, 2), f"the seal of {LIST}: the key is not one for ed25519"),
        (replaced(b"a=rsa-sha256", b"a=rsa-sha1", AMS, 2), "rsa-sha1 is not accepted"),
        (replaced(b"bh=", b"xh=", AMS, 2), "the ARC-Message-Signature lacks bh="),
        (replaced(b"h=from:to:subject; ", b"", AMS, 2), "the ARC-Message-Signature lacks h="),
        (replaced(b"h=from", b"h=from:arc-seal", AMS, 2), "the ARC-Message-Signature covers an ARC-Seal"),
        (replaced(b"cv=pass", b"h=from; cv=pass", AS, 2), "instance 2: the ARC-Seal has h="),
        (replaced(b"i=2;", b"x=1; i=2;", AAR, 2), "an ARC-Authentication-Results has no instance"),
        (replaced(b"To: you", b"This line is no field\r\nTo: you"), "the header holds lines that are no field"),
    ],
)  # fmt: skip
async def test_what_is_wrong_is_said(mutilate: Callable[[bytes], bytes], said: str) -> None:
    found = await evaluate(mutilate(chain(SCHOOL, LIST)))
    assert found.result.result == "fail"
    assert said in found.result.reason
    assert found.sealers == found.assessments == ()
    assert not found.is_binding


@pytest.mark.parametrize("middle", [{"cv": "none"}, {"cv": "fail"}, {"b": "AAAA"}, {"d": STRANGER}, {"s": "s2"}])
async def test_a_broken_set_in_the_middle_breaks_the_chain(middle: dict[str, str]) -> None:
    content = add_set(chain(SCHOOL), seal=middle)
    assert (await evaluate(add_set(content, LIST))).result.result == ("pass" if middle == {"d": STRANGER} else "fail")


async def test_a_failed_chain_stays_failed_however_it_is_sealed() -> None:
    broken = chain(SCHOOL).replace(b"Good morning", b"Good evening")
    marked = add_set(broken, LIST, seal={"cv": "fail"}, alone=True)
    assert (await evaluate(marked)).result.reason == f"{LIST} found the chain broken (cv=fail)"
    assert (await evaluate(add_set(marked, STRANGER))).result.result == "fail"
    assert (await evaluate(add_set(broken, STRANGER, alone=True))).result.result == "fail"  # as if the first were valid
    laundered = add_set(broken, STRANGER)  # sealed as if all were well, which only trust in the sealer can tell
    assert (await evaluate(laundered)).sealers == (STRANGER, SCHOOL)


@pytest.mark.parametrize(
    ("shape", "result"),
    [
        (lambda field: field.replace(b"; ", b" ;\t"), "pass"),
        (lambda field: field.replace(b"; ", b";\r\n "), "pass"),
        (lambda field: field.replace(b"d=", b"d = "), "pass"),
        (lambda field: field + b"; zz=unknown", "pass"),
        (lambda field: field + b"; v=1", "pass"),  # not defined for ARC, and to be ignored (RFC 8617 §4.1.2)
        (lambda field: field.replace(b"ARC-", b"arc-"), "pass"),
        (lambda field: field.replace(b"d=", b"D="), "fail"),
        (lambda field: field.replace(b"; ", b";; "), "fail"),
        (lambda field: field + b"; d=lists.example", "fail"),
        (lambda field: field + b"; 1=x", "fail"),
        (lambda field: field + b"; x", "fail"),
        (lambda field: field.replace(b"t=1790000000", b"t=17 90"), "fail"),
        (lambda field: field.replace(b"t=1790000000", b"t="), "fail"),
        (lambda field: field.replace(b"; t=1790000000", b""), "pass"),
        (lambda field: field.replace(b"d=lists.example", b"d="), "fail"),
        (lambda field: field.replace(b"s=s1", b"s="), "fail"),
        (lambda field: field.replace(b"a=rsa-sha256", b"a="), "fail"),
        (lambda field: field.replace(b"a=rsa-sha256", b"a=rsa-sha512"), "fail"),
    ],
)
async def test_lists_of_tags(shape: Callable[[bytes], bytes], result: str) -> None:
    assert (await evaluate(add_set(MAIL, shape=shape))).result.result == result
    assert (await evaluate(add_set(chain(SCHOOL), shape=shape))).result.result == result


def refolded(content: bytes) -> bytes:
    return content.replace(b"Subject: Hello", b"SUBJECT:   Hello ")


def respaced(content: bytes) -> bytes:
    return content.replace(b"Good morning", b"Good  morning ")


@pytest.mark.parametrize(
    ("form", "change", "result"),
    [
        ("relaxed/relaxed", refolded, "pass"), ("relaxed/relaxed", respaced, "pass"), (None, respaced, "pass"),
        ("simple/relaxed", refolded, "fail"), ("simple/relaxed", respaced, "pass"),
        ("relaxed/simple", refolded, "pass"), ("relaxed/simple", respaced, "fail"),
        ("simple/simple", refolded, "fail"), ("simple/simple", respaced, "fail"), ("simple", bytes, "pass"),
        ("simple/simple", lambda content: content + b"\r\n\r\n", "pass"),
        ("relaxed/relaxed", lambda content: content.removesuffix(b"\r\n"), "pass"),
        ("", bytes, "fail"), ("relaxed/relaxed/relaxed", bytes, "fail"), ("nofws/simple", bytes, "fail"),
    ],
)  # fmt: skip
async def test_canonical_forms(form: str | None, change: Callable[[bytes], bytes], result: str) -> None:
    assert (await evaluate(change(add_set(MAIL, message_signature={"c": form})))).result.result == result


TWO = b"X-Two: upper\r\nX-Two: lower\r\n" + MAIL


@pytest.mark.parametrize(
    ("names", "change", "result"),
    [
        ("from : to :\r\n subject", bytes, "pass"),
        ("From:TO", bytes, "pass"),
        ("from::to", bytes, "pass"),
        ("from:x-two", lambda content: content.replace(b"upper", b"other"), "pass"),  # the lowest is signed
        ("from:x-two", lambda content: content.replace(b"lower", b"other"), "fail"),
        ("from:x-two:x-two", lambda content: content.replace(b"upper", b"other"), "fail"),
        ("from:x-two:x-two", lambda content: content.replace(b"X-Two: upper\r\nX-Two: lower", b"X-Two: lower\r\nX-Two: upper"), "fail"),
        ("from:x-none:x-none", bytes, "pass"),
        ("from:x-none", lambda content: content.replace(b"To:", b"X-None: here\r\nTo:"), "fail"),
        ("from:arc-message-signature:arc-authentication-results", bytes, "pass"),  # older ones: odd, but they hold
    ],
)  # fmt: skip
async def test_names_of_fields(names: str, change: Callable[[bytes], bytes], result: str) -> None:
    content = add_set(add_set(TWO, SCHOOL), message_signature={"h": names})
    assert (await evaluate(change(content))).result.result == result


async def test_part_of_a_body_and_old_signatures_are_not_enough() -> None:
    short = add_set(MAIL, message_signature={"l": "14"}) + b"Buy now\r\n"
    assert "9 bytes of the body are not signed (l=14)" in (await evaluate(short)).result.reason
    whole = add_set(MAIL, message_signature={"l": "14"})
    assert (await evaluate(whole)).result.result == "pass"
    expiring = add_set(MAIL, message_signature={"x": "1790000500"})
    assert (await evaluate(expiring, now=1790000400)).result.result == "pass"
    assert "expired" in (await evaluate(expiring, now=1790000600)).result.reason


@pytest.mark.parametrize(
    ("names", "is_signed"), [("from:to", True), ("to:subject", False), ("", False), ("from:from:to", True)]
)
async def test_whether_the_author_is_signed(names: str, is_signed: bool) -> None:
    found = await evaluate(add_set(MAIL, message_signature={"h": names}))
    assert (found.result.result, found.is_binding) == ("pass", is_signed)


@pytest.mark.parametrize(("names", "result"), [("from:subject", "pass"), ("from:from:subject:subject", "fail")])
@pytest.mark.parametrize("added", [b"From: boss@bank.example\r\n", b"Subject: Pay\r\n"])
async def test_what_may_stand_once_and_stands_twice(names: str, result: str, added: bytes) -> None:
    """Readers show the one on top, a signature covers the one below."""
    content = add_set(MAIL, message_signature={"h": names})
    assert (await evaluate(content)).is_binding
    found = await evaluate(added + content)
    assert (found.result.result, found.is_binding) == (result, False)


async def test_a_signature_of_the_future() -> None:
    content = add_set(MAIL, message_signature={"t": "1790007200"})
    assert "from the future" in (await evaluate(content, now=1790000000)).result.reason
    assert (await evaluate(content, now=1790007000)).result.result == "pass"


@pytest.mark.parametrize(
    ("record", "result", "said"),
    [
        ("servfail", "temperror", "could not be looked up (servfail)"),
        ("timeout", "temperror", "could not be looked up (timeout)"),
        ({}, "fail", "there is no key"),
        ({"TXT": ["v=DKIM1; p="]}, "fail", "revoked"),
        ({"TXT": ["v=DKIM1; p=AAAA"]}, "fail", "cannot be read"),
        ({"TXT": [rsa_record(2048)]}, "fail", "does not match"),
    ],
)
@pytest.mark.parametrize("domain", [SCHOOL, LIST])
async def test_keys_that_are_not_to_be_had(domain: str, record: object, result: str, said: str) -> None:
    found = await evaluate(chain(SCHOOL, LIST), FakeResolver(LIVE | {f"s1._domainkey.{domain}": record}))  # type: ignore[dict-item]
    assert found.result.result == result
    assert said in found.result.reason


async def test_an_older_signatures_key_does_not_matter() -> None:
    content = add_set(
        add_set(
            MAIL,
            SCHOOL,
            message_signature={"s": "gone"},
        ),
        LIST,
    )
    found = await evaluate(content, FakeResolver(LIVE | {f"gone._domainkey.{SCHOOL}": "servfail"}))
    assert (found.result.result, dict(found.result.properties)["header.oldest-pass"]) == ("pass", "2")


async def test_fifty_sets_pass_and_fifty_one_do_not() -> None:
    content = chain(*[LIST] * 50)
    assert (await evaluate(content)).result.result == "pass"
    more = add_set(content, LIST)
    assert (await evaluate(more)).result.reason == "there are more than 50 ARC sets"


class Counting:
    """Answers every question with the key, and counts."""

    def __init__(self) -> None:
        self.count = 0

    async def query(self, name: str, rdtype: str) -> DnsAnswer:
        self.count += 1
        return DnsAnswer("noerror", (rsa_record().encode(),))


async def test_floods_take_little_time() -> None:
    bulky = MAIL
    for number in range(50):
        names = ":".join(["from", "to", "subject"] * 1200)
        bulky = add_set(
            bulky, f"d{number}.example", "dkim=pass (" + "x " * 7000 + ")", message_signature={"h": names, "s": "s2"}
        )
    bulky += b"a b  c\t\r\n" * 200_000
    floods = [
        bulky,
        MAIL.replace(b"To:", (AS + ": i=1\r\n").encode() * 9_000 + b"To:"),
        MAIL.replace(b"To:", (AMS + ": i=1" + "; a=b" * 50_000 + "\r\n").encode() * 50 + b"To:"),
        MAIL.replace(b"To:", (AAR + ": " + " " * 60_000 + "i=1\r\n").encode() * 50 + b"To:"),
        MAIL.replace(b"To:", (AS + ": i=1; b=" + "A" * 60_000 + "\r\n").encode() * 50 + b"To:"),
    ]
    for content in floods:
        message, resolver = parse(content), Counting()
        started = time.process_time()
        found = await arc.evaluate(message, "192.0.2.7", resolver)
        assert time.process_time() - started < 0.5
        assert found.result.result == "fail"
        assert found.result.reason.isprintable()
        assert resolver.count <= 2


async def test_fifty_good_sets_are_bounded() -> None:
    content = MAIL + b"word\r\n" * 200_000
    for number in range(50):
        content = add_set(
            content, f"d{number}.example", "dkim=pass (" + "x" * 4000 + ")", message_signature={"s": "s2"}
        )
    message, resolver = parse(content), Counting()
    started = time.process_time()
    assert (await arc.evaluate(message, "192.0.2.7", resolver)).result.result == "pass"
    assert time.process_time() - started < 0.5
    assert resolver.count == 50 + 1 + arc.MAX_OLDER


def dkimpy_sealed(content: bytes, domain: str, cv: str) -> bytes:
    from cryptography.hazmat.primitives import serialization as form

    pem = rsa_key(1024).private_bytes(form.Encoding.PEM, form.PrivateFormat.TraditionalOpenSSL, form.NoEncryption())
    results = f"Authentication-Results: {domain}; arc={cv}; dmarc=pass header.from=example.org\r\n".encode()
    fields = dkim.arc_sign(
        results + content, b"s1", domain.encode(), pem, domain.encode(), include_headers=[b"from", b"subject"]
    )
    return b"".join(fields) + results + content


async def test_what_dkimpy_seals_passes() -> None:
    content = dkimpy_sealed(MAIL, SCHOOL, "none")
    assert (await evaluate(content)).sealers == (SCHOOL,)
    content = dkimpy_sealed(content, LIST, "pass")
    assert (await evaluate(content)).sealers == (LIST, SCHOOL)
    content = dkimpy_sealed(content.replace(b"morning", b"evening"), STRANGER, "fail")
    assert (await evaluate(content)).result.reason == f"{STRANGER} found the chain broken (cv=fail)"


@pytest.mark.parametrize("domains", [(LIST,), (SCHOOL, LIST), (SCHOOL, LIST, STRANGER)])
def test_what_is_made_here_passes_dkimpy(domains: tuple[str, ...]) -> None:
    """The makers of these tests are no better than what they are compared with."""
    found, _, reason = dkim.arc_verify(chain(*domains), dnsfunc=lambda name, timeout=5: rsa_record().encode())
    assert found == b"pass", reason
