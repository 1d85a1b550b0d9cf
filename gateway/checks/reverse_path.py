"""The reverse-path against the author, and bounces that are none (RFC 5321 §4.5.5)."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.auth.organisation import organisational_domain
from gateway.mail.address import domain_of
from gateway.types import Finding, MailObject


class ReversePath:
    """See the module."""

    name = "reverse_path"
    findings = ("REVERSE_PATH_OTHER_DOMAIN", "BOUNCE_UNLIKELY")

    def check(self, mail: MailObject) -> Iterator[Finding]:
        """Lists and senders' services have reverse-paths of their own: a relation, hardly a sign by itself."""
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
