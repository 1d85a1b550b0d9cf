"""Trusted sealers: who an admin believes about mail they forwarded (RFC 8617 §7.1), and what that does to DMARC.

A forwarder or mailing list breaks SPF always and DKIM often. When DMARC fails, the chain passes, and the newest
sealers, one after the other, are trusted up to one who recorded that the author's domain was proven when the message
came to it, DMARC's failure does not call for the policy (override "trusted_forwarder"; the result stays "fail"). One
sealer that is not trusted ends the search: whoever came before it is hearsay.

A sealer is trusted by its ARC-Seal's d=, exactly as it is listed; no subdomain, no parent. What it recorded counts as
proof when its one dmarc= result is a pass for exactly the author's domain; or, where it recorded no DMARC at all, when
DKIM or SPF passed for exactly that domain (not for its organisation: whether that would have been enough, only the
domain's policy says). Results that contradict each other, or a field that cannot be read to its end, prove nothing; so
does a chain whose newest message signature leaves the From field open.

Cost: nothing without a passing chain; some 20 µs a set with one.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from gateway.auth.arc import Chain
from gateway.mail.domain import to_a_label
from gateway.mail.resinfo import ResInfo, read
from gateway.types import AuthResult

TRUSTED = "trusted"  # AuthResult.policy of an ARC result that vouches for the author
OVERRIDE = "trusted_forwarder"  # the word of aggregate reports (RFC 7489 Appendix C)


def apply(dmarc: AuthResult, chain: Chain, trusted: Collection[str]) -> tuple[AuthResult, AuthResult]:
    """DMARC's and ARC's results, changed where a trusted sealer vouches for the author's domain. Never raises."""
    witness = vouch(chain, dmarc.domain, trusted) if trusted else ""
    if not witness:
        return dmarc, chain.result
    arc = chain.result._replace(policy=TRUSTED, reason=f"{chain.result.reason}. {witness}")
    if dmarc.result != "fail":
        return dmarc, arc
    return dmarc._replace(override=OVERRIDE, reason=f"{dmarc.reason}, but {witness}"), arc


def vouch(chain: Chain, author: str, trusted: Collection[str]) -> str:
    """Who vouches for the author's domain and by what, in words; "" when nobody does who is trusted."""
    if not author or chain.result.result != "pass" or not chain.is_binding:
        return ""
    for sealer, assessment in zip(chain.sealers, chain.assessments, strict=True):
        if sealer not in trusted:
            return ""
        proof = _proof(read(assessment) or (), author)
        if proof:
            return f"{sealer}, a trusted sealer, recorded {proof}"
    return ""


def _proof(results: Sequence[ResInfo], author: str) -> str:
    """What in one set's results proves the author's domain; "" when nothing does."""
    policies = [one for one in results if one.method == "dmarc"]
    if policies:
        domains = [value for one in policies for value in one.values("header.from")]
        is_proven = len(policies) == len(domains) == 1 and policies[0].result == "pass" and _is(domains[0], author)
        return f"dmarc=pass for {author}" if is_proven else ""
    if any(one.method == "dkim" and one.result == "pass" and _is(_signer(one), author) for one in results):
        return f"dkim=pass for {author}"
    senders = [one for one in results if one.method == "spf"]
    is_sender = len(senders) == 1 and senders[0].result == "pass" and _is(_sender(senders[0]), author)
    return f"spf=pass for {author}" if is_sender else ""


def _signer(result: ResInfo) -> str:
    """header.d, or the domain of header.i where that alone was recorded."""
    return _only(result, "header.d") if result.values("header.d") else _only(result, "header.i").rpartition("@")[2]


def _sender(result: ResInfo) -> str:
    return _only(result, "smtp.mailfrom").rpartition("@")[2]


def _only(result: ResInfo, name: str) -> str:
    """The property's value where there is just one."""
    values = result.values(name)
    return values[0] if len(values) == 1 else ""


def _is(written: str, domain: str) -> bool:
    return bool(written) and to_a_label(written) == domain
