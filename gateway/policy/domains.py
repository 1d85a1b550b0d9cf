"""Which domains are ours: the PolicySource over the configuration's [[domain]] tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from gateway.types import DomainPolicy


class ConfiguredDomains:
    """Policies by lower-case A-label. A name "*.example.ir" stands for every domain below example.ir."""

    def __init__(self, policies: Iterable[DomainPolicy]) -> None:
        self._policies = {policy.name: policy for policy in policies}
        self._first = next(iter(self._policies.values()), None)

    def __iter__(self) -> Iterator[DomainPolicy]:
        return iter(self._policies.values())

    def policy(self, domain: str) -> DomainPolicy | None:
        """The exact domain's policy, else the nearest wildcard's; None: not ours.

        "" is what <postmaster> stands in, who has to be taken without a domain (RFC 5321 §4.5.1): the first domain's.
        """
        name = domain.lower()
        if not name:
            return self._first
        found = self._policies.get(name)
        while found is None and "." in name:
            name = name.partition(".")[2]
            found = self._policies.get(f"*.{name}")
        return found
