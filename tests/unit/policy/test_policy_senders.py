"""policy/senders.py: which entry holds, and that nobody is let in by writing somebody's address."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.decide import decide
from gateway.policy.senders import Judged, Limits, Sender, SenderTable, fits, proof_of, rulings
from gateway.types import AuthResult, DomainPolicy, Recipient, Ruling, SenderEntry
from tests.builders import verdict

NOW = 1_790_000_000.0
DAY = 86_400.0
YOU = Recipient("You@ours.test", "ours.test")
PROVEN = (
    AuthResult("spf", "pass", "example.org", is_aligned=True),
    AuthResult("dkim", "pass", "example.org", "s", is_aligned=True),
    AuthResult("dmarc", "pass", "example.org"),
)
FORGED = (
    AuthResult("spf", "pass", "evil.test"),
    AuthResult("dkim", "pass", "evil.test", "s"),
    AuthResult("dmarc", "fail", "example.org", policy="none"),
)
POLICY = DomainPolicy("ours.test", "smtp://a:25")


def entry(act: str, pattern: str, recipient: str = "", **changes: object) -> SenderEntry:
    values: dict = {
        "act": act,
        "pattern": pattern,
        "recipient": recipient,
        "expires_at": NOW + DAY,
        "by": "sara",
        "at": NOW,
    }
    return SenderEntry(**(values | {"number": zlib.crc32(f"{act} {pattern} {recipient}".encode())} | changes))


def table(*entries: SenderEntry) -> SenderTable:
    made = SenderTable()
    for one in entries:
        made.take(one, 0.0)
    return made


def ruled(
    *entries: SenderEntry, authors: tuple[str, ...] = ("reza@example.org",), reverse_path: str = "bounce@list.example",
    auth: tuple[AuthResult, ...] = PROVEN, score: float = 9.0, is_malware: bool = False, now: float = NOW, ip: str = "192.0.2.1",
) -> Ruling | None:  # fmt: skip
    sender = Sender(authors, reverse_path, auth, ip)
    return rulings(table(*entries), sender, [YOU], now, Judged(score, is_malware), Limits()).get(YOU.address)


@pytest.mark.parametrize(
    ("entries", "action"),
    [
        ([], None),
        ([("allow", "reza@example.org", "")], "accept"),
        ([("allow", "example.org", "")], "accept"),
        ([("allow", ".example.org", "")], "accept"),
        ([("allow", ".org", "")], "accept"),  # nobody can say it, and it would fit
        ([("allow", "other@example.org", "")], None),
        ([("allow", "sub.example.org", "")], None),
        ([("allow", "xample.org", "")], None),
        ([("block", "reza@example.org", "")], "quarantine"),
        ([("block", "bounce@list.example", "")], "quarantine"),  # what the reverse-path says will do to be blocked
        ([("allow", "bounce@list.example", "")], None),  # and not to be allowed
        ([("allow", "reza@example.org", "other@ours.test")], None),
        ([("allow", "reza@example.org", "you@ours.test")], "accept"),
        ([("allow", "reza@example.org", "ours.test")], "accept"),
        ([("allow", "reza@example.org", "others.test")], None),
        # the recipient's own word before his domain's, that before everybody's
        ([("allow", ".example.org", "you@ours.test"), ("block", "reza@example.org", "ours.test")], "accept"),
        ([("block", ".example.org", "you@ours.test"), ("allow", "reza@example.org", "ours.test")], "quarantine"),
        ([("block", ".example.org", "ours.test"), ("allow", "reza@example.org", "")], "quarantine"),
        # an address before its domain, that before what is above
        ([("allow", "reza@example.org", ""), ("block", "example.org", "")], "accept"),
        ([("block", "reza@example.org", ""), ("allow", "example.org", "")], "quarantine"),
        ([("allow", "example.org", ""), ("block", ".example.org", "")], "accept"),
        ([("block", ".example.org", ""), ("allow", ".org", "")], "quarantine"),
        # a block before an allow
        ([("allow", "reza@example.org", ""), ("block", "reza@example.org", "")], "quarantine"),
        ([("allow", "reza@example.org", ""), ("block", "bounce@list.example", "")], "quarantine"),
    ],
)  # fmt: skip
def test_the_most_specific_holds(entries: list[tuple[str, str, str]], action: str | None) -> None:
    for order in (entries, entries[::-1]):
        found = ruled(*(entry(*one) for one in order))
        assert (found.action if found else None) == action


@pytest.mark.parametrize(
    "auth",
    [
        FORGED,
        (),
        (AuthResult("dmarc", "pass", "example.org"),),  # nothing that passed
        PROVEN[:2],  # nobody said with what they were aligned
        (*PROVEN[:2], AuthResult("dmarc", "pass", "evil.test")),  # another author's
        (*PROVEN[:2], AuthResult("dmarc", "permerror", reason="two From fields")),
        (AuthResult("spf", "softfail", "example.org", is_aligned=True), PROVEN[2]),
    ],
)
def test_an_allow_lets_no_forgery_in_and_says_so(auth: tuple[AuthResult, ...]) -> None:
    found = ruled(entry("allow", "reza@example.org"), auth=auth)
    assert found is not None
    assert (found.action, found.reason) == (None, "sara's entry does not count: the author is not proven")


def test_several_authors_are_never_allowed_and_each_can_be_blocked() -> None:
    both = ("reza@example.org", "other@example.org")
    assert ruled(entry("allow", "example.org"), authors=both) is None
    blocked = ruled(entry("block", "other@example.org"), authors=both)
    assert blocked is not None
    assert blocked.action == "quarantine"


def test_a_wider_block_holds_where_a_nearer_allow_is_not_proven() -> None:
    entries = entry("allow", "reza@example.org", "you@ours.test"), entry("block", "example.org")
    found = ruled(*entries, auth=FORGED)
    assert found is not None
    assert found.action == "quarantine"


@pytest.mark.parametrize(("ip", "action"), [("198.51.100.9", "accept"), ("192.0.2.1", None), ("", None), ("::1", None)])
def test_a_network_stands_in_the_place_of_proof(ip: str, action: str | None) -> None:
    found = ruled(entry("allow", "reza@example.org", network="198.51.100.0/24"), auth=(), ip=ip)
    assert found is not None
    assert found.action == action
    # and binds: whoever is proven, but elsewhere, is not meant
    elsewhere = ruled(entry("allow", "reza@example.org", network="198.51.100.0/24"), ip="192.0.2.1")
    assert elsewhere is not None
    assert elsewhere.action is None


@pytest.mark.parametrize(
    ("changes", "action", "reason"),
    [
        ({}, "accept", "allowed by sara's entry until 2026-09-22 (dkim=example.org)"),
        ({"auth": (PROVEN[0], PROVEN[2])}, "accept", "allowed by sara's entry until 2026-09-22 (spf=example.org)"),
        ({"score": 24.9}, "accept", "allowed by sara's entry until 2026-09-22 (dkim=example.org)"),
        ({"score": 25.0}, None, "sara's entry counts below 25.0"),
        ({"is_malware": True}, None, "sara's entry lets no malware in"),
        ({"now": NOW + DAY}, "none at all", ""),
    ],
)
def test_what_an_allow_comes_to(changes: dict, action: str | None, reason: str) -> None:
    found = ruled(entry("allow", "reza@example.org"), **changes)
    assert (found.action if found else "none at all") == action
    assert (found.reason if found else "") == reason


@pytest.mark.parametrize(
    ("ruling", "score", "incomplete", "action", "reason", "required"),
    [
        (None, 9.0, (), "quarantine", "score 9.0 >= quarantine_at 8.0", 5.0),
        (Ruling("accept", "allowed", 1, 25.0), 9.0, (), "accept", "allowed", 25.0),
        (Ruling("accept", "allowed", 1, 25.0), 16.0, (), "accept", "allowed", 25.0),
        # what could not be looked at is not let in unmarked by anybody's word
        (Ruling("accept", "allowed", 1, 25.0), 9.0, ("check attachment: ValueError",), "tag", "incomplete: check attachment: ValueError", 25.0),
        (Ruling("accept", "allowed", 1, 25.0), 9.0, ("dns: timeout",), "accept", "allowed", 25.0),
        (Ruling("quarantine", "blocked", 1), 0.0, (), "quarantine", "blocked", 5.0),
        (Ruling("reject", "blocked", 1), 0.0, (), "reject", "blocked", 5.0),
        (Ruling("quarantine", "blocked", 1), 16.0, (), "reject", "score 16.0 >= reject_at 15.0; blocked", 5.0),
        (Ruling(None, "not proven", 1), 9.0, (), "quarantine", "score 9.0 >= quarantine_at 8.0; not proven", 5.0),
        (Ruling(None, "not proven", 1), 1.0, (), "accept", "score 1.0 < tag_at 5.0", 5.0),
    ],
)  # fmt: skip
def test_decide_with_a_ruling(
    ruling: Ruling | None, score: float, incomplete: tuple[str, ...], action: str, reason: str, required: float
) -> None:
    wanted = decide(verdict(score, incomplete=incomplete), YOU, POLICY, ruling)
    assert (wanted.action, wanted.reason, wanted.required_score) == (action, reason, required)


def test_entries_change_and_go() -> None:
    made = SenderTable()
    made.take(entry("allow", "a@example.org", number=1), NOW)
    made.take(entry("block", "a@example.org", number=2), NOW)
    made.take(entry("allow", "a@example.org", number=1, is_removed=True), NOW)
    made.take(entry("block", "b@example.org", number=3, expires_at=NOW), NOW)
    made.take(entry("block", "c@example.org", number=4, expires_at=NOW + 1), NOW)
    assert len(made) == 2
    made.forget_expired(NOW + 1)
    assert len(made) == 1
    made.take(entry("block", "a@example.org", number=2, is_removed=True), NOW)
    assert len(made) == 0


@pytest.mark.parametrize(
    ("pattern", "address", "is_fit"),
    [
        ("a@b.example", "a@b.example", True),
        ("b.example", "a@b.example", True),
        ("b.example", "a@c.b.example", False),
        (".b.example", "a@c.b.example", True),
        (".b.example", "a@b.example", True),
        (".b.example", "a@ab.example", False),
        ("b.example", "", False),
    ],
)
def test_fits(pattern: str, address: str, is_fit: bool) -> None:
    assert fits(pattern, address) == is_fit


def test_proof_wants_an_author() -> None:
    assert proof_of("", PROVEN) == ""
    assert proof_of("reza@example.org", PROVEN) == "dkim=example.org"


# --- properties -----------------------------------------------------------------------------------------------------------

NAMES = st.sampled_from(
    ["reza@example.org", "example.org", ".example.org", ".org", "bounce@list.example", "list.example"]
)
ENTRIES = st.lists(
    st.builds(
        entry,
        st.sampled_from(["allow", "block"]),
        NAMES,
        st.sampled_from(["", "ours.test", "you@ours.test"]),
        expires_at=st.sampled_from([None, NOW - DAY, NOW, NOW + DAY]),
    ),
    max_size=8,
    unique_by=lambda one: (one.act, one.pattern, one.recipient),
)  # fmt: skip


def _rank(one: SenderEntry) -> tuple[int, int]:
    whose = ["you@ours.test", "ours.test", ""].index(one.recipient)
    depth = 0 if "@" in one.pattern else 1 if not one.pattern.startswith(".") else 4 - one.pattern.count(".")
    return whose, depth


@given(ENTRIES)
def test_what_has_expired_never_matters(entries: list[SenderEntry]) -> None:
    in_force = [one for one in entries if one.expires_at is None or one.expires_at > NOW]
    assert ruled(*entries) == ruled(*in_force)


@given(ENTRIES, st.sampled_from([PROVEN, FORGED]))
def test_the_rule_as_it_is_written(entries: list[SenderEntry], auth: tuple[AuthResult, ...]) -> None:
    """By a slow reading of the module's first lines."""
    found = ruled(*entries, auth=auth)
    counts = [
        one
        for one in entries
        if (one.expires_at is None or one.expires_at > NOW)
        and (one.act == "block" or ("list.example" not in one.pattern and auth is PROVEN))
    ]
    best = min(counts, key=lambda one: (_rank(one), one.act == "allow"), default=None)
    if best is None:
        assert found is None or found.action is None
    else:
        assert found is not None
        assert found.action == {"allow": "accept", "block": "quarantine"}[best.act]
        assert found.number == best.number


@given(ENTRIES)
def test_a_block_beats_every_allow_of_wider_scope(entries: list[SenderEntry]) -> None:
    found = ruled(*entries)
    if found is not None and found.action == "accept":
        allow = next(one for one in entries if one.number == found.number)
        blocks = [one for one in entries if one.act == "block" and (one.expires_at is None or one.expires_at > NOW)]
        assert all(_rank(one) > _rank(allow) for one in blocks)
