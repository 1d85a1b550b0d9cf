"""DMARC (RFC 9989): does what SPF and DKIM confirmed belong to the domain the reader sees, and what does it ask for?

Where the policy is published and what an organisation is, the DNS tree walk says, or with "public_suffix_list" RFC
7489's list (dmarc_tree.py). The policy that is reported is the one that applies to this message: sp= for subdomains,
np= for those that do not exist, one step milder with t=y ("policy_test_mode"). pct= counts in RFC 7489's mode alone:
the part is drawn from the message's bytes, so that a retry draws the same ("other").

No author domain, several, or one that cannot be read is "permerror" and never passes (author.py); so is a record that
says nothing usable. A look-up that fails is "temperror" and never "none" (§5.3.6). Where there is no policy, alignment
is still told, by the public suffix list, for those who ask "is it theirs?".

Cost: one TXT look-up where the author domain has a record and all that passed is that domain; else at most 8 for the
author's organisation and 8 for each of MAX_DOMAINS that may belong to it. 12 µs and 3 for each look-up, from the cache.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterable, Sequence
from typing import Literal

from gateway.auth.author import author_domain
from gateway.auth.dmarc_record import POLICIES, Record, milder
from gateway.auth.dmarc_tree import Policy, SuffixList, TreeWalk
from gateway.auth.iprev import FAILURES
from gateway.auth.organisation import is_public_suffix, organisational_domain
from gateway.ports import Resolver
from gateway.types import AuthResult, Message

Discovery = Literal["tree_walk", "public_suffix_list"]

MAX_DOMAINS = 6  # whose organisation is looked up: SPF's and those of dkim.MAX_SIGNATURES

Results = tuple[AuthResult, tuple[AuthResult, ...], AuthResult]


async def evaluate(
    message: Message,
    spf: AuthResult,
    dkim: Sequence[AuthResult],
    resolver: Resolver,
    discovery: Discovery = "tree_walk",
) -> Results:
    """SPF's and DKIM's results, now saying whether they are aligned, and DMARC's own. Never raises."""
    author, problem = author_domain(message)
    if not author:
        return spf, tuple(dkim), AuthResult("dmarc", "permerror", reason=problem)
    finder = TreeWalk(resolver) if discovery == "tree_walk" else SuffixList(resolver)
    found = await finder.policy(author)
    record = found.published.record
    if record is None or not record.policy:
        sender, signatures = align(author, spf, dkim, None)
        return sender, signatures, _without_policy(author, found)
    strict = (record.is_spf_strict, record.is_dkim_strict)
    family, unknown = await _family(author, _candidates(spf, dkim, strict), finder)
    sender, signatures = align(author, spf, dkim, record, family)
    result, reason = _conclude(author, sender, signatures, family, unknown)
    policy, override = await _applicable(record, author, found.domain, resolver)
    if discovery == "public_suffix_list" and policy != "none" and not _is_drawn(message, record):
        policy, override = milder(policy), override or "other"
    return (
        sender,
        signatures,
        AuthResult(
            "dmarc",
            result,
            author,
            policy=policy,
            reason=reason,
            properties=(("policy.dmarc", policy),),  # RFC 9989 §9.1
            override=override if result == "fail" else "",
            policy_domain=found.domain,
            policy_record=f"{finder.method} {found.published.content.decode('latin-1')}",
        ),
    )


async def organisation(domain: str, resolver: Resolver, discovery: Discovery = "tree_walk") -> str | None:
    """A domain's organisational domain; None when the DNS could not say."""
    finder = TreeWalk(resolver) if discovery == "tree_walk" else SuffixList(resolver)
    return await finder.organisation(domain)


def align(
    author: str,
    spf: AuthResult,
    dkim: Sequence[AuthResult],
    record: Record | None,
    family: Collection[str] | None = None,
) -> tuple[AuthResult, tuple[AuthResult, ...]]:
    """The results with is_aligned set (RFC 9989 §4.4); relaxed where there is no record. Only a pass is aligned.

    Args:
        family: the domains of the author's organisation; the public suffix list says when it is None.
    """
    spf_strict = record is not None and record.is_spf_strict
    dkim_strict = record is not None and record.is_dkim_strict
    return (
        _marked(spf, author, family, is_strict=spf_strict),
        tuple([_marked(one, author, family, is_strict=dkim_strict) for one in dkim]),
    )


def _marked(result: AuthResult, author: str, family: Collection[str] | None, *, is_strict: bool) -> AuthResult:
    is_aligned = result.result == "pass" and _belongs(result.domain, author, family, is_strict=is_strict)
    return result if result.is_aligned == is_aligned else result._replace(is_aligned=is_aligned)


