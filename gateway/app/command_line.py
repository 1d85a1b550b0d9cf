"""Settings -> what a command of `darban` opens."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from gateway.app.compose import (
    make_digests,
    make_keys,
    make_message_log,
    make_next_hops,
    make_privacy,
    make_quarantine,
    make_releaser,
    make_review,
    make_teacher,
)
from gateway.app.pipeline import make_resolver
from gateway.config.settings import Settings

if TYPE_CHECKING:
    from gateway.digest.dmarc import DmarcReports, DmarcSender
    from gateway.digest.quarantine import Digests
    from gateway.forecast import Forecaster
    from gateway.privacy import Privacy
    from gateway.review import Review


def open_ledger(settings: Settings) -> Any:
    """The training ledger, for the command line."""
    from gateway.stores.engine import make_engine, migrate
    from gateway.stores.ledger import SqlLedger

    migrate(settings.storage.database)
    return SqlLedger(make_engine(settings.storage.database))


def open_quarantine(settings: Settings) -> Any:
    """The quarantine, for the command line."""
    from gateway.stores.engine import migrate

    migrate(settings.storage.database)
    return make_quarantine(settings)


def open_senders(settings: Settings) -> Any:
    """Allowed and blocked senders, for the command line."""
    from gateway.stores.engine import make_engine, migrate
    from gateway.stores.senders import SqlSenders

    migrate(settings.storage.database)
    return SqlSenders(make_engine(settings.storage.database))


def open_forecaster(settings: Settings) -> Forecaster:
    """What an entry would have done, for the command line."""
    from gateway.forecast import Forecaster
    from gateway.policy.senders import Limits

    said = settings.senders
    limits = Limits(said.blocked, said.allow_below)
    return Forecaster(make_quarantine(settings), open_message_log(settings), limits)


def open_message_log(settings: Settings) -> Any:
    """The message log, for the command line."""
    from gateway.stores.engine import migrate

    migrate(settings.storage.database)
    return make_message_log(settings)


def open_audit(settings: Settings) -> Any:
    """The audit log, for the command line."""
    from gateway.stores.audit import SqlAudit
    from gateway.stores.engine import make_engine, migrate

    migrate(settings.storage.database)
    return SqlAudit(make_engine(settings.storage.database))


def open_outbox(settings: Settings) -> Any:
    """What waits for webhooks, for the command line."""
    from gateway.stores.engine import make_engine, migrate
    from gateway.stores.outbox import SqlOutbox

    migrate(settings.storage.database)
    return SqlOutbox(make_engine(settings.storage.database))


def open_tokens(settings: Settings) -> Any:
    """The REST API's tokens, for the command line."""
    from gateway.stores.api_tokens import SqlApiTokens
    from gateway.stores.engine import make_engine, migrate

    migrate(settings.storage.database)
    return SqlApiTokens(make_engine(settings.storage.database))


def open_keys(settings: Settings) -> Any:
    """The keys that contents are encrypted by, for the command line; None without [storage] encryption_key."""
    from gateway.stores.engine import make_engine, migrate

    migrate(settings.storage.database)
    return make_keys(settings, make_engine(settings.storage.database))


def open_privacy(settings: Settings) -> Privacy:
    """What is kept of a person, for the command line."""
    from gateway.stores.engine import migrate

    migrate(settings.storage.database)
    return make_privacy(settings)


def open_accounts(settings: Settings) -> Any:
    """The accounts, for the command line."""
    from gateway.stores.accounts import SqlAccounts
    from gateway.stores.engine import make_engine, migrate

    migrate(settings.storage.database)
    return SqlAccounts(make_engine(settings.storage.database))


@contextlib.asynccontextmanager
async def open_review(settings: Settings) -> AsyncIterator[Review]:
    """What carries out a person's decisions, for the command line."""
    ledger, quarantine = open_ledger(settings), make_quarantine(settings)
    next_hops = make_next_hops(settings)
    try:
        releaser = make_releaser(settings, next_hops, quarantine)
        yield make_review(settings, releaser, quarantine, make_teacher(settings, ledger))
    finally:
        await next_hops.close()


def open_digest_store(settings: Settings) -> Any:
    """What is kept of digests, for the command line."""
    from gateway.stores.digests import SqlDigests
    from gateway.stores.engine import make_engine, migrate

    migrate(settings.storage.database)
    return SqlDigests(make_engine(settings.storage.database))


@contextlib.asynccontextmanager
async def open_digests(settings: Settings) -> AsyncIterator[Digests]:
    """Who sends digests, for the command line."""
    quarantine, next_hops = open_quarantine(settings), make_next_hops(settings)
    try:
        yield make_digests(settings, next_hops, quarantine)
    finally:
        await next_hops.close()


@contextlib.asynccontextmanager
async def open_dmarc_reports(
    settings: Settings, *, is_sending: bool
) -> AsyncIterator[tuple[DmarcReports, DmarcSender | None]]:
    """What makes DMARC reports, and what sends them, for the command line."""
    from gateway import __version__
    from gateway.auth.dmarc_report import Reporter
    from gateway.digest.dmarc import DmarcReports, DmarcSender
    from gateway.net.next_hop import make_next_hop
    from gateway.stores.dmarc_feedback import SqlDmarcFeedback
    from gateway.stores.engine import make_engine, migrate

    asked = settings.dmarc
    migrate(settings.storage.database)
    store = SqlDmarcFeedback(make_engine(settings.storage.database), asked.keep_days)
    organisation = asked.report_organisation or asked.report_from.rpartition("@")[2]
    reporter = Reporter(
        asked.report_from, organisation, asked.report_contact, settings.hostname, f"Darban {__version__}"
    )
    reports = DmarcReports(store, reporter)
    if not is_sending:
        yield reports, None
        return
    relay = make_next_hop(asked.report_relay, settings.hostname)
    resolver = make_resolver(settings)
    try:
        yield reports, DmarcSender(store, reporter, resolver, relay)
    finally:
        await relay.close()
        await resolver.close()
