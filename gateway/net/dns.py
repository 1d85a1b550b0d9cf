"""The DNS: a caching stub resolver over dns_client.py, and one that never asks.

Positive answers are kept for their TTL (a day at most), negative ones for the SOA's minimum (RFC 2308 §5; three hours
at most, NXDOMAIN for every type of the name), those without an SOA and failures for 5 s (RFC 9520 §3.2), so that a
dead server is not asked for each message. The cache is bounded by bytes and drops what was not used for longest.
Questions that are asked side by side share one look-up. Names are asked as A-labels (RFC 5890). is_authentic is the
AD bit of whoever answered: worth as much as that nameserver and the way to it, so only a validating one on this
machine counts.

Cost: about 1 µs from the cache, some 70 µs on the wire besides the waiting (benchmarks/dns.py). Limits: one query takes
timeout_s in all, however many nameservers are tried; what one message may ask is the pipeline's to say.
"""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence

from gateway.errors import ConfigError
from gateway.mail.domain import to_a_label
from gateway.net.dns_client import Endpoint, Nameservers, system_nameservers
from gateway.net.dns_wire import NAME_BYTES, TYPES
from gateway.types import DnsAnswer

CACHE_MAX_BYTES = 32 << 20
TTL_MAX_S = 86_400
TTL_NEGATIVE_MAX_S = 10_800  # RFC 2308 §5: one to three hours
TTL_FAILURE_S = 5  # RFC 9520 §3.2: failures are cached at least 1 s, at most 300
_ENTRY_BYTES = 300  # what an entry costs besides its records, measured with tracemalloc, rounded up
_RELOOK_S = 30.0  # how often the system's list of nameservers is read again
_ANY_TYPE = ""  # the type under which "no such name" is kept: it holds for all (RFC 2308 §5)

_NAME_CHARACTERS = frozenset(map(chr, NAME_BYTES)) | {"."}
_INVALID = DnsAnswer("invalid")


