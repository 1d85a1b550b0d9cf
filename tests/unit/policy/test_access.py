"""policy/access.py: the table, and whose mail a scope has."""

from __future__ import annotations

from typing import get_args

import pytest

from gateway.policy.access import EVERYBODY, Act, account_fault, covers, covers_domain, manages, may, scope_of
from gateway.types import Account, Role, Scope

OWNER = Account("o", "owner", ("ignored.example",))
ADMIN = Account("d", "domain_admin", ("example.ir", "*.example.ir"))
REVIEWER = Account("r", "reviewer")
AUDITOR = Account("a", "auditor", ("example.ir",))
RECIPIENT = Account("sara@example.ir", "recipient", (), ("sara@example.ir", "info@example.ir"))
ACTS: dict[Role, str] = {
    "owner": " ".join(get_args(Act)),
    "domain_admin": "list read release redirect spam delete note senders log audit accounts privacy",
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


@pytest.mark.parametrize(
    ("who", "other", "is_so"),
    [
        (OWNER, Account("x", "owner"), True),
        (OWNER, ADMIN, True),
        (ADMIN, ADMIN, True),
        (ADMIN, OWNER, False),
        (ADMIN, REVIEWER, False),  # everybody's
        (ADMIN, Account("x", "reviewer", ("example.ir",)), True),
        (ADMIN, Account("x", "reviewer", ("mail.example.ir", "*.mail.example.ir")), True),
        (ADMIN, Account("x", "auditor", ("example.ir", "example.org")), False),
        (ADMIN, Account("x", "domain_admin", ("*.ir",)), False),
        (ADMIN, Account("x", "domain_admin"), False),
        (ADMIN, RECIPIENT, True),
        (ADMIN, Account("x", "recipient", (), ("sara@example.ir", "sara@example.org")), False),
        (ADMIN, Account("x", "recipient"), False),
        (Account("d", "domain_admin", ("example.ir",)), Account("x", "auditor", ("*.example.ir",)), False),
        (Account("d", "domain_admin"), Account("x", "recipient", (), ("a@b.example",)), False),
        (REVIEWER, RECIPIENT, False),
        (AUDITOR, RECIPIENT, False),
        (RECIPIENT, RECIPIENT, False),
    ],
)
def test_whose_accounts(who: Account, other: Account, is_so: bool) -> None:
    assert manages(who, other) == is_so


@pytest.mark.parametrize(
    ("who", "said"),
    [
        (OWNER, ""),
        (ADMIN, ""),
        (REVIEWER, ""),
        (RECIPIENT, ""),
        (Account("x", "recipient"), "needs an address"),
        (Account("x", "domain_admin"), "needs a domain"),
        (Account("x", "reviewer", ("example",)), "each domain"),
        (Account("x", "reviewer", ("*",)), "each domain"),
        (Account("x", "reviewer", ("a.*.example.ir",)), "each domain"),
        (Account("x", "recipient", (), ("sara",)), "each address"),
        (Account("x", "recipient", (), ("sara@",)), "each address"),
    ],
)
def test_faults_of_accounts(who: Account, said: str) -> None:
    fault = account_fault(who)
    assert said in fault and bool(said) == bool(fault)
