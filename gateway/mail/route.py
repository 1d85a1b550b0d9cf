"""Where an address's mail goes: a domain's next hop, or that of the first [[domain.route]] that fits."""

from __future__ import annotations

import re
from functools import lru_cache

from gateway.types import DomainPolicy, NextHopUrls, Recipient


def next_hop_of(policy: DomainPolicy, recipient: Recipient) -> NextHopUrls:
    """The next hop of this recipient's mail."""
    for pattern, next_hop in policy.routes:
        if fits(pattern, recipient.address):
            return next_hop
    return policy.next_hop


def fits(pattern: str, address: str) -> bool:
    """A pattern without "@" is one of local parts; "*" stands for any or no characters. Case makes no difference."""
    whole = address if "@" in pattern else address.rpartition("@")[0] or address
    return _compiled(pattern).fullmatch(whole) is not None


@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, pattern.split("*"))), re.IGNORECASE | re.DOTALL)
