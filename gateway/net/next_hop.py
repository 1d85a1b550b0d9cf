"""The servers behind us by URL, and what they said about recipients, remembered for a while.

smtp://host:port · lmtp://host:port · lmtp+unix:/path · maildir:/path
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from pathlib import Path

from gateway.errors import ConfigError
from gateway.net.maildir import MaildirNextHop
from gateway.net.smtp_client import SmtpNextHop
from gateway.ports import NextHop
from gateway.types import Recipient, Reply

_TTL_S = {2: 3600.0, 5: 300.0}  # a new mailbox is known within five minutes
_TEMPORARY_TTL_S = 10.0
_MAX_REMEMBERED = 100_000


class NextHops:
    """One object for each URL. Also service.RecipientVerifier."""

    def __init__(self, hostname: str) -> None:
        self._hostname = hostname
        self._hops: dict[str, NextHop] = {}
        self._known: OrderedDict[tuple[str, str], tuple[float, Reply]] = OrderedDict()
        self._asking: dict[tuple[str, str], asyncio.Task[Reply]] = {}

    def get(self, url: str) -> NextHop:
        """The next hop of this URL. Raises ConfigError for a URL of no known form."""
        if url not in self._hops:
            self._hops[url] = make_next_hop(url, self._hostname)
        return self._hops[url]

    async def verify(self, url: str, recipient: Recipient) -> Reply:
        """Would it take this recipient? Never raises. One question at a time for each recipient."""
        key = (url, recipient.address)
        known = self._known.get(key)
        if known is not None and known[0] > time.monotonic():
            return known[1]
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

    async def _ask(self, key: tuple[str, str], recipient: Recipient) -> Reply:
        reply = await self.get(key[0]).verify(recipient)
        self._known[key] = (time.monotonic() + _TTL_S.get(reply.code // 100, _TEMPORARY_TTL_S), reply)
        self._known.move_to_end(key)
        if len(self._known) > _MAX_REMEMBERED:
            self._known.popitem(last=False)
        return reply


def make_next_hop(url: str, hostname: str) -> NextHop:
    """Raises ConfigError for a URL of no known form."""
    scheme, _, rest = url.partition(":")
    if scheme == "maildir" and rest:
        return MaildirNextHop(Path(rest))
    if scheme == "lmtp+unix" and rest:
        return SmtpNextHop(
            url, lambda make: asyncio.get_running_loop().create_unix_connection(make, rest), hostname, is_lmtp=True
        )
    host, colon, port = rest.removeprefix("//").rstrip("/").rpartition(":")
    if scheme in ("smtp", "lmtp") and rest.startswith("//") and colon and port.isdigit():
        host = host.strip("[]")
        return SmtpNextHop(
            url,
            lambda make: asyncio.get_running_loop().create_connection(make, host, int(port)),
            hostname,
            is_lmtp=scheme == "lmtp",
        )
    raise ConfigError(f"next_hop {url}: write smtp://host:port, lmtp://host:port, lmtp+unix:/path or maildir:/path")
