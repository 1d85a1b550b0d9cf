"""Who is who: our domains and people, our partners, free-mail providers and link shorteners, as [identity] names them.

Made once from the configuration and given to the checks; everything that is asked for each message is a look-up.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from gateway.auth.lookalike import GENERIC, Lookalikes
from gateway.auth.organisation import organisational_domain
from gateway.mail.address import domain_of
from gateway.mail.person_name import Names, agree, fold_latin, fold_persian

_NOT_LETTERS = re.compile(r"[\W\d_]+")
_PERSIAN = re.compile("[\u0600-\u06ff]")
# What an office calls itself; with our organisation's name before a foreign address it plays ours
_OFFICES = frozenset(
    "accounting accounts admin administration administrator billing ceo director finance helpdesk hr info invoices it "
    "mailer management office payroll postmaster purchasing sales security service support team treasury webmaster "
    "حسابداری مالی پشتیبانی فروش مدیریت مدیر منابع انسانی اداری دفتر روابط بازرگانی تدارکات خزانه امنیت".split()
)
_MIN_NAME = 5  # letters of an organisation's name that is looked for in the words of a mailbox


class Person(NamedTuple):
    """Somebody an impostor would play."""

    name: str
    address: str  # lower case
    also: tuple[str, ...] = ()  # further addresses, and "@domain" for every address there; lower case
    role: str = ""  # "finance", "director": told with the evidence

    @property
    def shown(self) -> str:
        """The name, the office where it is known, and the address."""
        return f"{self.name} ({self.role}), {self.address}" if self.role else f"{self.name}, {self.address}"


@dataclass(frozen=True, slots=True)
class Identity:
    """See the module. Made by make_identity."""

    own: frozenset[str]  # our domains, as the configuration names them
    partners: frozenset[str]
    freemail: frozenset[str]
    shorteners: frozenset[str]
    people: Names[Person]
    lookalikes: Lookalikes
    offices: frozenset[str]  # words for offices, with the one-word names among our people
    names: frozenset[str]  # of our organisation: the first labels of our domains without hyphens, no common words
    own_organisations: frozenset[str]
    partner_organisations: frozenset[str]

    def is_own(self, domain: str) -> bool:
        """Is it our organisation's, whatever stands before it?"""
        return organisational_domain(domain) in self.own_organisations

    def is_partner(self, domain: str) -> bool:
        """Is it a partner's?"""
        return organisational_domain(domain) in self.partner_organisations

    def find_own_name(self, text: str) -> tuple[str, bool]:
        """(the word of a text that is our organisation's name, in Latin or Persian letters; "" without one,
        whether a word for an office stands beside it)
        """
        return _find_own_name(text, self.names, self.offices) if self.names else ("", False)

    def is_below_own(self, domain: str) -> bool:
        """Is it one of our domains, or below one?"""
        while domain not in self.own:
            _, _, domain = domain.partition(".")
            if not domain:
                return False
        return True

    def may_write_as(self, person: Person, address: str) -> bool:
        """May this person's name stand before this address? Our own domain is judged by authentication, not here."""
        address = address.lower()
        domain = domain_of(address)
        if address == person.address or address in person.also or f"@{domain}" in person.also:
            return True
        if self.is_own(domain):
            return True
        home = domain_of(person.address)
        return home not in self.freemail and organisational_domain(home) == organisational_domain(domain)


@lru_cache(maxsize=4096)
def _find_own_name(text: str, names: frozenset[str], offices: frozenset[str]) -> tuple[str, bool]:
    words = _NOT_LETTERS.sub(" ", text.lower()).split()[:20]
    pairs = [one + other for one, other in pairwise(words)]  # novin-system.ir is called Novin System
    found = next((word for word in (*words, *pairs) if word in names), "")
    if not found and not text.isascii():
        persian = [word for word in (*words, *pairs) if len(word) > 2 and _PERSIAN.match(word)]
        folded = [fold_latin(name) for name in names]
        found = next((one for one in persian if any(agree(name, fold_persian(one)) for name in folded)), "")
    return found, not offices.isdisjoint(words)


def make_identity(
    *,
    own: Iterable[str] = (),
    partners: Iterable[str] = (),
    freemail: Iterable[str] = (),
    shorteners: Iterable[str] = (),
    people: Iterable[Person] = (),
) -> Identity:
    """Domains are lower-case A-labels; "*.example.ir" stands for what is below."""
    ours = frozenset(domain.removeprefix("*.") for domain in own)
    theirs, free = frozenset(partners) - ours, frozenset(freemail)
    organisations = frozenset(organisational_domain(domain) for domain in ours)
    known = list(people)
    names = frozenset(domain.partition(".")[0].replace("-", "") for domain in organisations)
    parts = {word for domain in organisations for word in domain.partition(".")[0].split("-")}
    roles = {word for person in known for word in _NOT_LETTERS.sub(" ", person.role.lower()).split()}
    own_words = {word for person in known for word in _NOT_LETTERS.sub(" ", person.name.lower()).split()}
    return Identity(
        own=ours,
        partners=theirs,
        freemail=free,
        shorteners=frozenset(shorteners),
        people=Names(
            [(person.name, person) for person in known], ignored=(names | parts | roles | _OFFICES) - own_words
        ),
        lookalikes=Lookalikes(ours, theirs, harmless=free),
        offices=_OFFICES.union(person.name.lower() for person in known if " " not in person.name.strip()),
        names=frozenset(name for name in names if len(name) >= _MIN_NAME and name not in GENERIC),
        own_organisations=organisations,
        partner_organisations=frozenset(organisational_domain(domain) for domain in theirs),
    )
