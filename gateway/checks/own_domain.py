"""Mail that says it is from a recipient's own domain, and cannot show it."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.types import AuthResult, Finding, MailObject


class OwnDomain:
    """See the module."""

    name = "own_domain"
    findings = ("OWN_DOMAIN_SPOOF",)

    def check(self, mail: MailObject) -> Iterator[Finding]:
        """A domain's own mail reaches its server inside, not through this door; what comes here must authenticate.

        Silent where it could not be asked: authentication did not run, or the DNS did not answer for the domain. What
        SPF says of HELO counts only where there is no MAIL FROM.
        """
        ours = {one.domain for one in mail.envelope.recipients}
        claimed = next((box.domain for box in mail.message.author if box.domain in ours), None)
        results = [one for one in mail.auth if not (mail.envelope.reverse_path and one.identity == "helo")]
        if claimed is None or not results or any(_is_undecided(result, claimed) for result in results):
            return
        passed = any(result.method == "dmarc" and result.result == "pass" for result in results) or any(
            result.method in ("spf", "dkim")
            and result.result == "pass"
            and (result.is_aligned or result.domain == claimed)
            for result in results
        )
        if not passed:
            yield Finding("OWN_DOMAIN_SPOOF", (f"says it is from {claimed}, came from outside and proves nothing",))


def _is_undecided(result: AuthResult, claimed: str) -> bool:
    """Only for the claimed domain: a forger chooses the other names, and may choose ones that never answer."""
    return result.result == "temperror" and result.method in ("spf", "dkim", "dmarc") and result.domain == claimed
