"""The REST API under /api/v1: what the pages show and do, for programs. docs/api.md has it in words."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, FastAPI
from fastapi.openapi.utils import get_openapi

from gateway import __version__
from gateway.bulk import Bulk
from gateway.config.settings import Api
from gateway.learning import LearningState
from gateway.ports import (
    ApiTokenStore,
    BulkStore,
    Desk,
    DmarcStore,
    MessageLog,
    QuarantineStore,
    TrainingLedger,
)
from gateway.privacy import Privacy
from gateway.review import Review
from gateway.timeline import Timelines
from gateway.types import Account, DomainPolicy
from gateway.web.api.accounts import account_routes
from gateway.web.api.audit import audit_routes
from gateway.web.api.caller import Callers
from gateway.web.api.held import held_routes
from gateway.web.api.jobs import job_routes
from gateway.web.api.learning import learning_routes
from gateway.web.api.message_log import message_log_routes
from gateway.web.api.privacy import privacy_routes
from gateway.web.api.problem import RESPONSES, Problem, handle_problems
from gateway.web.api.saved_filters import saved_filter_routes
from gateway.web.api.senders import sender_routes
from gateway.web.api.status import status_routes
from gateway.web.senders import SenderDesk
from gateway.web.site import Site
from gateway.web.why import Why


@dataclass(frozen=True, slots=True)
class ApiParts:
    """What the API shares with the pages."""

    quarantine: QuarantineStore
    message_log: MessageLog
    timelines: Timelines
    ledger: TrainingLedger
    review: Review
    desk: Desk
    bulk: Bulk
    jobs: BulkStore
    learning: LearningState | None
    why: Why
    senders: SenderDesk
    privacy: Privacy


@dataclass(frozen=True, slots=True)
class Programs:
    """What only the API has."""

    tokens: ApiTokenStore
    dmarc: DmarcStore
    domains: Sequence[DomainPolicy]
    settings: Api


def create_api(site: Site, parts: ApiParts, programs: Programs) -> FastAPI:
    """The application that is mounted at /api/v1."""
    callers = Callers(site, programs.tokens, programs.settings.requests_per_minute)
    api = FastAPI(
        title="Darban", version=__version__, openapi_url=None, docs_url=None, redoc_url=None, responses=RESPONSES
    )
    handle_problems(api)
    api.include_router(status_routes(callers, parts.quarantine, programs.dmarc, programs.domains, site.hostname))
    api.include_router(held_routes(callers, site, parts.quarantine, parts.review, parts.desk, parts.why))
    api.include_router(job_routes(callers, site, parts.quarantine, parts.jobs, parts.bulk))
    api.include_router(message_log_routes(callers, parts.message_log, parts.timelines))
    api.include_router(learning_routes(callers, site, parts.ledger, parts.learning))
    api.include_router(audit_routes(callers, site.audit))
    api.include_router(account_routes(callers, site))
    api.include_router(sender_routes(callers, parts.senders))
    api.include_router(privacy_routes(callers, parts.privacy))
    api.include_router(saved_filter_routes(callers, parts.desk))

    @api.get("/openapi.json", include_in_schema=False)
    def openapi(_: Annotated[Account, Depends(callers.needs(None))]) -> dict[str, Any]:
        return document(api)

    return api


def document(api: FastAPI) -> dict[str, Any]:
    """The OpenAPI document; made once."""
    if api.openapi_schema is None:
        made = get_openapi(
            title=api.title,
            version=api.version,
            description="What the review pages show and do. Errors are problem details (RFC 9457).",
            routes=api.routes,
            servers=[{"url": "/api/v1"}],
        )
        schemas = made.setdefault("components", {}).setdefault("schemas", {})
        told = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas |= told.pop("$defs", {}) | {"Problem": told}
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        api.openapi_schema = made
    return api.openapi_schema
