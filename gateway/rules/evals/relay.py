"""The way the message came (Plugin::RelayEval): the relays of its Received fields, trusted and not."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from ipaddress import ip_address
from itertools import pairwise

from gateway.mail.received import tells_of_no_hop
from gateway.rules.evals.facts import Facts, Relay

Function = Callable[..., bool]
_ADDRESS = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}", re.ASCII)
_HOST = re.compile(r"\w+(?:[\w.-]+\.)+\w+", re.ASCII)
_BIG_PROVIDER = re.compile(
    r"(?:^|\.)(?:lycos\.com|lycos\.co\.uk|hotmail\.com|localhost\.com|excite\.com|caramail\.com|cs\.com|aol\.com"
    r"|msn\.com|yahoo\.com|drizzle\.com)$"
)
_SHORT_COUNTRIES = ("ie", "fr", "de")


def only_trusted(facts: Facts) -> bool:
    """There are relays, all of them can be read, and all are trusted."""
    return bool(facts.hops("Trusted")) and not facts.hops("Untrusted") and not unreadable_relay(facts)


def no_relays(facts: Facts) -> bool:
    """There is no relay at all, not even one that cannot be read."""
    return not facts.hops("Trusted") and not facts.hops("Untrusted") and not unreadable_relay(facts)


def unreadable_relay(facts: Facts) -> bool:
    """A Received field should tell of a relay and cannot be read."""
    unread = facts.relays("X-Spam-Relays-Unread") if facts.relays is not None else ""
    return bool(unread) and not all(map(tells_of_no_hop, unread.split("\n")))


def numeric_helo(facts: Facts) -> bool:
    """An untrusted relay said a public address for its name."""
    return any(_is_public(relay.helo) for relay in facts.hops("Untrusted"))


def helo_is_other_address(facts: Facts) -> bool:
    """... and it is not even in the /24 it came from."""
    return any(
        _is_public(relay.helo) and _is_public(relay.ip) and relay.helo.rpartition(".")[0] != relay.ip.rpartition(".")[0]
        for relay in facts.hops("Untrusted")
    )


def big_provider_without_name(facts: Facts) -> bool:
    """The last untrusted relay that is no private address says it is a big provider, and has no reverse name."""
    hops = reversed(facts.hops("Untrusted"))
    last = next((relay for relay in hops if relay.helo and not _is_private(relay.ip)), None)
    return last is not None and not last.rdns and _BIG_PROVIDER.search(last.helo) is not None


def forged_trail(facts: Facts) -> bool:
    """More than once a relay received the message under another domain than the one it was handed on from."""
    relays = facts.hops("Untrusted")
    return sum(_is_broken(before, relay) for before, relay in pairwise(relays)) > 1


def _is_broken(before: Relay, relay: Relay) -> bool:
    came_from, received_by = _domain(before.rdns), _domain(relay.by)
    is_known = _HOST.fullmatch(came_from) is not None and _HOST.fullmatch(received_by) is not None
    return is_known and came_from != received_by and (received_by, came_from) != ("msn.com", "hotmail.com")


def _domain(host: str) -> str:
    """The last two labels, or three below a short country code."""
    labels = host.split(".")
    if len(labels) < 2 or not re.search("[a-z]", host):
        return host
    is_long = len(labels[-1]) >= 3 or labels[-1] in _SHORT_COUNTRIES
    return ".".join(labels[-2:] if is_long else labels[-3:])


def _is_public(text: str) -> bool:
    return _ADDRESS.fullmatch(text) is not None and not _is_private(text)


@lru_cache(maxsize=4096)
def _is_private(text: str) -> bool:
    try:
        return not ip_address(text).is_global
    except ValueError:
        return False


FUNCTIONS: Mapping[str, Function] = {
    "check_all_trusted": only_trusted,
    "check_no_relays": no_relays,
    "check_relays_unparseable": unreadable_relay,
    "check_for_numeric_helo": numeric_helo,
    "helo_ip_mismatch": helo_is_other_address,
    "check_for_no_rdns_dotcom_helo": big_provider_without_name,
    "check_for_forged_received_trail": forged_trail,
}
