"""How the client spoke SMTP, as the listener noticed it: Envelope.manner in words."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.types import Finding, MailObject

_WORDS = {
    "SMTP_EARLY_TALKER": "the client spoke before it was greeted",
    "SMTP_PIPELINED_EARLY": "the client did not wait for a reply where it must (RFC 2920)",
    "SMTP_BARE_LINE_END": "CR or LF stood alone in the message; they were made line ends",
    "SMTP_NUL": "the message held NUL characters, which were taken out",
}


class Protocol:
    """See the module."""

    name = "protocol"
    findings = tuple(_WORDS)

    def check(self, mail: MailObject) -> Iterator[Finding]:
        """Silent for what did not come through the SMTP listener."""
        for name in mail.envelope.manner:
            if name in _WORDS:
                yield Finding(name, (_WORDS[name],))
