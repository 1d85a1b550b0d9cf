"""Several servers behind us, tried in order (RFC 5321 §5.1). Implements ports.NextHop.

Equal ones come in a random order; an smtp+mx server stands for those its domain's MX records name. A server that is
down, cannot be reached, breaks the dialogue or puts the whole transaction off before content was sent gives way to the
next; one that answers about a recipient has answered. Once content was sent nobody else is asked: two servers might
have the message then.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from gateway.config.next_hop_url import NextHopUrl
from gateway.net.breaker import Breaker
from gateway.net.smtp_client import UNREACHABLE, SmtpServer, Transaction
from gateway.ports import Resolver
from gateway.types import DnsAnswer, Envelope, Recipient, Reply

_MAX_TRIES = 5  # servers for one transaction: each may take as long as it is allowed to
_MAX_EXCHANGES = 20
NOT_LOOKED_UP = Reply(451, "4.4.3", "The next hop's MX records cannot be looked up now")
NO_ROUTE = Reply(451, "4.4.4", "The next hop's domain takes no mail")
NOT_SECURE = Reply(451, "4.7.5", "The next hop's MX records are not secure")
LOOP = Reply(451, "4.4.6", "The next hop's MX records lead back here")


class Servers(Protocol):
    """One URL of a route: one server, or those of a domain."""

    async def now(self) -> Sequence[SmtpServer] | Reply:
        """In the order of their preference; a reply when none can be known."""

    def known(self) -> Sequence[SmtpServer]:
        """Those there are as far as is known."""

    async def close(self) -> None:
        """Give up connections."""


class OneServer:
    """The server that the URL names. Implements Servers."""

    def __init__(self, server: SmtpServer) -> None:
        self._servers = (server,)

    async def now(self) -> Sequence[SmtpServer] | Reply:
        """It."""
        return self._servers

    def known(self) -> Sequence[SmtpServer]:
        """It."""
        return self._servers

    async def close(self) -> None:
        """Its connections."""
        await self._servers[0].close()


class MxServers:
    """Those that the MX records of a domain name. Implements Servers."""

    def __init__(self, url: NextHopUrl, hostname: str, resolver: Resolver) -> None:
        self._url, self._hostname, self._resolver = url, hostname, resolver
        self._servers: dict[tuple[str, bool], SmtpServer] = {}

    async def now(self) -> Sequence[SmtpServer] | Reply:
        """By preference, equal ones shuffled; the domain itself where it has no MX records."""
        answer = await self._resolver.query(self._url.host, "MX")
        exchanges = read_exchanges(answer, self._url.host, self._hostname)
        if isinstance(exchanges, Reply):
            return exchanges
        # an answer that anybody could have written says nothing of what DANE demands (RFC 7672 §2.2.1)
        if self._url.tls == "dane-only" and not answer.is_authentic:
            return NOT_SECURE
        keys = [(host, answer.is_authentic) for host in exchanges]
        servers = [self._server(*key) for key in keys]
        gone = [self._servers.pop(key) for key in set(self._servers).difference(keys)]
        for server in gone:
            await server.close()
        return servers

    def known(self) -> Sequence[SmtpServer]:
        """Of the newest answer."""
        return list(self._servers.values())

    async def close(self) -> None:
        """Their connections."""
        for server in self._servers.values():
            await server.close()

    def _server(self, host: str, is_secure: bool) -> SmtpServer:
        key = (host, is_secure)
        if key not in self._servers:
            url = replace(self._url, shown=f"smtp://{host}:{self._url.port}", host=host, is_mx=False)
            if not is_secure and url.tls == "dane":
                url = replace(url, tls="opportunistic")
            self._servers[key] = SmtpServer(url, self._hostname, self._resolver, mx_domain=self._url.host)
        return self._servers[key]


def read_exchanges(answer: DnsAnswer, domain: str, hostname: str) -> list[str] | Reply:
    """The hosts of an answer to MX, in the order they are tried in; a reply when there are none."""
    if answer.status == "nodata":
        return [domain]  # RFC 5321 §5.1, the implicit MX
    if answer.status == "nxdomain":
        return NO_ROUTE
    if answer.status != "noerror":
        return NOT_LOOKED_UP
    read = [str(record).partition(" ") for record in answer.records]
    found = [(int(preference), host.rstrip(".").lower()) for preference, _, host in read]
    if not any(host for _, host in found):
        return NO_ROUTE  # RFC 7505
    ours = [preference for preference, host in found if host == hostname.lower()]
    # one of several MX hands on to better ones only (RFC 5321 §5.1)
    better = [(preference, random.random(), host) for preference, host in found if host]  # noqa: S311 - no secret
    better = [one for one in better if not ours or one[0] < min(ours)]
    return [host for _, _, host in sorted(better)][:_MAX_EXCHANGES] or LOOP


class Route:
    """Servers in tiers, the first tier first."""

    def __init__(self, tiers: Sequence[Sequence[Servers]]) -> None:
        self._tiers = tiers

    @property
    def is_down(self) -> bool:
        """Whether every server is known to be down."""
        breakers = self._breakers()
        return bool(breakers) and all(one.is_down for one in breakers)

    @property
    def is_steady(self) -> bool:
        """Whether none has failed of late."""
        return all(one.is_steady for one in self._breakers())

    async def verify(self, recipient: Recipient) -> Reply:
        """MAIL, RCPT, RSET; nothing is sent."""
        return (await self._in_order([recipient], lambda _: Transaction.question(recipient)))[recipient.address]

    async def deliver(self, envelope: Envelope, content: bytes, recipients: Sequence[Recipient]) -> Mapping[str, Reply]:
        """One transaction; another server for those whom nothing was sent for."""
        return await self._in_order(recipients, lambda left: Transaction.message(envelope, content, left))

    async def close(self) -> None:
        """Give up connections."""
        for tier in self._tiers:
            for servers in tier:
                await servers.close()

    def _breakers(self) -> list[Breaker]:
        return [server.breaker for tier in self._tiers for servers in tier for server in servers.known()]

    async def _in_order(
        self, recipients: Sequence[Recipient], make: Callable[[Sequence[Recipient]], Transaction]
    ) -> dict[str, Reply]:
        """What the servers that are not down say, each asked about those whom those before left undecided."""
        replies = dict.fromkeys((one.address for one in recipients), UNREACHABLE)
        left, tries = recipients, 0
        for tier in self._tiers:
            for servers in random.sample(tier, len(tier)) if len(tier) > 1 else tier:
                found = await servers.now()
                if isinstance(found, Reply):
                    replies |= dict.fromkeys((one.address for one in left), found)
                    continue
                for server in found:
                    if server.breaker.is_down or tries >= _MAX_TRIES:
                        continue
                    tries += 1
                    attempt = await server.attempt(make(left))
                    replies |= attempt.replies
                    if not attempt.undecided:
                        return replies
                    left = [one for one in left if one.address in attempt.undecided]
        return replies
