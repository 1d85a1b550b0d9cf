"""Whom the message says it is for, against whom it came to."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.types import Finding, MailObject


class RecipientField:
    """See the module."""

    name = "recipient"
    findings = ("TO_UNDISCLOSED", "SUBJECT_HAS_LOCAL_PART", "TO_IS_AUTHOR")

    def check(self, mail: MailObject) -> Iterator[Finding]:
        """Needs the envelope's recipients for the second."""
        message = mail.message
        to = "" if message.to or "to" not in message.by_name else message.by_name["to"][0].text
        if "undisclosed" in to.lower():
            yield Finding("TO_UNDISCLOSED", (f"To says {to[:60]!r}",))
        subject = message.subject.lower()
        for one in mail.envelope.recipients[:5]:
            if one.address.rfind("@") >= 5 and one.address.lower() in subject:
                yield Finding("SUBJECT_HAS_LOCAL_PART", (f"the subject holds {one.address}",))
                break
        authors = {box.address.lower() for box in message.author if box.address}
        if authors and {box.address.lower() for box in message.to} == authors:
            yield Finding("TO_IS_AUTHOR", ("the message says it is from and to the same address",))
