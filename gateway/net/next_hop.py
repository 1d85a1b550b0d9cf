"""The servers behind us by URL, and what they said about recipients, remembered for a while.

The forms of URLs: docs/next-hops.md. Servers that several routes name are the same object: connections and breaker too.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from pathlib import Path

from gateway.config.next_hop_url import parse_next_hop
from gateway.net.dns import CachingResolver
from gateway.net.maildir import MaildirNextHop
from gateway.net.route import MxServers, OneServer, Route, Servers
from gateway.net.smtp_client import UNREACHABLE, SmtpServer
from gateway.ports import NextHop, Resolver
from gateway.types import NextHopUrls, Recipient, Reply

_TTL_S = {2: 3600.0, 5: 300.0}  # a new mailbox is known within five minutes
_TEMPORARY_TTL_S = 10.0
_MAX_REMEMBERED = 100_000


class NextHops:
    """One object for each URL. Also service.RecipientVerifier."""

    def __init__(self, hostname: str, resolver: Resolver | None = None) -> None:
        """Without a resolver the system's nameservers are asked, where anything has to be looked up."""
        self._hostname = hostname
        self._resolver = resolver or CachingResolver()
        self._hops: dict[NextHopUrls, NextHop] = {}
        self._servers: dict[str, Servers] = {}
        self._known: OrderedDict[tuple[NextHopUrls, str], tuple[float, Reply]] = OrderedDict()
        self._asking: dict[tuple[NextHopUrls, str], asyncio.Task[Reply]] = {}

    def get(self, urls: NextHopUrls) -> NextHop:
        """The next hop of this URL, or of several. Raises ConfigError for one that cannot be used."""
        if urls not in self._hops:
            self._hops[urls] = self._make(urls)
        return self._hops[urls]

    async def verify(self, urls: NextHopUrls, recipient: Recipient) -> Reply:
        """Would it take this recipient? Never raises. One question at a time for each recipient.

        While it is down nobody is accepted: the client keeps its message before it was sent, not after.
        """
        key = (urls, recipient.address)
        known = self._known.get(key)
        if known is not None and known[0] > time.monotonic():
            return UNREACHABLE if known[1].code // 100 == 2 and self._is_down(urls) else known[1]
        task = self._asking.get(key)
        if task is None:
            task = asyncio.ensure_future(self._ask(key, recipient))
            self._asking[key] = task
            task.add_done_callback(lambda _: self._asking.pop(key, None))
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Give up connections."""
        for hop in self._hops.values():
            await hop.close()
        if isinstance(self._resolver, CachingResolver):
            await self._resolver.close()

    async def _ask(self, key: tuple[NextHopUrls, str], recipient: Recipient) -> Reply:
        hop = self.get(key[0])
        if self._is_down(key[0]):
            return UNREACHABLE  # not remembered: it may be up at the next question
        reply = await hop.verify(recipient)
        # what a server says while it fails again and again is not believed for long
        is_steady = not isinstance(hop, Route) or hop.is_steady
        ttl_s = _TTL_S.get(reply.code // 100, _TEMPORARY_TTL_S) if is_steady else _TEMPORARY_TTL_S
        self._known[key] = (time.monotonic() + ttl_s, reply)
        self._known.move_to_end(key)
        if len(self._known) > _MAX_REMEMBERED:
            self._known.popitem(last=False)
        return reply

    def _is_down(self, urls: NextHopUrls) -> bool:
        hop = self.get(urls)
        return isinstance(hop, Route) and hop.is_down

    def _make(self, urls: NextHopUrls) -> NextHop:
        tiers = [text.split("|") for text in ((urls,) if isinstance(urls, str) else urls)]
        if tiers[0][0].startswith("maildir:") and len(tiers[0][0]) > len("maildir:"):
            return MaildirNextHop(Path(tiers[0][0].removeprefix("maildir:")))
        return Route([[self._servers_of(url.strip()) for url in tier] for tier in tiers])

    def _servers_of(self, text: str) -> Servers:
        if text not in self._servers:
            url = parse_next_hop(text)
            self._servers[text] = (
                MxServers(url, self._hostname, self._resolver)
                if url.is_mx
                else OneServer(SmtpServer(url, self._hostname, self._resolver))
            )
        return self._servers[text]


def make_next_hop(urls: NextHopUrls, hostname: str) -> NextHop:
    """One alone. Raises ConfigError for a URL that cannot be used."""
    return NextHops(hostname).get(urls)
