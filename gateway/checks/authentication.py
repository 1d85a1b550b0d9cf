"""What SPF, DKIM, ARC and DMARC said, as findings, so that rules can score and combine them."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.auth.trust import OVERRIDE, TRUSTED
from gateway.types import AuthResult, Finding, MailObject

_SPF = {
    "pass": "SPF_PASS",
    "fail": "SPF_FAIL",
    "softfail": "SPF_SOFTFAIL",
    "neutral": "SPF_NEUTRAL",
    "none": "SPF_NONE",
    "permerror": "SPF_PERMERROR",
    "temperror": "SPF_TEMPERROR",
}


class Authentication:
    """See the module."""

    name = "authentication"
    findings = (
        *_SPF.values(),
        "DKIM_VALID",
        "DKIM_ALIGNED",
        "DKIM_INVALID",
        "DKIM_NONE",
        "ARC_PASS",
        "ARC_TRUSTED",
        "ARC_FAIL",
        "DMARC_PASS",
        "DMARC_FAIL_NONE",
        "DMARC_FAIL_QUARANTINE",
        "DMARC_FAIL_REJECT",
        "DMARC_FAIL_OVERRIDDEN",
        "DMARC_PERMERROR",
        "AUTHENTICATION_TEMPERROR",
    )

    def check(self, mail: MailObject) -> Iterator[Finding]:
        """Nothing at all when authentication did not run."""
        if not mail.auth:
            return
        for result in mail.auth:
            if result.method == "spf" and result.result in _SPF:
                yield Finding(_SPF[result.result], (result.reason or result.domain,))
            elif result.method == "dmarc":
                yield from _dmarc(result)
            elif result.method == "arc":
                yield from _arc(result)
        yield from _dkim([result for result in mail.auth if result.method == "dkim"])
        late = [result.method for result in mail.auth if result.result == "temperror"]
        if late:
            yield Finding("AUTHENTICATION_TEMPERROR", (f"the DNS did not answer for {', '.join(late)}",))


def _dmarc(result: AuthResult) -> Iterator[Finding]:
    if result.result == "pass":
        yield Finding("DMARC_PASS", (f"{result.domain} is who it says",))
    elif result.result == "fail" and result.override == OVERRIDE:
        yield Finding("DMARC_FAIL_OVERRIDDEN", (result.reason,))
    elif result.result == "fail":
        policy = result.policy.upper() if result.policy in ("quarantine", "reject") else "NONE"
        yield Finding(f"DMARC_FAIL_{policy}", (result.reason or f"{result.domain} did not send this",))
    elif result.result == "permerror":
        yield Finding("DMARC_PERMERROR", (result.reason,))


def _arc(result: AuthResult) -> Iterator[Finding]:
    if result.result == "pass":
        yield Finding("ARC_TRUSTED" if result.policy == TRUSTED else "ARC_PASS", (result.reason,))
    elif result.result == "fail":
        yield Finding("ARC_FAIL", (result.reason,))


def _dkim(results: list[AuthResult]) -> Iterator[Finding]:
    valid = [result for result in results if result.result == "pass"]
    if valid:
        yield Finding("DKIM_VALID", tuple(f"signed by {result.domain}" for result in valid[:3]))
        aligned = [result.domain for result in valid if result.is_aligned]
        if aligned:
            yield Finding("DKIM_ALIGNED", (f"signed by the author's domain {aligned[0]}",))
    elif any(result.result in ("fail", "permerror", "policy") for result in results):
        yield Finding("DKIM_INVALID", tuple(f"{result.domain}: {result.reason}" for result in results[:3]))
    elif all(result.result == "none" for result in results):
        yield Finding("DKIM_NONE", ("no signature",))
