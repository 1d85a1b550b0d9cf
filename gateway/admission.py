"""Who is let in before there is a message: what the DNS says of an SMTP client, and HELO, by [defence] and at_rcpt of
[[dns_list]]; and a row in the message log for whatever is refused before its content came.

Asked once a minute for each client address, side by side, WAIT_S at most. DNS that fails or is late refuses nobody; nor
is anybody refused who writes to postmaster or abuse of ours (RFC 5321 §4.5.1, RFC 2142), or comes from a trusted
network. Stands between the SMTP listener and service.Gateway, which the other doors use alone.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from prometheus_client import Counter

from gateway.auth import iprev
from gateway.config.settings import Defence
from gateway.mail.helo import kind_of_helo
from gateway.policy.refusals import WINDOW_S, Refusals
from gateway.policy.reputation import Networks
from gateway.ports import Journal, PolicySource, Resolver
from gateway.types import Client, Envelope, Finding, Missing, Outcome, Recipient, Reply

REFUSED = Counter("darban_refusals_total", "What was refused or deferred before its content came.", ["reason"])

WAIT_S = 3.0
_KNOWN_S = 60.0
_MAX_KNOWN = 10_000
_ALWAYS_HEARD = frozenset(("postmaster", "abuse"))

_NO_RDNS = "Your address has no name in the DNS"
_UNCONFIRMED = "The name of your address in the DNS does not lead back to it"
_NO_DOMAIN = "HELO names no domain: say your server's name in the DNS"
_OUR_NAME = "HELO is our name, not yours"


class Screening(Protocol):
    """service.Gateway."""

    def admit(self, client: Client, reverse_path: str) -> Reply | None:
        """At MAIL: None to go on."""

    async def screen(self, client: Client, reverse_path: str, recipient: Recipient) -> Reply | None:
        """At RCPT: None to accept the recipient."""

    async def receive(self, envelope: Envelope, content: bytes) -> Outcome:
        """Judge and act."""


class ClientLists(Protocol):
    """checks.dns_list.DnsLists."""

    async def of_client(self, ip: str, resolver: Resolver) -> Sequence[Finding | Missing]:
        """What the lists say about a client's address."""


@dataclass(frozen=True, slots=True)
class Lists:
    """The DNS lists that decide at RCPT."""

    lists: ClientLists
    answers: Mapping[str, str]  # finding -> "refuse", "defer", or "allow" for one that lets a client in

    def decide(self, findings: Sequence[str]) -> tuple[str, str]:
        """What a client with these findings hears, and for which; ("", "") for nothing."""
        answers = {self.answers.get(name, ""): name for name in findings}
        wanted = "" if "allow" in answers else next((one for one in ("refuse", "defer") if one in answers), "")
        return wanted, answers.get(wanted, "")


@dataclass(frozen=True, slots=True)
class _Origin:
    """What the DNS says of a client."""

    iprev: str = ""  # RFC 8601's word; "" when it was not asked, or not answered in time
    listed: tuple[str, ...] = ()  # findings


_UNKNOWN = _Origin()


