"""The admin process: pages, metrics, message log, learning, the watch over the DNS."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog

from gateway.app.compose import (
    domain_policies,
    load_audit_key,
    make_digests,
    make_keys,
    make_link_mailer,
    make_memory,
    make_message_log,
    make_next_hops,
    make_privacy,
    make_programs,
    make_publisher,
    make_quarantine,
    make_releaser,
    make_retention,
    make_review,
    make_teacher,
    make_watches,
    make_webhooks,
)
from gateway.app.pipeline import make_resolver, make_scanner, rule_paths
from gateway.app.places import Places
from gateway.app.process import SocketList, on_signal
from gateway.config.settings import Settings
from gateway.supervisor import Ready
from gateway.types import DmarcRow, HeldMessage, JournalRow, LogRow

if TYPE_CHECKING:
    from gateway.learning import LearningState, Publisher, Teacher
    from gateway.mailboxes import MailboxWatch
    from gateway.net.next_hop import NextHops
    from gateway.ports import QuarantineStore, SenderStore
    from gateway.sign_in import SignIn
    from gateway.stores.accounts import SqlAccounts
    from gateway.stores.audit import SqlAudit
    from gateway.stores.bulk import SqlBulk
    from gateway.stores.dmarc_feedback import SqlDmarcFeedback
    from gateway.stores.ledger import SqlLedger
    from gateway.web.health import DnsState
    from gateway.web.session import MailLink
    from gateway.webhooks import Webhooks

_DNS_WATCH_S = 15.0
_LOG_AGAIN_S = 1.0

log = structlog.get_logger("darban")


@dataclass(frozen=True, slots=True)
class _Parts:
    """What the process has one of, and its stages share."""

    engine: Any
    accounts: SqlAccounts
    audit: SqlAudit
    jobs: SqlBulk
    ledger: SqlLedger
    feedback: SqlDmarcFeedback
    message_log: Any
    quarantine: Any
    webhooks: Webhooks
    next_hops: NextHops
    teacher: Teacher
    publisher: Publisher | None

    @property
    def learning(self) -> LearningState | None:
        """None when it is switched off."""
        return None if self.publisher is None else self.publisher.state


async def serve(settings: Settings, where: Places, ready: Ready, web: SocketList, metrics: SocketList) -> None:
    """Until told to stop."""
    from gateway.mailboxes import make_learn
    from gateway.net.journal import serve_journal
    from gateway.web.health import DnsState, health_app

    stopped = on_signal(signal.SIGTERM)
    parts = _make_parts(settings)
    journal = await serve_journal(
        where.journal,
        lambda rows: keep_rows(rows, parts.webhooks.take_rows, parts.message_log.append, parts.feedback.add),
    )
    tasks = _start_upkeep(settings, parts)
    pages = _make_pages(settings, where, parts, tasks)
    dns = DnsState()
    tasks += [
        asyncio.create_task(_watch_dns(settings, dns)),
        asyncio.create_task(_watch_clamav(settings)),
        *_send_digests(settings, parts.next_hops, parts.quarantine),
    ]
    servers = [
        await _serve_http(pages, web),
        await _serve_http(health_app(where.processes, parts.quarantine, dns, parts.learning), metrics),
    ]
    watches = make_watches(settings, where, make_learn(parts.teacher, parts.message_log, settings.hostname))
    for watch in watches:
        watch.start()
    ready()
    await stopped
    await _stop(watches, tasks, servers)
    journal.close()
    await parts.next_hops.close()


def _make_parts(settings: Settings) -> _Parts:
    from gateway.stores.accounts import SqlAccounts
    from gateway.stores.audit import SqlAudit
    from gateway.stores.bulk import SqlBulk
    from gateway.stores.dmarc_feedback import SqlDmarcFeedback
    from gateway.stores.engine import make_engine
    from gateway.stores.ledger import SqlLedger

    engine = make_engine(settings.storage.database)
    audit, ledger = SqlAudit(engine), SqlLedger(engine)
    return _Parts(
        engine=engine,
        accounts=SqlAccounts(engine, settings.sign_in.session_idle_s, settings.sign_in.session_max_s),
        audit=audit,
        jobs=SqlBulk(engine),
        ledger=ledger,
        feedback=SqlDmarcFeedback(engine, settings.dmarc.keep_days),
        message_log=make_message_log(settings),
        quarantine=make_quarantine(settings),
        webhooks=make_webhooks(settings, engine, audit),
        next_hops=make_next_hops(settings),
        teacher=make_teacher(settings, ledger),
        publisher=make_publisher(settings, ledger),
    )


def _start_upkeep(settings: Settings, parts: _Parts) -> list[asyncio.Task[None]]:
    """What is done now and then, for ever, whoever looks at pages or not."""
    from gateway.housekeeping import Housekeeping, sign_now_and_then
    from gateway.log_expiry import purge_now_and_then
    from gateway.reputation import prune_now_and_then
    from gateway.senders import purge_senders
    from gateway.stores.counters import SqlCounters
    from gateway.stores.senders import SqlSenders

    keys = make_keys(settings, parts.engine)
    housekeeping = Housekeeping(parts.quarantine, make_retention(settings), parts.audit, keys)
    return [
        asyncio.create_task(housekeeping.run(settings.retention.every_s)),
        asyncio.create_task(sign_now_and_then(parts.audit, load_audit_key(settings))),
        asyncio.create_task(prune_now_and_then(make_memory(settings, SqlCounters(parts.engine)))),
        asyncio.create_task(purge_senders(SqlSenders(parts.engine))),
        asyncio.create_task(parts.webhooks.run()),
        asyncio.create_task(purge_now_and_then(parts.message_log, settings.message_log.keep_days)),
        *([asyncio.create_task(parts.publisher.run())] if parts.publisher is not None else []),
    ]


def _make_pages(settings: Settings, where: Places, parts: _Parts, tasks: list[asyncio.Task[None]]) -> Any:
    """The review application; what works on after an answer of it is one of the tasks."""
    from gateway.bulk import Bulk
    from gateway.rules.reader import read as read_rules
    from gateway.sign_in import make_sign_in
    from gateway.stores.desk import SqlDesk
    from gateway.stores.digests import SqlDigests
    from gateway.stores.senders import SqlSenders
    from gateway.web import create_app

    quarantine, senders = parts.quarantine, SqlSenders(parts.engine)
    releaser = make_releaser(settings, parts.next_hops, quarantine)
    review = make_review(settings, releaser, quarantine, parts.teacher, parts.publisher)
    bulk = Bulk(
        store=parts.jobs, quarantine=quarantine, review=review, record=parts.audit.append, runner=settings.hostname
    )
    tasks.append(asyncio.create_task(bulk.run()))
    sign_in = make_sign_in(settings, parts.accounts)
    return create_app(
        quarantine=quarantine,
        accounts=parts.accounts,
        audit=parts.audit,
        privacy=make_privacy(settings),
        senders=senders,
        sender_settings=settings.senders,
        retention=make_retention(settings),
        sign_in=sign_in,
        mail_link=_mail_links(settings, parts.next_hops, sign_in, tasks),
        message_log=parts.message_log,
        ledger=parts.ledger,
        review=review,
        desk=SqlDesk(parts.engine),
        bulk=bulk,
        jobs=parts.jobs,
        digests=SqlDigests(parts.engine),
        learning=parts.learning,
        why=_why(settings, where, senders),
        programs=make_programs(settings, parts.engine, parts.feedback),
        settings=settings.web,
        hostname=settings.hostname,
        translations=read_rules(rule_paths(settings)).translations,
    )


async def _stop(
    watches: Sequence[MailboxWatch],
    tasks: Sequence[asyncio.Task[None]],
    servers: Sequence[Callable[[], Awaitable[None]]],
) -> None:
    for watch in watches:
        watch.stop()
    for task in tasks:
        task.cancel()
    for stop in servers:
        await stop()


def _send_digests(settings: Settings, next_hops: NextHops, quarantine: QuarantineStore) -> list[asyncio.Task[None]]:
    """At their times, where there are any."""
    if not any(domain.digest for domain in settings.domain):
        return []
    return [asyncio.create_task(make_digests(settings, next_hops, quarantine).run())]


def _mail_links(
    settings: Settings, next_hops: NextHops, sign_in: SignIn, tasks: list[asyncio.Task[None]]
) -> MailLink | None:
    """Where people may ask for a link; the mailer is one of the tasks."""
    if not settings.sign_in.mail_links:
        return None
    mailer = make_link_mailer(settings, next_hops, sign_in)
    tasks.append(asyncio.create_task(mailer.run()))
    return mailer.ask


async def keep_rows(
    rows: Sequence[JournalRow],
    to_webhooks: Callable[[Sequence[LogRow]], None],
    to_message_log: Callable[[Sequence[LogRow]], None],
    to_dmarc: Callable[[Sequence[DmarcRow]], None],
) -> None:
    """Store what listeners say of messages. A message log that is down is tried until it is up: what comes meanwhile
    waits with the listeners, who count what finds no room there."""
    from gateway.errors import StoreError

    messages = [row for row in rows if isinstance(row, LogRow)]
    for what, store in (("webhooks", to_webhooks), ("message log", to_message_log)):
        while True:
            try:
                await asyncio.to_thread(store, messages)
                break
            except StoreError as error:
                log.warning(f"{what} down", error=str(error))
                await asyncio.sleep(_LOG_AGAIN_S)
    try:
        await asyncio.to_thread(to_dmarc, [row for row in rows if isinstance(row, DmarcRow)])
    except StoreError as error:
        log.warning("messages are missing in DMARC reports", error=str(error))


async def _watch_dns(settings: Settings, state: DnsState) -> None:
    """Ask the nameservers and the lists' test entries, for ever: what the alerts look at."""
    from gateway.checks.dns_list import DnsLists
    from gateway.config.dns_lists import dns_lists

    resolver = make_resolver(settings)
    lists = DnsLists(dns_lists(settings.dns_list), resolver)
    state.lists = lists.states()
    while True:
        state.is_up = await resolver.is_answering()
        if state.is_up:  # a DNS that is away says nothing about the lists
            await lists.test_when_due()
            state.lists = lists.states()
        await asyncio.sleep(_DNS_WATCH_S)


