"""auth/trust.py: only an unbroken row of trusted sealers vouches, and only for the author's own domain."""

from __future__ import annotations

import pytest

from gateway.auth import arc, trust
from gateway.auth.arc import Chain
from gateway.mail import parse
from gateway.types import AuthResult
from tests.arc_chain import LIST, MAIL, PASS, SCHOOL, STRANGER, add_set, zones
from tests.fakes import FakeResolver

AUTHOR = "example.org"
TRUSTED = frozenset({LIST, SCHOOL})
FAILED = AuthResult("dmarc", "fail", AUTHOR, policy="reject", reason="neither SPF nor DKIM passes for example.org")


def passing(*sets: tuple[str, str], is_binding: bool = True) -> Chain:
    """(sealer, what it recorded), newest first."""
    return Chain(
        AuthResult("arc", "pass", sets[0][0], reason=f"sealed by {sets[0][0]}"),
        tuple(sealer for sealer, _ in sets),
        tuple(f" {sealer}; {recorded}" for sealer, recorded in sets),
        is_binding,
    )


@pytest.mark.parametrize(
    ("recorded", "proof"),
    [
        (PASS, "dmarc=pass for example.org"),
        ("spf=fail smtp.mailfrom=x.example; dkim=fail header.d=example.org; dmarc=pass (p=reject) header.from=Example.ORG", "dmarc=pass for example.org"),
        ("dmarc=pass action=none header.from=example.org", "dmarc=pass for example.org"),
        ("dkim=pass header.d=example.org", "dkim=pass for example.org"),
        ("dkim=pass header.i=@example.org header.s=x", "dkim=pass for example.org"),
        ("dkim=fail header.d=example.org; dkim=pass header.d=example.org", "dkim=pass for example.org"),
        ("spf=pass smtp.mailfrom=sara@example.org", "spf=pass for example.org"),
        ("spf=pass smtp.mailfrom=example.org", "spf=pass for example.org"),
        # not about this author
        ("dmarc=pass header.from=other.example", ""),
        ("dmarc=pass header.from=mail.example.org", ""),
        ("dmarc=pass header.from=example.org.evil.example", ""),
        ("dmarc=pass header.from=xample.org", ""),
        ("dmarc=pass header.from=ехample.org", ""),
        ("dmarc=pass header.from=sara@example.org", ""),
        ("dmarc=pass", ""),
        ("dkim=pass header.d=mail.example.org", ""),
        ("dkim=pass header.d=evil.example header.i=@example.org", ""),
        ("dkim=pass header.i=@evil.example", ""),
        ("spf=pass smtp.mailfrom=example.org@evil.example", ""),
        ("spf=pass smtp.helo=example.org", ""),
        # no pass
        ("dmarc=fail header.from=example.org", ""),
        ("dmarc=bestguesspass header.from=example.org", ""),
        ("dmarc=temperror header.from=example.org; dkim=pass header.d=example.org", ""),
        ("dmarc=fail header.from=example.org; dkim=pass header.d=example.org", ""),
        ("dkim=neutral header.d=example.org", ""),
        ("spf=softfail smtp.mailfrom=example.org", ""),
        ("arc=pass header.from=example.org", ""),
        ("none", ""),
        # contradictions
        ("dmarc=pass header.from=example.org; dmarc=fail header.from=example.org", ""),
        ("dmarc=fail header.from=other.example; dmarc=pass header.from=example.org", ""),
        ("dmarc=pass header.from=other.example header.from=example.org", ""),
        ("dkim=pass header.d=evil.example header.d=example.org", ""),
        ("dkim=pass header.d=example.org header.d=evil.example", ""),
        ("spf=pass smtp.mailfrom=example.org smtp.mailfrom=evil.example", ""),
        ("spf=pass smtp.mailfrom=example.org; spf=fail smtp.mailfrom=evil.example", ""),
        # hidden from one reader or another
        ("spf=fail (dmarc=pass header.from=example.org)", ""),
        ("spf=fail (; dmarc=pass header.from=example.org; )", ""),
        (r"spf=fail (\; dmarc=pass header.from=example.org; \) )", ""),
        ('spf=fail smtp.mailfrom="x; dmarc=pass header.from=example.org; "@evil.example', ""),
        ('spf=fail reason="; dmarc=pass header.from=example.org; x=y"', ""),
        ("dmarc=fail (header.from=x) reason=dmarc=pass header.from=example.org", ""),
        ("dmarc=pass (header.from=example.org) header.from=evil.example", ""),
        ("dmarc=pass header.from=evil.example (header.from=example.org", ""),
        ("dmarc=pass header.from=example.org; spf=fail (", ""),
        ("dmarc=pass header.from==?utf-8?q?example=2Eorg?=", ""),
        ("dmarc=pass header.from=example.org" + " x=y" * 10_000, ""),
    ],
)  # fmt: skip
def test_what_a_trusted_sealer_has_to_have_recorded(recorded: str, proof: str) -> None:
    said = f"{LIST}, a trusted sealer, recorded {proof}" if proof else ""
    assert trust.vouch(passing((LIST, recorded)), AUTHOR, TRUSTED) == said


