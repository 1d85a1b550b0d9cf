"""A listener process: the SMTP, milter and spamd doors, around one Gateway."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple

import structlog

from gateway.app.compose import (
    domain_policies,
    make_budget,
    make_next_hops,
    make_quarantine,
    make_reputation,
    make_sealer,
    make_senders,
)
from gateway.app.pipeline import make_resolver
from gateway.app.places import Places, listener_count, scorer_count
from gateway.app.process import Door, SocketList, leave, on_signal
from gateway.config.settings import Settings
from gateway.policy.tally import Tally
from gateway.supervisor import Ready

if TYPE_CHECKING:
    from gateway.admission import Admission, Lists
    from gateway.listeners.budget import Budget
    from gateway.net.dns import CachingResolver
    from gateway.net.journal import JournalSender
    from gateway.service import Gateway

log = structlog.get_logger("darban")
_DATABASE_S = 5.0  # mail waits no longer for a PostgreSQL that does not answer


class Doors(NamedTuple):
    """The sockets of a listener process, by door."""

    smtp: SocketList
    milter: SocketList
    spamd: SocketList


class _Shared(NamedTuple):
    """What the doors of this process have in common."""

    budget: Budget
    tally: Tally  # with the other listeners too


async def serve(settings: Settings, where: Places, ready: Ready, sockets: Doors, tally: Tally) -> None:
    """Until told to stop, or replaced by a new generation and left by the last client."""
    from gateway.net.journal import JournalSender

    stopped, left = on_signal(signal.SIGTERM), on_signal(signal.SIGUSR1)
    shared = _Shared(make_budget(settings, where), tally)
    for kind in ("door", "open"):
        tally.counts(kind).clear()  # of a process that died in our place
    async with AsyncExitStack() as held:  # closed in reverse
        journal = JournalSender(where.journal)
        journal.start()
        held.push_async_callback(journal.close)
        service = await held.enter_async_context(_open_gateway(settings, where, journal))
        admission = _admission(settings, service, journal)
        held.callback(admission.close)
        doors = [await _open_smtp(settings, admission, shared, sockets.smtp)]
        if settings.spamd.listen:
            doors.append(await held.enter_async_context(_open_spamd(settings, where, journal, shared, sockets.spamd)))
        if settings.milter.listen:
            doors.append(await _open_milter(settings, service, shared, sockets.milter))
        ready()
        await leave(doors, stopped, left, settings.process.drain_s)


async def _open_smtp(settings: Settings, admission: Admission, shared: _Shared, sockets: SocketList) -> Door:
    from gateway.listeners import smtp

    trusted = settings.reputation.trusted_networks
    return await smtp.serve(settings.smtp, settings.hostname, admission, sockets, settings.defence, trusted, *shared)


async def _open_milter(settings: Settings, service: Gateway, shared: _Shared, sockets: SocketList) -> Door:
    from gateway.listeners import milter

    max_size, sealer = settings.smtp.max_message_size, make_sealer(settings)
    return await milter.serve(
        settings.milter, max_size, settings.hostname, service, sockets, shared.budget, sealer, shared.tally
    )


@asynccontextmanager
async def _open_spamd(
    settings: Settings, where: Places, journal: JournalSender, shared: _Shared, sockets: SocketList
) -> AsyncIterator[Door]:
    from gateway.listeners import spamd
    from gateway.listeners.place import is_private
    from gateway.scan.pool import ScorerPool
    from gateway.scanning import Scanner

    said, limit = settings.spamd, settings.smtp.max_message_size
    if not is_private(said.listen):
        log.warning("[spamd] answers everybody who reaches it; listen on 127.0.0.1 or unix:/path", listen=said.listen)
    pool = ScorerPool(where.scorers, _scorers(settings), settings.limits.scan_s)  # no memory: a scan teaches nothing
    await pool.start()
    scanner = Scanner("spamd", pool.score, domain_policies(settings), journal)
    tell = spamd.forward(where.learn, settings.limits.scan_s) if said.learn else None
    door = spamd.Server(said, settings.hostname, limit, scanner, tell, *shared)
    await door.start(sockets)
    try:
        yield door
    finally:
        await pool.close()


# --- behind the doors -----------------------------------------------------------------------------------------------


@asynccontextmanager
async def _open_gateway(settings: Settings, where: Places, journal: JournalSender) -> AsyncIterator[Gateway]:
    from gateway.actions.hold import Hold
    from gateway.actions.relay import Relay
    from gateway.scan.explain import verdict_json
    from gateway.scan.pool import ScorerPool
    from gateway.service import Gateway
    from gateway.stores.counters import SqlCounters
    from gateway.stores.engine import make_engine

    policies = domain_policies(settings)
    counters = SqlCounters(make_engine(settings.storage.database, _DATABASE_S))
    reputation = make_reputation(settings, counters)
    pool = ScorerPool(where.scorers, _scorers(settings), settings.limits.scan_s, reputation)
    await pool.start()
    next_hops = make_next_hops(settings)
    reputation.start()
    senders = make_senders(settings)
    await senders.start()
    try:
        yield Gateway(
            policies=policies,
            scorer=pool,
            relay=Relay(policies, next_hops.get, make_sealer(settings)),
            hold=Hold(make_quarantine(settings, _DATABASE_S), verdict_json),
            verifier=next_hops,
            journal=journal,
            counters=counters,
            reputation=reputation,
            senders=senders,
            reports_dmarc=settings.dmarc.reports,
        )
    finally:
        await senders.close()
        await reputation.close()
        await next_hops.close()
        await pool.close()


def _scorers(settings: Settings) -> int:
    """This listener's part of them."""
    return max(1, scorer_count(settings) // listener_count(settings))


def _admission(settings: Settings, service: Gateway, journal: JournalSender) -> Admission:
    from gateway.admission import Admission

    resolver = make_resolver(settings)
    return Admission(
        service,
        policies=domain_policies(settings),
        journal=journal,
        resolver=resolver,
        defence=settings.defence,
        hostname=settings.hostname,
        trusted=settings.reputation.trusted_networks,
        lists=_lists_at_rcpt(settings, resolver),
    )


def _lists_at_rcpt(settings: Settings, resolver: CachingResolver) -> Lists | None:
    """Those of [[dns_list]] with at_rcpt, and the allow lists beside them; None without any."""
    from gateway.admission import Lists
    from gateway.config.dns_lists import dns_lists

    specs = [one for one in dns_lists(settings.dns_list) if "client" in one.asked]
    if not any(one.at_rcpt for one in specs):
        return None
    from gateway.checks.dns_list import DnsLists  # some megabytes, for those who use it

    asked = [one for one in specs if one.at_rcpt or one.kind == "allow"]
    answers = {finding: one.at_rcpt or "allow" for one in asked for finding in one.findings}
    return Lists(DnsLists(asked, resolver), answers)
