"""The reverse-path and Sender against the author, and bounces that are none (RFC 5321 §4.5.5, RFC 5322 §3.6.2)."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.auth.organisation import organisational_domain
from gateway.auth.sender import is_bulk, is_proven
from gateway.mail.address import domain_of
from gateway.types import Finding, MailObject


class ReversePath:
    """See the module."""

    name = "reverse_path"
    findings = ("REVERSE_PATH_OTHER_DOMAIN", "SENDER_OTHER_DOMAIN", "BOUNCE_UNLIKELY")

    def check(self, mail: MailObject) -> Iterator[Finding]:
        """Lists and senders' services have reverse-paths of their own: a relation, hardly a sign by itself.

        A Sender too; it counts where the author is not proven and no list or service shows itself.
        """
        author = next((box for box in mail.message.author if box.domain), None)
        reverse_path = mail.envelope.reverse_path
        if author is None:
            return
        if reverse_path:
            domain = domain_of(reverse_path)
            if domain and organisational_domain(domain) != organisational_domain(author.domain):
                yield Finding("REVERSE_PATH_OTHER_DOMAIN", (f"sent by {domain} for {author.domain}",))
        elif mail.envelope.client.helo and not _is_automatic(mail, author.address):
            yield Finding(
                "BOUNCE_UNLIKELY",
                (f"a null reverse-path, but neither a report nor an automatic answer: {author.address[:120]}",),
            )
        yield from _sender(mail, author.domain)


def _sender(mail: MailObject, author: str) -> Iterator[Finding]:
    sender = next((box.domain for box in mail.message.sender if box.domain), author)
    if sender == author or not mail.auth or organisational_domain(sender) == organisational_domain(author):
        return
    if not is_proven(mail) and not is_bulk(mail):
        yield Finding("SENDER_OTHER_DOMAIN", (f"{sender} says that it sends for {author}, which is not proven",))


def _is_automatic(mail: MailObject, author: str) -> bool:
    local = author.partition("@")[0].lower()
    fields = mail.message.by_name
    automatic = fields["auto-submitted"][-1].text.lower() if "auto-submitted" in fields else "no"
    return (
        local in ("mailer-daemon", "postmaster", "mdaemon", "noreply", "no-reply")
        or automatic != "no"
        or any(part.content_type in ("multipart/report", "message/delivery-status") for part in mail.message.parts)
        or "x-autoreply" in fields
        or "x-failed-recipients" in fields
    )
