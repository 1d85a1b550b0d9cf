"""A Reply-To that leads away from the author."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.auth.identity import Identity
from gateway.auth.organisation import organisational_domain
from gateway.auth.sender import is_proven
from gateway.types import Finding, MailObject


class ReplyTo:
    """See the module."""

    name = "reply_to"
    findings = ("REPLY_TO_ELSEWHERE", "REPLY_TO_FREEMAIL", "REPLY_TO_OTHER_FREEMAIL")

    def __init__(self, identity: Identity) -> None:
        self._freemail = identity.freemail

    def check(self, mail: MailObject) -> Iterator[Finding]:
        """Mailing lists set Reply-To to themselves: an answer to a recipient of the message is not elsewhere."""
        author = next((box.domain for box in mail.message.author if box.domain), "")
        known = {box.address.lower() for box in (*mail.message.to, *mail.message.author)}
        for box in mail.message.reply_to[:3]:
            if not box.domain or not author or box.address.lower() in known:
                continue
            if box.domain in self._freemail and author not in self._freemail and not _is_list(mail):
                yield Finding("REPLY_TO_FREEMAIL", (f"from {author}, but answers go to {box.address[:120]}",))
            elif box.domain in self._freemail and author in self._freemail:
                yield Finding("REPLY_TO_OTHER_FREEMAIL", (f"from {author}, but answers go to {box.address[:120]}",))
            elif organisational_domain(box.domain) != organisational_domain(author):
                yield Finding("REPLY_TO_ELSEWHERE", (f"from {author}, but answers go to {box.domain}",))
            return


def _is_list(mail: MailObject) -> bool:
    """A proven list that writes in its members' names sends the answers to them, wherever they are."""
    return not mail.message.by_name.keys().isdisjoint(("list-id", "list-post")) and is_proven(mail)
