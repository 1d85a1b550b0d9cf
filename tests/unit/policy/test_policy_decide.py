"""policy/: thresholds, incompleteness, one reply for all, wildcard domains."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.decide import decide, reconcile, share_copy
from gateway.policy.domains import ConfiguredDomains
from gateway.policy.settle import settle
from gateway.types import Delivery, Disposition, DomainPolicy, Reply
from tests.builders import recipient, verdict

POLICY = DomainPolicy("darban.test", "maildir:/x", tag_at=5, quarantine_at=8, reject_at=15, on_incomplete="tag")


@pytest.mark.parametrize(
    ("score", "incomplete", "action", "reason"),
    [
        (0.0, (), "accept", "score 0.0 < tag_at 5.0"),
        (4.99, (), "accept", "score 5.0 < tag_at 5.0"),
        (5.0, (), "tag", "score 5.0 >= tag_at 5.0"),
        (8.0, (), "quarantine", "score 8.0 >= quarantine_at 8.0"),
        (15.0, (), "reject", "score 15.0 >= reject_at 15.0"),
        (0.0, ("rules: ValueError",), "tag", "incomplete: rules: ValueError"),
        (9.0, ("rules: ValueError",), "quarantine", "score 9.0 >= quarantine_at 8.0"),
        (0.0, ("dns: spf could not be looked up",), "accept", "score 0.0 < tag_at 5.0"),
    ],
)
def test_decide(score: float, incomplete: tuple[str, ...], action: str, reason: str) -> None:
    wanted = decide(verdict(score, incomplete=incomplete), recipient(), POLICY)
    assert (wanted.action, wanted.reason, wanted.required_score) == (action, reason, 5)


def _wanted(action: str, name: str) -> Disposition:
    return Disposition(recipient(f"{name}@darban.test"), action, "why", 5.0)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (["reject", "reject"], ["reject", "reject"]),
        (["reject", "accept"], ["quarantine", "accept"]),
        (["quarantine", "tag", "reject"], ["quarantine", "tag", "quarantine"]),
        (["accept"], ["accept"]),
    ],
)
def test_reconcile(before: list[str], after: list[str]) -> None:
    assert [one.action for one in reconcile([_wanted(a, str(i)) for i, a in enumerate(before)])] == after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("accept:5 accept:9", "accept:5 accept:5"),
        ("accept:9 tag:5", "tag:5 tag:5"),
        ("quarantine:3 tag:5 accept:9", "quarantine:3 tag:5 tag:5"),
        ("quarantine:3 accept:9", "quarantine:3 accept:9"),
        ("reject:3 reject:9", "reject:3 reject:9"),
        ("quarantine:3", "quarantine:3"),
    ],
)
def test_one_copy_for_all(before: str, after: str) -> None:
    words = [one.split(":") for one in before.split()]
    wanted = [Disposition(recipient(), action, "why", float(score)) for action, score in words]  # type: ignore[arg-type]
    assert " ".join(f"{one.action}:{one.required_score:g}" for one in share_copy(wanted)) == after


@pytest.mark.parametrize(
    ("codes", "code"),
    [
        ([], 451),
        ([250], 250),
        ([250, 451], 451),
        ([550, 550], 550),
        ([250, 550], 451),
        ([451, 550], 451),
        ([250, 250], 250),
        ([199], 451),
    ],
)
def test_settle(codes: list[int], code: int) -> None:
    deliveries = [Delivery(recipient(), "accept", Reply(c, f"{c // 100}.0.0", "said"), "") for c in codes]
    reply = settle(deliveries, "Q1")
    assert reply.code == code
    assert "Q1" in reply.text


@given(st.lists(st.sampled_from([250, 251, 450, 451, 550, 554]), max_size=6))
def test_settle_never_accepts_what_somebody_lacks(codes: list[int]) -> None:
    deliveries = [Delivery(recipient(), "accept", Reply(c, f"{c // 100}.0.0", "said"), "") for c in codes]
    reply = settle(deliveries, "Q1")
    assert (reply.code // 100 == 2) == (bool(codes) and all(c // 100 == 2 for c in codes))
    assert (reply.code // 100 == 5) == (bool(codes) and all(c // 100 == 5 for c in codes))


@pytest.mark.parametrize(
    ("domain", "found"),
    [("darban.test", "darban.test"), ("DARBAN.test", "darban.test"), ("a.example.ir", "*.example.ir"), ("a.b.example.ir", "*.example.ir"),
     ("example.ir", None), ("evil-darban.test", None)],
)  # fmt: skip
def test_domains(domain: str, found: str | None) -> None:
    source = ConfiguredDomains([POLICY, DomainPolicy("*.example.ir", "maildir:/y")])
    policy = source.policy(domain)
    assert (policy.name if policy else None) == found


def test_postmaster_without_a_domain_is_the_first_domains() -> None:
    assert ConfiguredDomains([POLICY, DomainPolicy("example.net", "maildir:/y")]).policy("") == POLICY
    assert ConfiguredDomains([]).policy("") is None
