"""The review application over real stores in a folder, for tests of its pages."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import Engine, select

from gateway.bulk import Bulk
from gateway.config.settings import Senders as SenderSettings
from gateway.config.settings import Settings
from gateway.errors import InputError
from gateway.learning import LearningState, Teacher
from gateway.policy.retention import Retention
from gateway.privacy import Privacy, Stores
from gateway.reputation import Reputation
from gateway.review import Review
from gateway.scan.explain import verdict_json
from gateway.sign_in import SignIn
from gateway.stores.accounts import SqlAccounts
from gateway.stores.api_tokens import SqlApiTokens
from gateway.stores.audit import SqlAudit
from gateway.stores.blobs import FileBlobs
from gateway.stores.bulk import SqlBulk
from gateway.stores.counters import SqlCounters
from gateway.stores.desk import SqlDesk
from gateway.stores.digests import SqlDigests
from gateway.stores.dmarc_feedback import SqlDmarcFeedback
from gateway.stores.engine import make_engine
from gateway.stores.ledger import SqlLedger
from gateway.stores.message_log import SqlMessageLog
from gateway.stores.quarantine import SqlQuarantine
from gateway.stores.schema import audit
from gateway.stores.senders import SqlSenders
from gateway.types import Account, Disposition, DomainPolicy, HeldMessage, Summary
from gateway.web import create_app
from gateway.web.api import Programs
from gateway.web.session import MailLink
from gateway.web.site import SESSION_COOKIE
from gateway.web.why import Why
from tests.builders import recipient, verdict
from tests.database import migrated
from tests.fakes import FakeClock

Release = Callable[[str, str], Awaitable[HeldMessage]]
CONTENT = b"Subject: x\r\n\r\nbody\r\n"


@dataclass
class WebApp:
    app: FastAPI
    accounts: SqlAccounts
    quarantine: SqlQuarantine
    engine: Engine
    clock: FakeClock
    sign_in: SignIn
    message_log: SqlMessageLog
    ledger: SqlLedger
    bulk: Bulk

    def client(self, who: Account | None = None, **options: Any) -> TestClient:
        """A browser of its own, signed in as who is given."""
        client = TestClient(self.app, follow_redirects=False, **options)
        if who is not None:
            client.cookies.set(SESSION_COOKIE, self.accounts.new_session(who))
        return client

    def hold(self, held_id: str, address: str) -> None:
        """A message to this address."""
        domain = address.partition("@")[2]
        wanted = Disposition(recipient(address), "quarantine", "score", 5.0)
        self.quarantine.hold(
            [
                HeldMessage(
                    held_id, "Q1", hashlib.sha256(CONTENT).hexdigest(), "a@example.org", address, domain, "192.0.2.1",
                    "h", 1.79e9, Summary("m", "x", "A", 9), 9.0, "score", verdict_json(verdict(9.0), wanted),
                )
            ],
            CONTENT,
        )  # fmt: skip

    def audited(self, act: str = "") -> list[tuple[str, str, str]]:
        """Who did what, and the detail; one act's, or all."""
        with self.engine.connect() as connection:
            rows = connection.execute(select(audit.c.account, audit.c.act, audit.c.detail).order_by(audit.c.number))
            return [tuple(row) for row in rows if act in ("", row.act)]


def make_web_app(
    folder: Path,
    settings: Settings | None = None,
    *,
    review: Review | None = None,
    release: Release | None = None,
    is_spent: Callable[[int], bool] = lambda _: False,
    why: Why | None = None,
    translations: Mapping[str, Mapping[str, str]] | None = None,
    mail_link: MailLink | None = None,
    engine: Engine | None = None,
    **ways: Any,
) -> WebApp:
    """`review` over the same database, or one with this `release` and `is_spent`. `why`: judges again. `ways`: a
    directory and an issuer for sign-in. `engine`: of a database that is there."""
    settings = settings or Settings()
    if engine is None:
        engine = make_engine(migrated(f"sqlite:///{folder}/darban.db"))
    quarantine = SqlQuarantine(engine, FileBlobs(f"file://{folder}/blobs"))
    accounts, ledger, clock = SqlAccounts(engine), SqlLedger(engine), FakeClock(1.8e9)

    sign_in = SignIn(accounts, settings, clock=clock.now, failure_s=0.0, **ways)

    async def taken(held_id: str, who: str) -> HeldMessage:
        found = quarantine.get(held_id)
        if found is None or not quarantine.transition(held_id, ("held",), "released", "250 2.0.0 taken", by=who):
            raise InputError("not held")
        return replace(found, state="released", note="250 2.0.0 taken")

    async def not_needed(held: HeldMessage, content: bytes) -> dict[str, Any]:
        return {"was": "quarantine", "action": "accept", "is_needed": True, "signs": 0, "changes": []}

    review = review or Review(
        quarantine=quarantine,
        release=release or taken,
        is_ours=lambda domain: domain == "darban.test",
        teacher=Teacher(ledger, 3),
        reputation=Reputation(SqlCounters(engine), b"a secret of the tests"),
        hostname="mx.test",
        is_spent=is_spent,
    )
    jobs, audit_log = SqlBulk(engine), SqlAudit(engine)
    bulk = Bulk(store=jobs, quarantine=quarantine, review=review, record=audit_log.append, runner="mx.test")
    app = create_app(
        quarantine=quarantine,
        accounts=accounts,
        message_log=SqlMessageLog(engine),
        ledger=ledger,
        review=review,
        desk=SqlDesk(engine),
        bulk=bulk,
        jobs=jobs,
        audit=audit_log,
        privacy=Privacy(
            Stores(
                quarantine,
                SqlMessageLog(engine),
                ledger,
                accounts,
                SqlAudit(engine),
                SqlCounters(engine),
                SqlSenders(engine),
                SqlDigests(engine),
            ),
            b"a secret of the tests",
            lambda ip: "",
        ),
        senders=SqlSenders(engine),
        sender_settings=SenderSettings(),
        retention=Retention({"spam": 30.0, "phishing": 30.0, "malware": 30.0, "released": 5.0, "rows": 90.0}),
        digests=SqlDigests(engine),
        learning=LearningState("shipped"),
        why=why or not_needed,
        sign_in=sign_in,
        programs=Programs(
            SqlApiTokens(engine),
            SqlDmarcFeedback(engine),
            [DomainPolicy("darban.test", "maildir:/nowhere"), DomainPolicy("foreign.test", "maildir:/nowhere")],
            settings.api,
        ),
        settings=settings.web,
        hostname="mx.test",
        translations=translations or {},
        mail_link=mail_link,
    )
    return WebApp(app, accounts, quarantine, engine, clock, sign_in, SqlMessageLog(engine), ledger, bulk)


def form_token(page: str) -> str:
    """The CSRF token of a page."""
    found = re.search(r'name="csrf" value="([0-9a-f]+)"', page)
    assert found, page
    return found[1]
