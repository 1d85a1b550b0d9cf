"""The review application: its routes put together, nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from gateway.bulk import Bulk
from gateway.config.settings import Senders, Web
from gateway.errors import StoreError
from gateway.forecast import Forecaster
from gateway.learning import LearningState
from gateway.policy.retention import Retention
from gateway.policy.senders import Limits
from gateway.ports import (
    AccountStore,
    AuditLog,
    BulkStore,
    Desk,
    DigestStore,
    MessageLog,
    QuarantineStore,
    SenderStore,
    TrainingLedger,
)
from gateway.privacy import Privacy
from gateway.review import Review
from gateway.sign_in import SignIn
from gateway.timeline import Timelines
from gateway.web.account import own_account_routes
from gateway.web.accounts import account_routes
from gateway.web.act import act_routes
from gateway.web.api import ApiParts, Programs, create_api
from gateway.web.api.problem import answer as problem
from gateway.web.audit import audit_routes
from gateway.web.beside import beside_routes
from gateway.web.bulk import bulk_routes
from gateway.web.digest import digest_routes
from gateway.web.download import download_routes
from gateway.web.held import held_routes
from gateway.web.learning import learning_routes
from gateway.web.message_log import message_log_routes
from gateway.web.privacy import privacy_routes
from gateway.web.review import review_routes
from gateway.web.saved_filters import saved_filter_routes
from gateway.web.senders import SenderDesk, sender_routes
from gateway.web.session import MailLink, session_routes
from gateway.web.site import Site, error_page
from gateway.web.tokens import token_routes
from gateway.web.why import Why, why_routes

API = "/api/v1"
_STATIC = Path(__file__).parent / "static"


def create_app(  # noqa: PLR0913  all that the pages show and do
    *,
    quarantine: QuarantineStore,
    accounts: AccountStore,
    audit: AuditLog,
    message_log: MessageLog,
    ledger: TrainingLedger,
    review: Review,
    privacy: Privacy,
    senders: SenderStore,
    sender_settings: Senders,
    retention: Retention,
    desk: Desk,
    bulk: Bulk,
    jobs: BulkStore,
    digests: DigestStore,
    learning: LearningState | None,
    why: Why,
    sign_in: SignIn,
    settings: Web,
    hostname: str,
    translations: Mapping[str, Mapping[str, str]],
    programs: Programs | None = None,
    mail_link: MailLink | None = None,
) -> FastAPI:
    """The application.

    Args:
        learning: None when it is off.
        why: judges a held message again, for web/why.py.
        translations: the rule files' (RuleFiles).
        programs: what the REST API has besides; None: it is not served.
        mail_link: mails a link that signs in; None: nobody gets one by asking.
    """
    site = Site.make(accounts, audit, retention, hostname, translations, settings)
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    app.middleware("http")(site.guard)
    app.include_router(session_routes(site, sign_in, mail_link))
    app.include_router(own_account_routes(site, sign_in))
    app.include_router(account_routes(site))
    app.include_router(review_routes(site, quarantine, desk))
    timelines = Timelines(message_log, quarantine, ledger, audit.acts)
    app.include_router(message_log_routes(site, message_log, timelines))
    app.include_router(act_routes(site, quarantine, review, desk))
    app.include_router(bulk_routes(site, quarantine, jobs, bulk))
    app.include_router(beside_routes(site, quarantine, review, desk))
    app.include_router(saved_filter_routes(site, desk))
    app.include_router(digest_routes(site, digests, quarantine, review))
    app.include_router(held_routes(site, quarantine, ledger))
    app.include_router(download_routes(site, quarantine))
    app.include_router(why_routes(site, quarantine, why))
    app.include_router(learning_routes(site, ledger, quarantine, learning))
    app.include_router(audit_routes(site))
    app.include_router(privacy_routes(site, privacy))
    limits = Limits(sender_settings.blocked, sender_settings.allow_below)
    forecaster = Forecaster(quarantine, message_log, limits)
    sender_desk = SenderDesk(site, senders, quarantine, forecaster, sender_settings.allow_days)
    app.include_router(sender_routes(sender_desk))
    if programs is not None:
        parts = ApiParts(
            quarantine, message_log, timelines, ledger, review, desk, bulk, jobs, learning, why, sender_desk, privacy
        )
        api = create_api(site, parts, programs)
        app.include_router(token_routes(site, programs.tokens, api, programs.settings.token_max_days))
        app.mount(API, api)
    app.mount("/static", StaticFiles(directory=_STATIC))

    @app.get("/favicon.ico")
    def icon() -> Response:
        """For what asks without a page that names it."""
        return FileResponse(_STATIC / "icon.svg", media_type="image/svg+xml")

    @app.exception_handler(HTTPException)
    def refused(request: Request, error: HTTPException) -> Response:
        if request.url.path.startswith(API):  # a line end in it: the mount does not match
            return problem(error.status_code, str(error.detail), fields=error.headers)
        return error_page(site, request, error)

    @app.exception_handler(RequestValidationError)
    def not_understood(request: Request, error: RequestValidationError) -> Response:
        return error_page(site, request, HTTPException(400, "The request was not understood."))

    @app.exception_handler(StoreError)
    def store_down(request: Request, error: StoreError) -> Response:
        return error_page(site, request, HTTPException(503, "The store does not answer. Nothing was changed."))

    return app
