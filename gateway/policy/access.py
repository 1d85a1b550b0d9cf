"""Who may do what with whose mail: the table of roles and acts, and the scope of an account.

The web pages, the REST API and the digests ask here and nowhere else; stores are given the scope, so that what is
not somebody's to see is never read. docs/people.md has the table in words.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final, Literal, get_args

from gateway.mail.address import domain_of
from gateway.types import Account, Role, Scope

Act = Literal[
    "list",  # the quarantine's rows
    "read",  # contents
    "release",
    "redirect",  # release to another address
    "spam",  # delete it, and learn that such mail is spam
    "delete",
    "note",
    "senders",  # allow and block senders
    "log",  # the message log
    "learning",  # what was taught
    "revoke",  # take lessons back
    "audit",  # who did what
    "accounts",
    "privacy",  # export and erase what is kept of a person
    "settings",  # webhooks, retention, digests' schedules
]
_ADDRESS: Final = re.compile(r"[^@\s]{1,64}@[^@\s]{1,255}")
_DOMAIN: Final = re.compile(r"(\*\.)?[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})+")
EVERYBODY: Final = Scope(is_all=True)

_OWN: Final = frozenset[Act](("list", "read", "release", "spam", "delete", "senders", "log"))
_REVIEW: Final = _OWN | frozenset[Act](("note", "learning"))
_OF_ALL: Final = frozenset[Act](("learning", "revoke"))  # lessons belong to no domain
_MAY: Final[Mapping[Role, frozenset[Act]]] = {
    "owner": frozenset(get_args(Act)),
    "domain_admin": _REVIEW | frozenset[Act](("redirect", "audit", "accounts", "privacy")),
    "reviewer": _REVIEW,
    "auditor": frozenset(("list", "read", "log", "learning", "audit")),
    "recipient": _OWN,
}


def may(who: Account, act: Act) -> bool:
    """Whether the role allows it, on mail of the account's scope."""
    if act in _OF_ALL and not scope_of(who).is_all:
        return False
    return act in _MAY[who.role]


def scope_of(who: Account) -> Scope:
    """A recipient's own addresses; an admin's domains; everybody's for the others, unless domains are named."""
    if who.role == "recipient":
        return Scope(addresses=who.addresses)
    if who.role == "owner":
        return EVERYBODY
    if who.domains or who.role == "domain_admin":
        return Scope(domains=who.domains)
    return EVERYBODY


def covers(scope: Scope, recipient: str) -> bool:
    """Whether mail to this address (any case) is in the scope."""
    address = recipient.lower()
    return scope.is_all or address in scope.addresses or ("@" in address and covers_domain(scope, domain_of(address)))


def covers_domain(scope: Scope, domain: str) -> bool:
    """Whether all mail to this domain is; "*.example.ir" stands for what is below."""
    if scope.is_all or domain in scope.domains:
        return True
    return any(one.startswith("*.") and domain.endswith(one[1:]) for one in scope.domains)


def narrow(who: Account, domains: tuple[str, ...]) -> Account | None:
    """The account as a token limited to these domains has it; None when nothing is left. () limits nothing."""
    if not domains:
        return who
    scope, wanted = scope_of(who), Scope(domains=domains)
    if who.role == "recipient":
        left = tuple(one for one in who.addresses if covers(wanted, one))
        return replace(who, addresses=left) if left else None
    his = tuple(one for one in domains if covers_domain(scope, one))
    his += tuple(one for one in scope.domains if one not in his and covers_domain(wanted, one))
    role: Role = "domain_admin" if who.role == "owner" else who.role  # an owner's scope has no limit
    return replace(who, role=role, domains=his) if his else None


def manages(who: Account, other: Account) -> bool:
    """Whether he may make, change and remove such an account: an owner any, others what lies inside their scope."""
    if who.role == "owner":
        return True
    mine, theirs = scope_of(who), scope_of(other)
    if not may(who, "accounts") or theirs.is_all or not (theirs.domains or theirs.addresses):
        return False
    return all(covers_domain(mine, one) for one in theirs.domains) and all(
        covers(mine, one) for one in theirs.addresses
    )


def account_fault(who: Account) -> str:
    """What is wrong with the role and scope of an account to be, in words for a form; "" for nothing."""
    if any(not _ADDRESS.fullmatch(one) for one in who.addresses):
        return "Write each address as name@example.ir."
    if any(not _DOMAIN.fullmatch(one) for one in who.domains):
        return "Write each domain as example.ir, or *.example.ir for what is below."
    if who.role == "recipient" and not who.addresses:
        return "A recipient needs an address."
    if who.role == "domain_admin" and not who.domains:
        return "A domain admin needs a domain."
    return ""


def acts_of(who: Account) -> list[Act]:
    """What a token of this account can be for."""
    return [act for act in get_args(Act) if may(who, act)]


def token_fault(
    who: Account, name: str, acts: Sequence[str], domains: tuple[str, ...], days: int, max_days: int
) -> str:
    """What is wrong with a token to be, in words for a form; "" for nothing."""
    if not name.strip() or not name.isprintable():
        return "Give the token a name that says who uses it."
    if not acts or not set(acts) <= set[str](acts_of(who)):
        return "Choose what the token may do, of what you may do yourself."
    if not 1 <= days <= max_days:
        return "The token lasts too long, or not a day."
    scope = scope_of(who)
    mine = {one.rpartition("@")[2] for one in who.addresses}
    if not all(covers_domain(scope, one) or one in mine for one in domains):
        return "Your account has none of the mail of such a domain."
    return ""
