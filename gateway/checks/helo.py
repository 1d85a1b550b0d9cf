"""What the client said in HELO (RFC 5321 §4.1.1.1, 4.1.4): a sending server names itself by a domain of its own."""

from __future__ import annotations

import re
from collections.abc import Iterator

from gateway.types import Finding, MailObject

_LITERAL = re.compile(r"\[(?:ipv6:)?[0-9a-f:.]+\]")
_BARE_IP = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}")
_LOCAL = frozenset(
    ("localhost", "localhost.localdomain", "localdomain", "user", "friend", "host", "mailserver", "server")
)


class Helo:
    """See the module."""

    name = "helo"
    findings = ("HELO_BARE_IP", "HELO_NO_DOMAIN", "HELO_LOCALHOST", "HELO_OURS", "HELO_LITERAL")

    def check(self, mail: MailObject) -> Iterator[Finding]:
        """Silent when nothing was said: `darban scan` may not know it."""
        envelope = mail.envelope
        helo = envelope.client.helo.rstrip(".").lower()
        if not helo or envelope.client.ip.startswith(("127.", "::1")):
            return
        if _LITERAL.fullmatch(helo):
            yield Finding("HELO_LITERAL", (f"the client calls itself {helo}, an address",))
        elif _BARE_IP.fullmatch(helo):
            yield Finding("HELO_BARE_IP", (f"the client calls itself {helo}, a bare address",))
        elif helo in _LOCAL or helo.endswith(".localhost"):
            yield Finding("HELO_LOCALHOST", (f"the client calls itself {helo}",))
        elif helo == envelope.hostname.lower() or helo in {one.domain for one in envelope.recipients}:
            yield Finding("HELO_OURS", (f"the client calls itself {helo}, which is our name",))
        elif "." not in helo:
            yield Finding("HELO_NO_DOMAIN", (f"the client calls itself {helo}, which is no domain name",))