class Admission:
    """smtp.Service for the listeners of one process."""

    def __init__(
        self,
        service: Screening,
        *,
        policies: PolicySource,
        journal: Journal,
        resolver: Resolver,
        defence: Defence,
        hostname: str,
        trusted: Sequence[str] = (),
        lists: Lists | None = None,
    ) -> None:
        self._service = service
        self._policies = policies
        self._journal = journal
        self._resolver = resolver
        self._defence = defence
        self._hostname = hostname
        self._lists = lists
        self._network_of = Networks(trusted).of
        self._refusals = Refusals(self._network_of, time.time)
        self._known: OrderedDict[str, tuple[float, asyncio.Task[_Origin]]] = OrderedDict()
        self._timer: asyncio.TimerHandle | None = None
        for reason in ("relaying denied", "unknown recipient", "next hop", "rate", "helo", "reverse dns", "dns list"):
            REFUSED.labels(reason)

    def close(self) -> None:
        """Tell what was only counted."""
        if self._timer is not None:
            self._timer.cancel()
        self._journal.record(self._refusals.flush())

    # --- smtp.Service -------------------------------------------------------------------------------------------------

    def admit(self, client: Client, reverse_path: str) -> Reply | None:
        """At MAIL: rates."""
        reply = self._service.admit(client, reverse_path)
        if reply is not None:
            self.refused(client, reverse_path, "", reply, "rate")
        return reply

    async def screen(self, client: Client, reverse_path: str, recipient: Recipient) -> Reply | None:
        """At RCPT: the client first, as long as the domain is ours; then whether the recipient is known."""
        is_ours = self._policies.policy(recipient.domain) is not None
        reply, reason = await self._of_client(client, recipient) if is_ours else (None, "relaying denied")
        if reply is None:
            reply = await self._service.screen(client, reverse_path, recipient)
            reason = reason or _why(reply)
        if reply is not None:
            self.refused(client, reverse_path, recipient.address, reply, reason)
        return reply

    async def receive(self, envelope: Envelope, content: bytes) -> Outcome:
        """Nothing is added."""
        return await self._service.receive(envelope, content)

    async def is_doubtful(self, client_ip: str) -> bool:
        """No name in the DNS, or one that does not lead back; False when the DNS does not say in time."""
        return (await self._origin(client_ip)).iprev in ("permerror", "fail")

    def refused(self, client: Client, reverse_path: str, recipient: str, reply: Reply, reason: str) -> None:
        """Count it, and tell the message log; a flood is told in numbers."""
        REFUSED.labels(reason.partition(":")[0]).inc()
        self._journal.record(self._refusals.take(client, reverse_path, recipient, reply, reason))
        if self._timer is None and self._refusals.is_counting:
            self._timer = asyncio.get_running_loop().call_later(WINDOW_S, self._tell)

    def _tell(self) -> None:
        self._timer = None
        self._journal.record(self._refusals.flush())

    # --- the client ---------------------------------------------------------------------------------------------------

    async def _of_client(self, client: Client, recipient: Recipient) -> tuple[Reply | None, str]:
        """The reply for it, and why."""
        local = recipient.address.rpartition("@")[0] or recipient.address
        if local.lower() in _ALWAYS_HEARD or not self._network_of(client.ip):
            return None, ""
        defence = self._defence
        kind = kind_of_helo(client.helo, self._hostname, {recipient.domain})
        if kind in ("no_domain", "localhost", "bare_ip") and defence.helo_no_domain:
            return _reply(defence.helo_no_domain, 550, "7.1", _NO_DOMAIN), "helo"
        if kind == "ours" and defence.helo_ours:
            return _reply(defence.helo_ours, 550, "7.1", _OUR_NAME), "helo"
        if not (self._lists or defence.no_reverse_dns or defence.unconfirmed_reverse_dns):
            return None, ""
        origin = await self._origin(client.ip)
        if origin.iprev == "permerror" and defence.no_reverse_dns:
            return _reply(defence.no_reverse_dns, 550, "7.25", _NO_RDNS), "reverse dns"
        if origin.iprev == "fail" and defence.unconfirmed_reverse_dns:
            return _reply(defence.unconfirmed_reverse_dns, 550, "7.25", _UNCONFIRMED), "reverse dns"
        wanted, finding = self._lists.decide(origin.listed) if self._lists else ("", "")
        if not wanted:
            return None, ""
        return _reply(wanted, 554, "7.1", f"[{client.ip}] is on a list: {finding}"), f"dns list: {finding}"

    async def _origin(self, ip: str) -> _Origin:
        now = time.monotonic()
        expires, task = self._known.get(ip, (0.0, None))
        if task is None or expires < now or task.get_loop() is not asyncio.get_running_loop():
            task = asyncio.create_task(self._look(ip))
            self._known[ip] = now + _KNOWN_S, task
            self._known.move_to_end(ip)
            if len(self._known) > _MAX_KNOWN:
                self._known.popitem(last=False)[1][1].cancel()
        done, _ = await asyncio.wait([task], timeout=WAIT_S)
        if not done or task.cancelled() or task.exception() is not None:
            return _UNKNOWN
        return task.result()

    async def _look(self, ip: str) -> _Origin:
        defence, lists = self._defence, self._lists
        wants_name = defence.no_reverse_dns or defence.unconfirmed_reverse_dns or defence.greeting_delay_s
        asking = asyncio.create_task(self._list(ip)) if lists else None
        name = await self._name(ip) if wants_name else ""
        return _Origin(name, await asking if asking else ())

    async def _name(self, ip: str) -> str:
        envelope = Envelope("", Client(ip), "", (), 0.0, self._hostname)
        return (await iprev.evaluate(envelope, self._resolver)).result

    async def _list(self, ip: str) -> tuple[str, ...]:
        assert self._lists is not None
        said = await self._lists.lists.of_client(ip, self._resolver)
        return tuple(one.name for one in said if isinstance(one, Finding))


def _reply(wanted: str, code: int, detail: str, text: str) -> Reply:
    """RFC 3463, 7372."""
    return Reply(code, f"5.{detail}", text) if wanted == "refuse" else Reply(450, f"4.{detail}", text)


def _why(reply: Reply | None) -> str:
    if reply is None:
        return ""
    if reply.code == 450:
        return "rate"
    return "unknown recipient" if reply.code // 100 == 5 else "next hop"
