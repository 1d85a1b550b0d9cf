"""What a header selector's :host, :domain, :ip and :revip take from a value (Mail::SpamAssassin::Conf, "header").

Total and linear: no run of the patterns meets another one of the same characters.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from ipaddress import ip_address

from gateway.auth.organisation import organisational_domain
from gateway.mail.domain import to_a_label

REDUCING = frozenset(("host", "domain", "ip", "revip"))
_MAX_VALUE = 1 << 13
_HOST = re.compile(r"(?<![\w.-])\w[\w.-]{2,252}(?![\w.-])")
_IP = re.compile(
    r"(?<![\w.:])(?:(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?![\w.])|[0-9a-f]{0,4}(?::[0-9a-f]{0,4}){2,7}(?![\w.:]))",
    re.IGNORECASE,
)


def reduced(values: Iterable[str], modifiers: Collection[str], is_known: Callable[[str], bool]) -> list[str]:
    """The host, its registered domain, or the address in each value; nothing for a value without one.

    Args:
        modifiers: with one of REDUCING; "addr" when the values are addresses.
        is_known: whether a host stands below a known top-level domain.
    """
    find = _ip if "ip" in modifiers or "revip" in modifiers else _domain_of if "addr" in modifiers else _host(is_known)
    found = (one for value in values if (one := find(value[:_MAX_VALUE])))
    if "revip" in modifiers:
        return [ip_address(one).reverse_pointer.rsplit(".", 2)[0] for one in found]
    return [organisational_domain(to_a_label(one)) for one in found] if "domain" in modifiers else list(found)


def _domain_of(address: str) -> str:
    return address.rpartition("@")[2] if "@" in address else ""


def _host(is_known: Callable[[str], bool]) -> Callable[[str], str]:
    """Finds the host behind the last "@", else the first one."""

    def find(value: str) -> str:
        behind = value.rpartition("@")[2] if "@" in value else ""
        match = _HOST.match(behind)
        candidates = [match[0]] if match else []
        candidates += _HOST.findall(value)
        return next((one for one in candidates if not one[-1].isdigit() and is_known(one)), "")

    return find


def _ip(value: str) -> str:
    return next(_addresses(value), "")


def _addresses(value: str) -> Iterator[str]:
    for match in _IP.finditer(value):
        try:
            ip_address(match[0])
        except ValueError:
            continue
        yield match[0]
