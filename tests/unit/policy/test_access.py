"""policy/access.py: the table, and whose mail a scope has."""

from __future__ import annotations

from typing import get_args

import pytest

from gateway.policy.access import EVERYBODY, Act, covers, covers_domain, may, scope_of
from gateway.types import Account, Role, Scope

OWNER = Account("o", "owner", ("ignored.example",))
ADMIN = Account("d", "domain_admin", ("example.ir", "*.example.ir"))
REVIEWER = Account("r", "reviewer")
AUDITOR = Account("a", "auditor", ("example.ir",))
RECIPIENT = Account("sara@example.ir", "recipient", (), ("sara@example.ir", "info@example.ir"))
ACTS: dict[Role, str] = {
    "owner": " ".join(get_args(Act)),
    "domain_admin": "list read release spam delete note senders log audit accounts privacy",
    "reviewer": "list read release spam delete note senders log learning",
    "auditor": "list read log audit",
    "recipient": "list read release spam delete senders log",
}


@pytest.mark.parametrize("who", [OWNER, ADMIN, REVIEWER, AUDITOR, RECIPIENT], ids=lambda who: who.role)
def test_acts(who: Account) -> None:
    assert {act for act in get_args(Act) if may(who, act)} == set(ACTS[who.role].split())


@pytest.mark.parametrize(
    ("who", "scope"),
    [
        (OWNER, EVERYBODY),
        (ADMIN, Scope(domains=ADMIN.domains)),
        (Account("d", "domain_admin"), Scope()),
        (REVIEWER, EVERYBODY),
        (AUDITOR, Scope(domains=("example.ir",))),
        (RECIPIENT, Scope(addresses=RECIPIENT.addresses)),
        (Account("x", "recipient", ("example.ir",)), Scope()),
    ],
)
def test_scope(who: Account, scope: Scope) -> None:
    assert scope_of(who) == scope


@pytest.mark.parametrize(
    ("recipient", "is_covered"),
    [
        ("Ali@Example.IR", True),
        ("ali@mail.example.ir", True),
        ("ali@badexample.ir", False),
        ("ali@example.ir.evil.example", False),
        ("example.ir", False),
        ("", False),
    ],
)
def test_domains(recipient: str, is_covered: bool) -> None:
    assert covers(scope_of(ADMIN), recipient) is is_covered
    assert covers(EVERYBODY, recipient)
    assert not covers(Scope(), recipient)


def test_addresses() -> None:
    assert covers(scope_of(RECIPIENT), "SARA@example.ir")
    assert not covers(scope_of(RECIPIENT), "ali@example.ir")
    assert not covers_domain(scope_of(RECIPIENT), "example.ir")