async def _watch_clamav(settings: Settings) -> None:
    scanner = make_scanner(settings)
    if scanner is not None:
        from gateway.net.clamd import watch

        await watch(scanner)


def _why(
    settings: Settings, where: Places, senders: SenderStore
) -> Callable[[HeldMessage, bytes], Awaitable[dict[str, Any]]]:
    """What would have had a held message delivered: the scorers are asked, with entries on senders as they are now."""
    from gateway.errors import ScorerError
    from gateway.policy.senders import Limits, Said, patterns_of, sender_of
    from gateway.scan.why import Why
    from gateway.service import held_envelope

    limits = Limits(settings.senders.blocked, settings.senders.allow_below)
    policies, asking = domain_policies(settings), Why(where.scorers, settings.limits.scan_s)

    async def why(held: HeldMessage, content: bytes) -> dict[str, Any]:
        policy = policies.policy(held.domain)
        if policy is None:
            raise ScorerError(f"{held.domain} is no domain of ours any more")
        envelope = held_envelope(held, settings.hostname)
        patterns = patterns_of(sender_of(envelope, content, ()))
        whose = (held.recipient.lower(), held.domain, "")
        entries = await asyncio.to_thread(senders.fitting, patterns, whose)
        return await asking.ask(envelope, content, held.verdict_json, policy, Said(tuple(entries), limits))

    return why


async def _serve_http(app: Any, sockets: SocketList) -> Callable[[], Awaitable[None]]:
    """uvicorn inside our loop, signals left to us; returns the function that stops it."""
    import uvicorn

    server = uvicorn.Server(
        uvicorn.Config(
            app, log_level="warning", access_log=False, lifespan="on", server_header=False, proxy_headers=False
        )
    )
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    task = asyncio.create_task(server._serve(list(sockets)))
    while not server.started and not task.done():
        await asyncio.sleep(0.01)

    async def stop() -> None:
        server.should_exit = True
        await task

    return stop