class CachingResolver:
    """ports.Resolver over the nameservers, or the system's when none are given. Use it from one loop at a time."""

    def __init__(
        self,
        nameservers: Sequence[str] = (),
        timeout_s: float = 2.0,
        cache: bool = True,
        *,
        cache_max_bytes: int = CACHE_MAX_BYTES,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Raises ConfigError for a nameserver that is not an address with an optional port."""
        self._endpoints = [_endpoint(one) for one in nameservers]
        self._is_system = not nameservers
        self._timeout_s = timeout_s
        self._cache = AnswerCache(cache_max_bytes, monotonic) if cache else None
        self._monotonic = monotonic
        self._pending: dict[tuple[str, str], asyncio.Task[DnsAnswer]] = {}
        self._servers: Nameservers | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._looked_at = -_RELOOK_S  # the clock may start at 0

    async def query(self, name: str, rdtype: str) -> DnsAnswer:
        """Look up one name. Never raises for what the DNS says or fails to say."""
        key = (canonical_name(name), rdtype)
        if not key[0] or rdtype not in TYPES:
            return _INVALID
        known = self._cache.get(key) if self._cache else None
        if known is not None:
            return known
        servers = self._open()
        if servers.is_down:
            return DnsAnswer("timeout")  # not kept: the answer may come with the next question
        task = self._pending.get(key)
        if task is None:
            task = asyncio.create_task(self._lookup(servers, key))
            self._pending[key] = task
        return await asyncio.shield(task)  # one asker that goes away must not take the answer from the others

    def trouble(self) -> str:
        """What is wrong with the DNS as a whole, in words; "" when nothing is known to be."""
        if self._servers is None or not self._servers.is_down:
            return ""
        return f"no nameserver answers ({self._servers})"

    async def is_answering(self) -> bool:
        """Whether a nameserver answers anything now."""
        return await self._open().is_answering()

    async def close(self) -> None:
        """Give up what is under way; those who wait hear "timeout". The next query opens anew."""
        servers, self._servers = self._servers, None
        if servers is not None:
            servers.close()

    def _open(self) -> Nameservers:
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop, self._servers = loop, None
            self._pending.clear()
        if self._is_system and self._monotonic() - self._looked_at >= _RELOOK_S:
            self._look()
        if self._servers is None:
            self._servers = Nameservers(self._endpoints, self._timeout_s)
        return self._servers

    def _look(self) -> None:
        """The system's nameservers, as they are now. What is under way goes on with the old ones."""
        self._looked_at = self._monotonic()
        found: list[Endpoint] = system_nameservers()
        if found != self._endpoints:
            self._endpoints, self._servers = found, None

    async def _lookup(self, servers: Nameservers, key: tuple[str, str]) -> DnsAnswer:
        try:
            reply = await servers.ask(*key)
            if self._cache is not None:
                is_name = reply.answer.status == "nxdomain" and not reply.is_alias
                self._cache.put((key[0], _ANY_TYPE) if is_name else key, reply.answer)
            return reply.answer
        finally:
            self._pending.pop(key, None)


class OfflineResolver:
    """ports.Resolver without a network: every look-up fails as if the DNS were silent, at once."""

    async def query(self, name: str, rdtype: str) -> DnsAnswer:
        """ "timeout", so that nothing is concluded from what was not asked."""
        return DnsAnswer("timeout")


class AnswerCache:
    """Answers until they expire, bounded by bytes; least recently used ones go first."""

    def __init__(self, max_bytes: int, monotonic: Callable[[], float]) -> None:
        self._max_bytes = max_bytes
        self._monotonic = monotonic
        self._entries: OrderedDict[tuple[str, str], tuple[float, int, DnsAnswer]] = OrderedDict()
        self._size_bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: tuple[str, str]) -> DnsAnswer | None:
        """The answer, None when there is none that is still good."""
        entry = self._entries.get(key)
        if entry is None and key[1] != _ANY_TYPE:
            return self.get((key[0], _ANY_TYPE))
        if entry is None:
            return None
        if entry[0] <= self._monotonic():
            self._drop(key)
            return None
        self._entries.move_to_end(key)
        return entry[2]

    def put(self, key: tuple[str, str], answer: DnsAnswer) -> None:
        """Keep it for as long as its status allows."""
        size = _ENTRY_BYTES + len(key[0]) + sum(60 + len(record) for record in answer.records)
        self._drop(key)
        self._entries[key] = (self._monotonic() + _lifetime_s(answer), size, answer)
        self._size_bytes += size
        while self._size_bytes > self._max_bytes:
            self._drop(next(iter(self._entries)))

    def _drop(self, key: tuple[str, str]) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._size_bytes -= entry[1]


def canonical_name(name: str) -> str:
    """Lower-case A-labels without the final dot; "" for what is no name: too long, empty labels, odd bytes."""
    bare = name.removesuffix(".").lower()
    if not bare.isascii():
        bare = ".".join(label if label.isascii() else to_a_label(label) for label in bare[:255].split("."))
    if not 0 < len(bare) <= 253:  # RFC 1035 §2.3.4
        return ""
    return bare if all(0 < len(label) <= 63 for label in bare.split(".")) and _NAME_CHARACTERS.issuperset(bare) else ""


def _lifetime_s(answer: DnsAnswer) -> int:
    if answer.status == "noerror":
        return min(answer.ttl_s, TTL_MAX_S)
    if answer.status in ("nodata", "nxdomain"):
        return min(answer.ttl_s or TTL_FAILURE_S, TTL_NEGATIVE_MAX_S)  # 0: there was no SOA, or one that forbids it
    return TTL_FAILURE_S


def _endpoint(text: str) -> Endpoint:
    """host:port, [host]:port or an address alone."""
    host, _, port = (text, "", "53") if text.count(":") > 1 and "]:" not in text else text.partition(":")
    if "]:" in text:
        host, _, port = text.rpartition(":")
    try:
        address = ipaddress.ip_address(host.strip("[]"))
        number = int(port or "53")
    except ValueError:
        address, number = None, 0
    if address is None or not 0 < number < 65_536:
        raise ConfigError(
            f"[dns] nameservers: {text!r} is not an address with an optional port; write for example "
            "127.0.0.1:53 or [::1]:53"
        )
    return str(address), number
