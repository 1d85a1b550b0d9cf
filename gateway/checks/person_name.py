"""Our people's names before foreign addresses: the director who writes from a free-mail address (BEC, "CEO fraud").

A namesake may exist and a person may have a private address ([[identity.person]] also), so a name alone is a doubt;
with a request for money, an answer that goes elsewhere or a look-alike domain it is more (rules/24_imposture.cf).
Services write in a person's name ("Sara Rahimi (Docs)" from noreply@): believed where the service is proven.
Whether the sender is a first contact or known is what gateway/checks/reputation.py says; the same rules join the two.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from gateway.auth.identity import Identity, Person
from gateway.auth.sender import is_bulk, is_proven
from gateway.mail.person_name import is_disguised
from gateway.types import Address, Finding, MailObject

_MAX_AUTHORS = 3
_NOT_LETTERS = re.compile(r"[\W\d_]+")


class PersonName:
    """See the module."""

    name = "person_name"
    findings = (
        "PERSON_NAME_FREEMAIL",
        "PERSON_NAME_ELSEWHERE",
        "PERSON_NAME_SERVICE",
        "PERSON_NAME_DISGUISED",
        "PERSON_NAME_IN_ADDRESS",
        "PERSON_NAME_REPLY_TO",
        "ORGANISATION_NAME_FREEMAIL",
        "ORGANISATION_OFFICE_ELSEWHERE",
    )

    def __init__(self, identity: Identity) -> None:
        self._identity = identity

    def check(self, mail: MailObject) -> Iterator[Finding]:
        """At most one of a kind."""
        message = mail.message
        for box in message.author[:_MAX_AUTHORS]:
            if box.domain and not self._identity.is_own(box.domain):
                found = tuple(self._look_at(mail, box))
                if found:
                    yield from found
                    break
        for box in message.reply_to[:_MAX_AUTHORS]:
            person = self._foreign(box) if box.display_name else None
            if person is not None and not any(box.address.lower() == one.address.lower() for one in message.author):
                shown = f"“{box.display_name[:60]}” at {box.address[:120]}"
                yield Finding("PERSON_NAME_REPLY_TO", (f"answers go to {shown}, but that is {person.shown[:200]}",))
                break

    def _foreign(self, box: Address) -> Person | None:
        """Whose name stands before this address, when none who is called so writes from there."""
        people = self._identity.people.find(box.display_name[:200])
        if not people or not box.domain or any(self._identity.may_write_as(one, box.address) for one in people):
            return None
        return people[0]

    def _look_at(self, mail: MailObject, box: Address) -> Iterator[Finding]:
        identity = self._identity
        is_free = box.domain in identity.freemail
        person = self._foreign(box) if box.display_name else None
        if person is not None:
            words = (f"“{box.display_name[:60]}” is {person.shown[:200]}, but this comes from {box.address[:120]}",)
            if is_disguised(box.display_name):
                yield Finding("PERSON_NAME_DISGUISED", ("the name is written with foreign or invisible letters",))
            if is_free:
                yield Finding("PERSON_NAME_FREEMAIL", words)
            elif is_proven(mail) and (is_bulk(mail) or self._goes_home(mail, person)):
                yield Finding("PERSON_NAME_SERVICE", words)
            else:
                yield Finding("PERSON_NAME_ELSEWHERE", words)
        elif is_free and not box.display_name:
            local = _NOT_LETTERS.sub(" ", box.address.rpartition("@")[0][:100])
            people = identity.people.find(local)
            if people and not any(identity.may_write_as(one, box.address) for one in people):
                yield Finding(
                    "PERSON_NAME_IN_ADDRESS",
                    (f"{box.address[:120]} is made of the name of {people[0].shown[:200]}",),
                )
        yield from self._organisation(mail, box, is_free=is_free)

    def _goes_home(self, mail: MailObject, person: Person) -> bool:
        """Answers go to the person: a list or a form that writes for others."""
        return any(self._identity.may_write_as(person, box.address) for box in mail.message.reply_to[:_MAX_AUTHORS])

    def _organisation(self, mail: MailObject, box: Address, *, is_free: bool) -> Iterator[Finding]:
        """Our name in the words before a foreign address: "Darban support", darban.office@gmail.com."""
        local = f" {box.address.rpartition('@')[0][:64]}" if is_free else ""
        word, has_office = self._identity.find_own_name(box.display_name[:100] + local)
        if not word or self._identity.is_partner(box.domain):
            return
        words = (f"uses your name “{word}”, but writes from {box.address[:120]}",)
        if is_free:
            yield Finding("ORGANISATION_NAME_FREEMAIL", words)
        elif has_office and not (is_proven(mail) and is_bulk(mail)):
            yield Finding("ORGANISATION_OFFICE_ELSEWHERE", words)
