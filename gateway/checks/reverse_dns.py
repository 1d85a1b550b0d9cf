"""The client's reverse DNS, as iprev found it: whether it is there, whether it is an access line's generic name."""

from __future__ import annotations

import re
from collections.abc import Iterator

from gateway.auth.organisation import organisational_domain
from gateway.types import Finding, MailObject

_LINE = re.compile(
    r"(?:^|[.-])(?:dynamic|dyn|dhcp|pool|ppp|dial(?:up|in)?|adsl|vdsl|dsl|cable|broadband|customer|client|cust|user|"
    r"home|res|ip)[0-9.-]"
)
_ADDRESS = re.compile(r"[0-9]{1,3}(?:[.-][0-9]{1,3}){3}[.-]")


class ReverseDns:
    """See the module."""

    name = "reverse_dns"
    findings = ("RDNS_NONE", "RDNS_UNCONFIRMED", "RDNS_GENERIC")

    def check(self, mail: MailObject) -> Iterator[Finding]:
        """From the iprev result; nothing when there is none or the DNS did not answer."""
        found = next((result for result in mail.auth if result.method == "iprev"), None)
        if found is None or found.result == "temperror" or mail.envelope.client.ip.startswith(("127.", "::1")):
            return
        if found.result == "permerror":
            yield Finding("RDNS_NONE", (f"{mail.envelope.client.ip} has no reverse DNS name",))
        elif found.result == "fail":
            yield Finding(
                "RDNS_UNCONFIRMED", (found.reason or f"{mail.envelope.client.ip}: the name does not lead back",)
            )
        elif _is_generic(found.domain):
            yield Finding("RDNS_GENERIC", (f"{found.domain} is the name of an access line, not of a mail server",))


def _is_generic(name: str) -> bool:
    """An organisation may well be called home or cable: only the labels before its own name tell of lines."""
    return bool(_ADDRESS.search(name) or _LINE.search(name.removesuffix(organisational_domain(name))))
