"""Mail that says it is from our own domain or a partner's, and cannot show it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gateway.auth.identity import Identity
from gateway.auth.sender import is_bulk
from gateway.auth.trust import TRUSTED
from gateway.types import AuthResult, Finding, MailObject


class OwnDomain:
    """See the module."""

    name = "own_domain"
    findings = ("OWN_DOMAIN_SPOOF", "PARTNER_DOMAIN_UNPROVEN")

    def __init__(self, identity: Identity) -> None:
        self._identity = identity

    def check(self, mail: MailObject) -> Iterator[Finding]:
        """A domain's own mail reaches its server inside, not through this door; what comes here must authenticate.

        Silent where it could not be asked: authentication did not run, or the DNS did not answer for the domain. What
        SPF says of HELO counts only where there is no MAIL FROM.
        """
        results = [one for one in mail.auth if not (mail.envelope.reverse_path and one.identity == "helo")]
        if not results:
            return
        identity = self._identity
        ours = {one.domain for one in mail.envelope.recipients}
        claimed = [box.domain for box in mail.message.author[:10] if box.domain]
        own = next((domain for domain in claimed if domain in ours or identity.is_below_own(domain)), None)
        if own is not None:
            if not _is_proven(results, own):
                yield Finding("OWN_DOMAIN_SPOOF", (f"says it is from {own}, came from outside and proves nothing",))
            return
        partner = next((domain for domain in claimed if identity.is_partner(domain)), None)
        if partner is not None and not _is_proven(results, partner) and not is_bulk(mail):
            yield Finding("PARTNER_DOMAIN_UNPROVEN", (f"says it is from your partner {partner} and proves nothing",))


def _is_proven(results: Sequence[AuthResult], claimed: str) -> bool:
    """Or could not be asked."""
    return any(
        _is_undecided(result, claimed)
        or (result.method == "dmarc" and result.result == "pass")
        or (result.method == "arc" and result.policy == TRUSTED)  # back from a list that is trusted
        or (
            result.method in ("spf", "dkim")
            and result.result == "pass"
            and (result.is_aligned or result.domain == claimed)
        )
        for result in results
    )


def _is_undecided(result: AuthResult, claimed: str) -> bool:
    """Only for the claimed domain: a forger chooses the other names, and may choose ones that never answer."""
    return result.result == "temperror" and result.method in ("spf", "dkim", "dmarc") and result.domain == claimed
