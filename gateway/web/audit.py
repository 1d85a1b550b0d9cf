"""Who did what, as a page: filters, and the chain's state in one line."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response

from gateway.policy.access import scope_of
from gateway.policy.retention import DAY_S
from gateway.types import Account, AuditQuery
from gateway.web.language import last_days, parse_day
from gateway.web.site import ACTS, Site

_PAGE = 100
_DAYS_OFFERED = 14
Day = Annotated[str, Query(max_length=10)]


def audit_routes(site: Site) -> APIRouter:
    """One page. A domain admin sees what was about mail of his domains."""
    routes = APIRouter()
    reader = Annotated[Account, Depends(site.allowed("audit"))]

    @routes.get("/audit")
    def entries(
        request: Request, who: reader, q: str = "", act: str = "", account: str = "", since: Day = "", until: Day = "",
        offset: Annotated[int, Query(ge=0, le=1_000_000_000)] = 0,
    ) -> Response:  # fmt: skip
        end = _begin(until)
        query = AuditQuery(
            q, act, account, _begin(since) or 0.0, None if end is None else end + DAY_S,
            limit=_PAGE, offset=offset, scope=scope_of(who),
        )  # fmt: skip
        language = site.language(request)
        shown, total = site.audit.list(query)
        asked: dict[str, Any] = {"q": q, "act": act, "account": account, "since": since, "until": until}
        heads = site.audit.heads()[-1:] if scope_of(who).is_all else []
        older = offset + _PAGE if offset + _PAGE < total else None
        paging: dict[str, Any] = {"offset": offset, "older": older, "newer": max(0, offset - _PAGE)}
        signed = heads[0] if heads else None
        told: dict[str, Any] = {"shown": shown, "total": total, "acts": ACTS, "signed": signed}
        told["days"] = [] if language.has_native_dates else last_days(language, _DAYS_OFFERED)
        return site.page(request, "audit.html", who=who, asked=asked, **told, **paging)

    return routes


def _begin(day: str) -> float | None:
    """Midnight, UTC; None for no day. Raises 400 for what is none."""
    found = parse_day(day) if day.strip() else None
    if found is None and day.strip():
        raise HTTPException(400, "The request was not understood.")
    return found
