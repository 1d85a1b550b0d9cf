"""gateway.policy.feedback: what a message adds to DMARC reports (RFC 9990 §3.1.1.9, §3.1.3)."""

from __future__ import annotations

import pytest

from gateway.policy.feedback import MAX_SIGNATURES, dmarc_rows
from gateway.types import AuthResult, Client, Delivery, DmarcRow, Outcome, Reply
from tests.builders import AT, envelope, recipient, verdict

TAKEN = Reply(250, "2.0.0", "taken")
RECORD = "treewalk v=DMARC1; p=reject; rua=mailto:d@example.org"


def spf(result: str = "pass", domain: str = "example.org", **changes: object) -> AuthResult:
    return AuthResult("spf", result, domain, identity="mailfrom")._replace(**changes)


def dkim(result: str = "pass", domain: str = "example.org", is_aligned: bool = False) -> AuthResult:
    return AuthResult("dkim", result, domain, selector="s1", is_aligned=is_aligned)


def dmarc(result: str = "fail", policy: str = "reject", override: str = "", record: str = RECORD) -> AuthResult:
    return AuthResult(
        "dmarc",
        result,
        "a.example.org",
        policy=policy,
        override=override,
        policy_domain="example.org",
        policy_record=record,
    )


def rows(
    *auth: AuthResult, action: str = "accept", reply: Reply = TAKEN, to: str = "you@darban.test", **changes: object
) -> tuple[DmarcRow, ...]:
    deliveries = tuple(Delivery(recipient(one), action, reply, "") for one in to.split())  # type: ignore[arg-type]
    outcome = Outcome("Q", reply, deliveries, verdict(auth=auth))
    return dmarc_rows(outcome, envelope(*to.split(), **changes))


def test_a_row_says_all_that_a_report_needs() -> None:
    (row,) = rows(spf("softfail", "bounce.example.org"), dkim(is_aligned=True), dmarc("pass"))
    assert row == DmarcRow(
        AT, "example.org", RECORD, "192.0.2.1", "a.example.org", "bounce.example.org", "darban.test", "pass", True, False,
        (), (("example.org", "s1", "pass"),), ("bounce.example.org", "softfail"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("result", "action", "disposition", "overrides"),
    [
        (dmarc("pass", "reject"), "accept", "pass", ()),
        (dmarc("pass", "none"), "accept", "none", ()),
        (dmarc("pass", "reject"), "reject", "pass", ()),  # refused, but not by DMARC
        (dmarc("fail", "none"), "accept", "none", ()),
        (dmarc("fail", "none"), "reject", "none", ()),
        (dmarc("fail", "quarantine"), "quarantine", "quarantine", ()),
        (dmarc("fail", "quarantine"), "tag", "quarantine", ()),
        (dmarc("fail", "quarantine"), "reject", "quarantine", ()),
        (dmarc("fail", "quarantine"), "accept", "none", ("local_policy",)),
        (dmarc("fail", "reject"), "reject", "reject", ()),
        (dmarc("fail", "reject"), "quarantine", "quarantine", ("local_policy",)),
        (dmarc("fail", "reject"), "accept", "none", ("local_policy",)),
        (dmarc("fail", "quarantine", "policy_test_mode"), "reject", "quarantine", ("policy_test_mode",)),
        (dmarc("fail", "none", "policy_test_mode"), "accept", "none", ("policy_test_mode",)),
        (dmarc("fail", "quarantine", "policy_test_mode"), "accept", "none", ("policy_test_mode", "local_policy")),
        (dmarc("fail", "reject", "trusted_forwarder"), "accept", "none", ("trusted_forwarder",)),
        (dmarc("fail", "reject", "trusted_forwarder"), "reject", "none", ("trusted_forwarder",)),
        (dmarc("temperror", "reject"), "accept", "none", ("other",)),
        (dmarc("temperror", "none"), "accept", "none", ()),
    ],
)
def test_dispositions(result: AuthResult, action: str, disposition: str, overrides: tuple[str, ...]) -> None:
    (row,) = rows(result, action=action)
    assert (row.disposition, row.overrides) == (disposition, overrides)


@pytest.mark.parametrize(
    "result",
    [
        dmarc(record=""),
        dmarc(record="treewalk v=DMARC1; p=reject"),
        dmarc(record="treewalk v=DMARC1; p=reject; xrua=mailto:d@example.org"),
        AuthResult("dmarc", "permerror", reason="there is no From field"),
        AuthResult("dmarc", "none", "example.org"),
        AuthResult("dmarc", "temperror", "example.org"),
    ],
)
def test_who_asks_for_no_report_is_not_counted(result: AuthResult) -> None:
    assert rows(result) == ()


def test_a_deferred_message_will_come_again() -> None:
    assert rows(dmarc(), reply=Reply(451, "4.3.0", "later")) == ()
    assert len(rows(dmarc(), reply=Reply(550, "5.1.1", "no such user"))) == 1


def test_without_a_verdict_or_a_client_there_is_nothing_to_tell() -> None:
    assert dmarc_rows(Outcome("Q", TAKEN, (), None), envelope()) == ()
    assert rows(dmarc(), client=Client("")) == ()


def test_one_row_for_each_domain_and_disposition() -> None:
    found = rows(dmarc(), to="a@darban.test b@darban.test c@other.test")
    assert [row.envelope_to for row in found] == ["darban.test", "other.test"]


def test_the_null_reverse_path_is_checked_by_its_helo_name() -> None:
    (row,) = rows(spf(domain="mx.example.org", identity="helo"), dmarc())
    assert (row.envelope_from, row.spf) == ("", ("mx.example.org", "pass"))
    (row,) = rows(dmarc())
    assert row.spf == ("", "none")


def test_the_telling_signatures_come_first() -> None:
    many = [dkim("fail", f"x{number}.example") for number in range(20)]
    nameless = AuthResult("dkim", "permerror", "", reason="no d=")
    own = dkim(domain="a.example.org", is_aligned=True)
    (row,) = rows(nameless, *many, dkim(domain="esp.example"), dkim(is_aligned=True), own, dmarc("pass"))
    assert [domain for domain, _, _ in row.dkim[:4]] == ["a.example.org", "example.org", "esp.example", "x0.example"]
    assert len(row.dkim) == MAX_SIGNATURES
