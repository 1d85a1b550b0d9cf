"""Organisational domains by the public suffix list (RFC 7489 §3.2), read once from the file publicsuffixlist ships."""

from __future__ import annotations

from functools import cache, lru_cache

from publicsuffixlist import PublicSuffixList


@lru_cache(maxsize=8192)
def organisational_domain(domain: str) -> str:
    """The public suffix and one label more; the domain itself where that is a public suffix or an address literal.

    Args:
        domain: lower-case A-labels.
    """
    if domain.startswith("[") or not domain:
        return domain
    return _list().privatesuffix(domain) or domain


@lru_cache(maxsize=8192)
def is_public_suffix(domain: str) -> bool:
    """May anybody register names under it?"""
    return bool(domain) and _list().publicsuffix(domain) == domain


@cache
def _list() -> PublicSuffixList:
    return PublicSuffixList()
