"""What the client said in HELO (RFC 5321 §4.1.1.1, 4.1.4): a sending server names itself by a domain of its own."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.mail.helo import HeloKind, kind_of_helo
from gateway.types import Finding, MailObject

_FOUND: dict[HeloKind, tuple[str, str]] = {
    "literal": ("HELO_LITERAL", ", an address"),
    "bare_ip": ("HELO_BARE_IP", ", a bare address"),
    "localhost": ("HELO_LOCALHOST", ""),
    "ours": ("HELO_OURS", ", which is our name"),
    "no_domain": ("HELO_NO_DOMAIN", ", which is no domain name"),
}


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
        found = _FOUND.get(kind_of_helo(helo, envelope.hostname, {one.domain for one in envelope.recipients}))
        if found is not None:
            yield Finding(found[0], (f"the client calls itself {helo}{found[1]}",))