FAIL = "dmarc=fail header.from=example.org"


@pytest.mark.parametrize(
    ("sets", "witness"),
    [
        ([(LIST, PASS)], LIST),
        ([(LIST, PASS), (STRANGER, PASS)], LIST),
        ([(LIST, FAIL), (SCHOOL, PASS)], SCHOOL),
        ([(LIST, "none"), (SCHOOL, FAIL), (LIST, PASS)], LIST),
        ([(STRANGER, PASS)], ""),
        ([(STRANGER, PASS), (LIST, PASS)], ""),
        ([(LIST, FAIL), (STRANGER, PASS), (SCHOOL, PASS)], ""),
        ([(LIST, FAIL), (SCHOOL, FAIL)], ""),
        ([("mx.lists.example", PASS)], ""),
        ([("example", PASS)], ""),
        ([("lists.example.evil.example", PASS)], ""),
        ([("xlists.example", PASS)], ""),
        ([("lists.exampIe", PASS)], ""),
        ([("xn--lsts-vpa.example", PASS)], ""),
    ],
)
def test_the_row_of_sealers(sets: list[tuple[str, str]], witness: str) -> None:
    said = trust.vouch(passing(*sets), AUTHOR, TRUSTED)
    assert said.partition(",")[0] == witness


@pytest.mark.parametrize("result", ["fail", "none", "temperror"])
def test_a_chain_that_does_not_pass_vouches_for_nothing(result: str) -> None:
    chain = Chain(AuthResult("arc", result), (LIST,), (f"{LIST}; {PASS}",), True)
    assert trust.vouch(chain, AUTHOR, TRUSTED) == ""


def test_nobody_vouches_for_what_is_not_signed_or_not_there() -> None:
    assert trust.vouch(passing((LIST, PASS), is_binding=False), AUTHOR, TRUSTED) == ""
    assert trust.vouch(passing((LIST, "dmarc=pass header.from=")), "", TRUSTED) == ""
    assert trust.vouch(passing((LIST, PASS)), AUTHOR, ()) == ""


def test_the_failure_stays_and_says_why_it_does_not_count() -> None:
    dmarc, sealed = trust.apply(FAILED, passing((LIST, PASS)), TRUSTED)
    assert (dmarc.result, dmarc.policy, dmarc.override) == ("fail", "reject", "trusted_forwarder")
    assert dmarc.reason == f"{FAILED.reason}, but {LIST}, a trusted sealer, recorded dmarc=pass for example.org"
    assert sealed.policy == "trusted"
    assert sealed.reason.startswith(f"sealed by {LIST}. {LIST}, a trusted sealer")


@pytest.mark.parametrize("result", ["pass", "none", "temperror", "permerror"])
def test_only_a_failure_is_overridden(result: str) -> None:
    given = FAILED._replace(result=result)
    assert trust.apply(given, passing((LIST, PASS)), TRUSTED)[0] is given


def test_nothing_changes_without_trust() -> None:
    chain = passing((STRANGER, PASS))
    assert trust.apply(FAILED, chain, TRUSTED) == (FAILED, chain.result)
    assert trust.apply(FAILED, arc.NO_CHAIN, TRUSTED) == (FAILED, arc.NO_CHAIN.result)


@pytest.mark.parametrize(
    ("content", "is_rescued"),
    [
        (add_set(MAIL), True),
        (add_set(add_set(MAIL).replace(b"Subject: Hello", b"Subject: [list] Hello"), SCHOOL, FAIL), True),
        # a trusted chain on another body, another author, another subject
        (add_set(MAIL).replace(b"Good morning", b"Pay at once"), False),
        (add_set(MAIL).replace(b"sara@example.org", b"boss@example.org"), False),
        (b"From: boss@example.org\r\n" + add_set(MAIL), False),
        (b"Subject: Pay at once\r\n" + add_set(MAIL), False),
        # and sealed again by the one who changed it
        (add_set(add_set(MAIL).replace(b"Good morning", b"Pay at once"), STRANGER), False),
        (add_set(add_set(add_set(MAIL).replace(b"morning", b"evening"), STRANGER), SCHOOL, FAIL), False),
        # what the trusted one found, altered
        (add_set(MAIL, results=FAIL).replace(b"dmarc=fail", b"dmarc=pass"), False),
        # a seal in its name by another key, at another selector or with a key of the forger's domain
        (add_set(MAIL, seal={"d": "evil.example"}), False),
        (add_set(MAIL, seal={"s": "evil"}), False),
        # the message signature may be of any domain (RFC 8617 §4.1.2): the seal covers it
        (add_set(MAIL, message_signature={"d": STRANGER}), True),
        (add_set(MAIL, message_signature={"h": "to:subject"}), False),
        (add_set(MAIL, message_signature={"l": "0"}), False),
    ],
)
async def test_attacks_on_real_chains(content: bytes, is_rescued: bool) -> None:
    live = zones() | zones("evil.example")
    chain = await arc.evaluate(parse(content), "192.0.2.7", FakeResolver(live))
    assert (trust.apply(FAILED, chain, TRUSTED)[0].override == "trusted_forwarder") is is_rescued
