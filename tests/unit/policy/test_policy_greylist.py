"""policy/greylist.py: only what is doubtful is asked to come again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.policy import greylist
from gateway.policy.decide import decide
from gateway.policy.reputation import Keys
from gateway.types import AuthResult, DomainPolicy, Envelope, History, Past, Verdict
from tests.builders import envelope, recipient, verdict

POLICY = DomainPolicy("darban.test", "smtp://a:25", greylist=True)
STRANGER = History("sara@example.org", known=(0.0,), met=(0.0,))
PROVEN = (AuthResult("spf", "pass", "example.org", is_aligned=True), AuthResult("dmarc", "none", "example.org"))


def is_doubtful(around: Envelope, said: Verdict, *policies: DomainPolicy) -> bool:
    wanted = [decide(said, recipient(), policy) for policy in policies]
    return greylist.is_doubtful(around, said, wanted, policies)


@pytest.mark.parametrize(
    ("score", "past", "auth", "policies", "expected"),
    [
        (3.0, STRANGER, (), [POLICY], True),
        (6.0, STRANGER, (), [POLICY], True),  # would be tagged
        (2.4, STRANGER, (), [POLICY], False),
        (8.0, STRANGER, (), [POLICY], False),  # held
        (16.0, STRANGER, (), [POLICY], False),  # refused
        (3.0, None, (), [POLICY], False),  # the store is down
        (3.0, STRANGER, PROVEN, [POLICY], False),
        (3.0, STRANGER, (AuthResult("dkim", "pass", "mailer.example"),), [POLICY], True),
        (3.0, STRANGER, (AuthResult("dmarc", "fail", "example.org", override="trusted_forwarder"),), [POLICY], False),
        (3.0, STRANGER, (AuthResult("spf", "temperror", "example.org"),), [POLICY], False),
        (3.0, STRANGER, (AuthResult("dmarc", "temperror"),), [POLICY], False),
        (3.0, STRANGER, (AuthResult("dkim", "temperror", "silent.example"),), [POLICY], True),  # the forger's choice
        (3.0, STRANGER, (AuthResult("iprev", "temperror"),), [POLICY], True),
        (3.0, replace(STRANGER, author=""), PROVEN, [POLICY], True),
        (3.0, replace(STRANGER, met=(1.0,)), (), [POLICY], False),
        (3.0, replace(STRANGER, met=(0.0, 1.0)), (), [POLICY], False),
        (3.0, replace(STRANGER, known=(9.0,)), (), [POLICY], True),  # a forged name
        (3.0, replace(STRANGER, network=Past(good=6)), (), [POLICY], False),
        (3.0, replace(STRANGER, network=Past(good=6, bad=4)), (), [POLICY], True),
        (3.0, replace(STRANGER, network=Past(passes=1)), (), [POLICY], False),
        (3.0, replace(STRANGER, network=Past(passes=1, bad=3)), (), [POLICY], True),
        (3.0, STRANGER, (), [POLICY, replace(POLICY, greylist=False)], False),
        (3.0, STRANGER, (), [POLICY, replace(POLICY, greylist_at=4.0)], False),
        (3.0, STRANGER, (), [POLICY, POLICY], True),
    ],
)  # fmt: skip
def test_what_is_doubtful(
    score: float, past: History | None, auth: tuple[AuthResult, ...], policies: list[DomainPolicy], expected: bool
) -> None:
    assert is_doubtful(envelope(history=past), verdict(score, auth=auth), *policies) is expected


def test_a_recipient_whose_domain_is_gone_is_not_asked() -> None:
    said = verdict(3.0)
    assert not greylist.is_doubtful(envelope(history=STRANGER), said, [decide(said, recipient(), POLICY)], [None])


def test_identities() -> None:
    auth = (
        AuthResult("iprev", "pass", "mail.example.org"),
        AuthResult("spf", "pass", "example.org"),
        AuthResult("dkim", "pass", "mailer.example"),
        AuthResult("dkim", "pass", "example.org"),
        AuthResult("dkim", "fail", "evil.example"),
    )
    assert greylist.identities("192.0.2.0/24", auth) == ("192.0.2.0/24", "@example.org", "@mailer.example")
    assert greylist.identities("", auth) == ()


def test_marks_are_of_the_three_and_of_nothing_else() -> None:
    keys = Keys(b"secret")
    one = greylist.marks(keys, "192.0.2.0/24", "a@example.org", ["you@darban.test"])
    assert one == greylist.marks(keys, "192.0.2.0/24", "A@example.org", ["You@darban.test"])
    others = [
        greylist.marks(keys, "198.51.100.0/24", "a@example.org", ["you@darban.test"]),
        greylist.marks(keys, "192.0.2.0/24", "", ["you@darban.test"]),
        greylist.marks(keys, "192.0.2.0/24", "a@example.org", ["reza@darban.test"]),
    ]
    assert len({key for pairs in (one, *others) for pair in pairs for key in pair}) == 8
