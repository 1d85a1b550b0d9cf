"""The form of the Message-ID (RFC 5322 §3.6.4)."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.auth.trust import TRUSTED
from gateway.types import Finding, MailObject


class MessageId:
    """See the module."""

    name = "message_id"
    findings = ("MESSAGE_ID_INVALID", "MESSAGE_ID_NO_DOMAIN", "MESSAGE_ID_OURS")

    def check(self, mail: MailObject) -> Iterator[Finding]:
        """Silent without the field."""
        fields = mail.message.by_name.get("message-id")
        if not fields:
            return
        found = mail.message.message_id
        host = found.rpartition("@")[2].lower()
        if not found:
            yield Finding("MESSAGE_ID_INVALID", (f"Message-ID {fields[0].text[:60]!r} has not the form <left@right>",))
        elif "@" not in found or not host.strip("[]"):
            yield Finding("MESSAGE_ID_NO_DOMAIN", (f"Message-ID <{found[:60]}> names no domain",))
        elif any(host == one.domain for one in mail.envelope.recipients) and not _from_us(mail):
            yield Finding("MESSAGE_ID_OURS", (f"Message-ID <{found[:60]}> claims to be made by {host}",))


def _from_us(mail: MailObject) -> bool:
    """A reply or a bounce to our own mail may well carry our ids; a fresh message from our authenticated domain too."""
    return any(
        (result.method == "dmarc" and result.result == "pass") or (result.method == "arc" and result.policy == TRUSTED)
        for result in mail.auth
    )
