"""DMARC (RFC 7489): does what SPF and DKIM confirmed belong to the domain the reader sees, and what does it ask for?

The organisational domain comes from the public suffix list (§3.2). The policy that is reported is the one that applies
to this message: sp= for subdomains, and one step milder for the part that pct= leaves out (§6.6.4), drawn from the
message's bytes so that a retry draws the same. Not done here: reports, and the tree walk of RFC 9989.

No author domain, several, or one that cannot be read is "permerror" and never passes (§6.6.1; author.py).

Cost: one TXT look-up, two for subdomains without a record of their own.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from gateway.auth.author import author_domain
from gateway.auth.iprev import FAILURES
from gateway.auth.organisation import is_public_suffix, organisational_domain
from gateway.ports import Resolver
from gateway.types import AuthResult, DnsStatus, Message

POLICIES = ("none", "quarantine", "reject")  # mildest first
MAX_RECORD = 4096  # bytes

_VERSION = re.compile(rb"[ \t]*v[ \t]*=[ \t]*DMARC1[ \t]*(?:;|\Z)")  # must come first, in this case

Results = tuple[AuthResult, tuple[AuthResult, ...], AuthResult]


@dataclass(frozen=True, slots=True)
class Record:
    """A DMARC policy record (RFC 7489 §6.3)."""

    policy: str  # p=
    subdomain_policy: str  # sp=, p= when absent
    percent: int  # pct=
    is_dkim_strict: bool  # adkim=s
    is_spf_strict: bool  # aspf=s


async def evaluate(message: Message, spf: AuthResult, dkim: Sequence[AuthResult], resolver: Resolver) -> Results:
    """SPF's and DKIM's results, now saying whether they are aligned, and DMARC's own. Never raises."""
    author, problem = author_domain(message)
    if not author:
        return spf, tuple(dkim), AuthResult("dmarc", "permerror", reason=problem)
    record, is_own, failure = await _discover(author, resolver)
    sender, signatures = align(author, spf, dkim, record)
    if failure:
        reason = f"the policy of {author} could not be looked up ({failure})"
        return sender, signatures, AuthResult("dmarc", "temperror", author, reason=reason)
    if record is None:
        reason = f"{author} publishes no DMARC policy"
        return sender, signatures, AuthResult("dmarc", "none", author, reason=reason)
    policy = _applicable(record, is_own, message)
    result, reason = _conclude(author, sender, signatures)
    return sender, signatures, AuthResult("dmarc", result, author, policy=policy, reason=reason)


def align(
    author: str, spf: AuthResult, dkim: Sequence[AuthResult], record: Record | None
) -> tuple[AuthResult, tuple[AuthResult, ...]]:
    """The results with is_aligned set (RFC 7489 §3.1); relaxed where there is no record. Only a pass is aligned."""
    spf_strict = record is not None and record.is_spf_strict
    dkim_strict = record is not None and record.is_dkim_strict
    return (
        _marked(spf, _is_aligned(spf, author, spf_strict)),
        tuple(_marked(one, _is_aligned(one, author, dkim_strict)) for one in dkim),
    )


def _marked(result: AuthResult, is_aligned: bool) -> AuthResult:
    return result if result.is_aligned == is_aligned else result._replace(is_aligned=is_aligned)


def parse_record(content: bytes) -> Record | None:
    """The record's values; None where p= is unusable and no rua= stands for p=none (RFC 7489 §6.6.3). Never raises.

    The first of two equal tags counts; unknown tags and values that cannot be read are passed over (§6.3).
    """
    pairs = [_pair(spec) for spec in content[:MAX_RECORD].decode("latin-1").split(";")]
    tags = dict(reversed(pairs))  # the first of two wins
    policy, subdomain_policy = tags.get("p", ""), tags.get("sp", "")
    if policy not in POLICIES or (subdomain_policy and subdomain_policy not in POLICIES):
        if not tags.get("rua"):
            return None
        policy, subdomain_policy = "none", "none"
    percent = tags.get("pct", "")
    return Record(
        policy=policy,
        subdomain_policy=subdomain_policy or policy,
        percent=int(percent) if percent.isascii() and percent.isdigit() and len(percent) < 4 else 100,
        is_dkim_strict=tags.get("adkim") == "s",
        is_spf_strict=tags.get("aspf") == "s",
    )


def _pair(spec: str) -> tuple[str, str]:
    tag, _, value = spec.partition("=")
    return tag.strip(" \t\r\n").lower(), value.strip(" \t\r\n").lower()


async def _discover(author: str, resolver: Resolver) -> tuple[Record | None, bool, DnsStatus | None]:
    """(record, whether it is the author domain's own, why the DNS failed) (RFC 7489 §6.6.3)."""
    for domain in dict.fromkeys((author, organisational_domain(author))):
        answer = await resolver.query(f"_dmarc.{domain}", "TXT")
        if answer.status in FAILURES:
            return None, False, answer.status
        records = [one for one in answer.records if isinstance(one, bytes) and _VERSION.match(one)]
        if records:
            return (parse_record(records[0]) if len(records) == 1 else None), domain == author, None
    return None, False, None


def _applicable(record: Record, is_own: bool, message: Message) -> str:
    policy = record.policy if is_own else record.subdomain_policy
    if zlib.crc32(message.raw[:65_536]) % 100 < record.percent:
        return policy
    return POLICIES[max(0, POLICIES.index(policy) - 1)]


def _conclude(author: str, spf: AuthResult, dkim: Sequence[AuthResult]) -> tuple[str, str]:
    signature = next((one for one in dkim if one.is_aligned), None)
    if signature is not None:
        return "pass", f"signed by {signature.domain}, which {author} belongs to"
    if spf.is_aligned:
        return "pass", f"sent as {spf.domain}, which {author} belongs to, from one of its servers"
    if any(one.result == "temperror" and _may_align(one, author) for one in (spf, *dkim)):
        return "temperror", "SPF or DKIM could not be looked up"  # RFC 7489 §6.6.2: not to be told from a failure
    return "fail", f"neither SPF nor DKIM passes for {author}"


def _is_aligned(result: AuthResult, author: str, is_strict: bool) -> bool:
    if result.result != "pass" or not result.domain or not author:
        return False
    return result.domain == author or (not is_strict and _may_align(result, author))


def _may_align(result: AuthResult, author: str) -> bool:
    """Relaxed alignment: one organisation. A public suffix is none, as strangers share it."""
    domain = result.domain
    if domain == author:
        return True
    if is_public_suffix(domain) or is_public_suffix(author):
        return False
    return organisational_domain(domain) == organisational_domain(author)
