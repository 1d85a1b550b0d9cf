"""What several checks ask about who sent a message: is the author's domain proven, did a list or a service send it?"""

from __future__ import annotations

from gateway.types import MailObject

_LIST_FIELDS = ("list-id", "list-post", "list-unsubscribe")
_ROBOTS = (
    "noreply",
    "no-reply",
    "no_reply",
    "donotreply",
    "do-not-reply",
    "notification",
    "mailer",
    "calendar",
    "comments",
)


def is_proven(mail: MailObject) -> bool:
    """Does authentication show that the author's domain sent it? False when authentication did not run.

    What SPF says of HELO counts only where there is no MAIL FROM.
    """
    return any(
        result.result == "pass"
        and (result.method == "dmarc" or (result.is_aligned and result.method in ("spf", "dkim")))
        for result in mail.auth
        if result.identity != "helo" or not mail.envelope.reverse_path
    )


def is_disproved(mail: MailObject) -> bool:
    """Does DMARC say that the author's domain did not send it? False when it did not run, or has no policy."""
    return any(result.method == "dmarc" and result.result == "fail" for result in mail.auth)


def is_bulk(mail: MailObject) -> bool:
    """Does it say that a list or a service sent it? Anybody can say so: believe it only of a proven author."""
    fields = mail.message.by_name
    if any(name in fields for name in _LIST_FIELDS):
        return True
    if "auto-submitted" in fields and fields["auto-submitted"][-1].text.strip().lower() != "no":
        return True
    if "precedence" in fields and fields["precedence"][-1].text.strip().lower() in ("list", "bulk"):
        return True
    return any(box.address.lower().startswith(_ROBOTS) for box in mail.message.author[:1])