def _belongs(domain: str, author: str, family: Collection[str] | None, *, is_strict: bool) -> bool:
    if not domain or domain == author or is_strict:
        return bool(domain) and domain == author
    if family is not None:
        return domain in family
    return not is_public_suffix(author) and organisational_domain(domain) == organisational_domain(author)


def _candidates(spf: AuthResult, dkim: Iterable[AuthResult], strict: tuple[bool, bool]) -> list[str]:
    """The domains whose organisation matters: of what passed, or could not be looked up."""
    results = [*([] if strict[0] else [spf]), *([] if strict[1] else dkim)]
    return [one.domain for one in results if one.domain and one.result in ("pass", "temperror")]


async def _family(
    author: str, domains: Sequence[str], finder: TreeWalk | SuffixList
) -> tuple[frozenset[str], frozenset[str]]:
    """(those of the author's organisation, those of which the DNS could not say) (RFC 9989 §4.10.2).

    An organisational domain is the domain itself or above it, so strangers are told apart without a look-up.
    """
    top = author.rpartition(".")[2]
    others = [one for one in dict.fromkeys(domains) if one != author and one.rpartition(".")[2] == top][:MAX_DOMAINS]
    if not others:
        return frozenset((author,)), frozenset()
    home = await finder.organisation(author)
    if home is None:  # those that share more than the top-level domain may be of it
        near = "." + ".".join(author.split(".")[-2:])
        return frozenset((author,)), frozenset(one for one in others if f".{one}".endswith(near))
    family, unknown = {author}, set()
    for domain in others:
        if domain == home or domain.endswith("." + home):
            organisation = await finder.organisation(domain)
            if organisation == home:
                family.add(domain)
            elif organisation is None:
                unknown.add(domain)
    return frozenset(family), frozenset(unknown)


def _without_policy(author: str, found: Policy) -> AuthResult:
    """The result where no policy applies, or none is known."""
    if found.published.failure:
        reason = f"the policy of {author} could not be looked up ({found.published.failure})"
        return AuthResult("dmarc", "temperror", author, reason=reason)
    if found.published.record is None:
        return AuthResult("dmarc", "none", author, reason=f"{author} publishes no DMARC policy")
    reason = f"the DMARC record of {found.domain} names no usable policy"
    return AuthResult("dmarc", "permerror", author, reason=reason, policy_domain=found.domain)  # RFC 9989 §9.2


async def _applicable(record: Record, author: str, policy_domain: str, resolver: Resolver) -> tuple[str, str]:
    """(the policy for this author domain, why it is milder than what is published) (RFC 9989 §4.7, §4.10.1)."""
    policy = record.policy
    if author != policy_domain:
        policy = record.subdomain_policy
        if record.nonexistent_policy != policy:
            policy = await _of_existence(record, author, resolver)
    if record.is_testing and policy != "none":
        return milder(policy), "policy_test_mode"
    return policy, ""


async def _of_existence(record: Record, author: str, resolver: Resolver) -> str:
    """np= or sp=: a domain does not exist when the answer is NXDOMAIN (RFC 9989 §3.2.13). The milder when none comes.

    TXT is what SPF mostly asked before, so the answer is at hand.
    """
    status = (await resolver.query(author, "TXT")).status
    if status == "nxdomain":
        return record.nonexistent_policy
    if status in FAILURES:
        return min(record.subdomain_policy, record.nonexistent_policy, key=POLICIES.index)
    return record.subdomain_policy


def _is_drawn(message: Message, record: Record) -> bool:
    """Is it of the part that pct= names (RFC 7489 §6.6.4)?"""
    return zlib.crc32(message.raw[:65_536]) % 100 < record.percent


def _conclude(
    author: str, spf: AuthResult, dkim: Sequence[AuthResult], family: Collection[str], unknown: Collection[str]
) -> tuple[str, str]:
    signature = next((one for one in dkim if one.is_aligned), None)
    if signature is not None:
        return "pass", f"signed by {signature.domain}, which {author} belongs to"
    if spf.is_aligned:
        return "pass", f"sent as {spf.domain}, which {author} belongs to, from one of its servers"
    if unknown:
        domain = min(unknown)
        return "temperror", f"whether {domain} and {author} belong together could not be looked up"
    if any(one.result == "temperror" and one.domain in family for one in (spf, *dkim)):
        return "temperror", "SPF or DKIM could not be looked up"  # §5.3.6: not to be told from a failure
    return "fail", f"neither SPF nor DKIM passes for {author}"
