"""The DNS: a caching stub resolver over aiodns (c-ares), and one that never asks.

Positive answers are kept for their TTL (a day at most), negative ones for the SOA's minimum where it is to be seen and
60 s where not (RFC 2308 §5), failures 5 s, so that a dead server is not asked for each message. The cache is bounded by
bytes and drops what was not used for longest. Questions that are asked side by side share one look-up.

Cost: about 1 µs from the cache, 60-80 µs on the wire besides the waiting. Limits: one query takes timeout_s in all,
however many nameservers are tried. c-ares sends only names of letters, digits and "-_*/": others are "invalid". It does
not hand out the AD bit, so is_authentic is always False.
"""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence

import aiodns
import pycares

from gateway.errors import ConfigError
from gateway.mail.domain import to_a_label
from gateway.types import DnsAnswer, DnsStatus

CACHE_MAX_BYTES = 32 << 20
TTL_MAX_S = 86_400
TTL_NEGATIVE_S = 60  # RFC 2308 §5 wants the SOA's; c-ares keeps it to itself for most answers
TTL_FAILURE_S = 5  # RFC 9520 §3.2: failures are cached at least 1 s
_ENTRY_BYTES = 300  # what an entry costs besides its records, measured with tracemalloc, rounded up

_TYPES = frozenset(("A", "AAAA", "MX", "TXT", "PTR", "CNAME", "NS"))
_FLAGS = pycares.ARES_FLAG_NOSEARCH | pycares.ARES_FLAG_EDNS | pycares.ARES_FLAG_STAYOPEN
_INVALID = DnsAnswer("invalid")
_STATUS: dict[int, DnsStatus] = {
    pycares.errno.ARES_ENODATA: "nodata",
    pycares.errno.ARES_ENOTFOUND: "nxdomain",
    pycares.errno.ARES_EREFUSED: "refused",
    pycares.errno.ARES_EBADNAME: "invalid",
    pycares.errno.ARES_EBADQUERY: "invalid",
    pycares.errno.ARES_ECONNREFUSED: "timeout",  # nobody there: the same to us as silence
    pycares.errno.ARES_ETIMEOUT: "timeout",
    pycares.errno.ARES_ECANCELLED: "timeout",
    pycares.errno.ARES_EDESTRUCTION: "timeout",
}


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
        self._nameservers = tuple(_endpoint(one) for one in nameservers)
        self._timeout_s = timeout_s
        self._cache = AnswerCache(cache_max_bytes, monotonic) if cache else None
        self._pending: dict[tuple[str, str], asyncio.Task[DnsAnswer]] = {}
        self._channel: aiodns.DNSResolver | None = None

    async def query(self, name: str, rdtype: str) -> DnsAnswer:
        """Look up one name. Never raises for what the DNS says or fails to say."""
        key = (canonical_name(name), rdtype)
        if not key[0] or rdtype not in _TYPES:
            return _INVALID
        known = self._cache.get(key) if self._cache else None
        if known is not None:
            return known
        channel = self._open()
        task = self._pending.get(key)
        if task is None:
            task = asyncio.create_task(self._lookup(channel, key))
            self._pending[key] = task
        return await asyncio.shield(task)  # one asker that goes away must not take the answer from the others

    async def close(self) -> None:
        """Give up what is under way; those who wait hear "timeout". The next query opens anew."""
        channel, self._channel = self._channel, None
        if channel is not None:
            await channel.close()

    def _open(self) -> aiodns.DNSResolver:
        loop = asyncio.get_running_loop()
        if self._channel is None or self._channel.loop is not loop:
            self._pending.clear()
            self._channel = self._new_channel(loop)
        return self._channel

    def _new_channel(self, loop: asyncio.AbstractEventLoop) -> aiodns.DNSResolver:
        # One round over all nameservers, and what is left of timeout_s for a second one: c-ares doubles the second.
        per_try_s = self._timeout_s / ((len(self._nameservers) or 2) + 1)
        return aiodns.DNSResolver(self._nameservers or None, loop, timeout=per_try_s, tries=2, flags=_FLAGS)

    async def _lookup(self, channel: aiodns.DNSResolver, key: tuple[str, str]) -> DnsAnswer:
        try:
            if self._cache is None:
                return await self._ask_uncached(channel.loop, key)
            answer = await self._ask(channel, key)
            self._cache.put(key, answer)
            return answer
        finally:
            self._pending.pop(key, None)

    async def _ask_uncached(self, loop: asyncio.AbstractEventLoop, key: tuple[str, str]) -> DnsAnswer:
        """On a channel of its own, as c-ares caches in each channel and Python cannot turn that off."""
        async with self._new_channel(loop) as channel:
            return await self._ask(channel, key)

    async def _ask(self, channel: aiodns.DNSResolver, key: tuple[str, str]) -> DnsAnswer:
        name, rdtype = key
        try:
            async with asyncio.timeout(self._timeout_s):
                result = await channel.query_dns(name, rdtype)
        except TimeoutError:
            return DnsAnswer("timeout")
        except aiodns.error.DNSError as error:
            return DnsAnswer(_STATUS.get(error.args[0] if error.args else -1, "servfail"))
        return _answer(result, rdtype)


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
    return bare if all(0 < len(label) <= 63 for label in bare.split(".")) and bare.isprintable() else ""


def _lifetime_s(answer: DnsAnswer) -> int:
    if answer.status == "noerror":
        return min(answer.ttl_s, TTL_MAX_S)
    if answer.status in ("nodata", "nxdomain", "invalid"):
        return min(answer.ttl_s or TTL_NEGATIVE_S, TTL_MAX_S)
    return TTL_FAILURE_S


def _answer(result: pycares.DNSResult, rdtype: str) -> DnsAnswer:
    wanted = aiodns.query_type_map[rdtype]
    records = tuple(_present(one.data, rdtype) for one in result.answer if one.type == wanted)
    if not records:
        minima = [min(one.ttl, one.data.minimum) for one in result.authority if hasattr(one.data, "minimum")]
        return DnsAnswer("nodata", ttl_s=min(minima, default=0))
    return DnsAnswer("noerror", records, ttl_s=min(one.ttl for one in result.answer))


def _present(data: object, rdtype: str) -> str | bytes:
    if isinstance(data, pycares.TXTRecordData):
        return data.data
    if isinstance(data, pycares.MXRecordData):
        return f"{data.priority} {_absolute(data.exchange)}"
    if isinstance(data, pycares.ARecordData | pycares.AAAARecordData):
        return data.addr
    attribute = {"PTR": "dname", "CNAME": "cname", "NS": "nsdname"}[rdtype]
    return _absolute(str(getattr(data, attribute)))


def _absolute(name: str) -> str:
    return name.rstrip(".").lower() + "."


def _endpoint(text: str) -> str:
    """host:port or [host]:port as c-ares takes it."""
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
    return f"[{address}]:{number}" if address.version == 6 else f"{address}:{number}"
