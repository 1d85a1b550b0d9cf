"""What ClamAV knows in the message (docs/clamav.md). Without a scanner nothing is said.

Cost: a connection to the daemon and its work, beside the DNS. Silence is never "clean": it stands in the verdict as
"clamav", and the domain's on_incomplete decides.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from gateway.ports import ContentScanner, Resolver
from gateway.types import Finding, MailObject, Missing

# Names are PLATFORM.CATEGORY.NAME-ID; heuristics, third parties' databases and PUA have forms of their own.
_PHISHING = re.compile(r"(?i)phishing|(?:^|[.])(?:phish|spoof\w*|scam\d*|fraud)(?:[.-]|$)")
_UNWANTED = re.compile(
    r"(?i)^(?:PUA|Heuristics[.](?:Encrypted|Limits|Broken|OLE2|Structured|Safebrowsing)|(?:Sanesecurity|winnow)[.](?:Junk|Spam|Jurlbl))[.]"
)


class Virus:
    """See the module."""

    name = "virus"
    findings = ("VIRUS_FOUND", "PHISH_SIGNATURE", "UNWANTED_SIGNATURE")

    def __init__(self, scanner: ContentScanner | None = None) -> None:
        self._scanner = scanner

    async def check(self, mail: MailObject, resolver: Resolver) -> Iterable[Finding | Missing]:
        """One finding at most: ClamAV tells the first that it meets."""
        if self._scanner is None:
            return ()
        answer = await self._scanner.scan(mail.message.raw)
        if answer.fault:
            return (Missing(f"clamav: {answer.fault}"),)
        return (Finding(_kind(answer.signature), (f"ClamAV knows {answer.signature}",)),) if answer.signature else ()


def _kind(signature: str) -> str:
    if _UNWANTED.match(signature):
        return "UNWANTED_SIGNATURE"
    return "PHISH_SIGNATURE" if _PHISHING.search(signature) else "VIRUS_FOUND"
