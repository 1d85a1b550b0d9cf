"""Who did what, as a page: filters, and the chain's state in one line."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response

from gateway.policy.access import scope_of
from gateway.types import Account, AuditQuery
from gateway.web.language import parse_day
from gateway.web.site import ACTS, Site

_PAGE = 100
_DAY_S = 86_400.0
Day = Annotated[str, Query(max_length=20)]


def audit_routes(site: Site) -> APIRouter:
    """One page. A domain admin sees what was about mail of his domains."""
    routes = APIRouter()
    reader = Annotated[Account, Depends(site.allowed("audit"))]

    @routes.get("/audit")
    def entries(
        request: Request, who: reader, q: str = "", act: str = "", account: str = "", since: Day = "", until: Day = "",
        offset: Annotated[int, Query(ge=0, le=1_000_000_000)] = 0,
    ) -> Response:  # fmt: skip
        query = AuditQuery(
            q, act, account, _begin(since) or 0.0, _end(until), limit=_PAGE, offset=offset, scope=scope_of(who)
        )
        shown, total = site.audit.list(query)
        asked: dict[str, Any] = {"q": q, "act": act, "account": account, "since": since, "until": until}
        heads = site.audit.heads()[-1:] if scope_of(who).is_all else []
        older = offset + _PAGE if offset + _PAGE < total else None
        paging: dict[str, Any] = {"offset": offset, "older": older, "newer": max(0, offset - _PAGE)}
        signed = heads[0] if heads else None
        told: dict[str, Any] = {"shown": shown, "total": total, "acts": ACTS, "signed": signed}
        return site.page(request, "audit.html", who=who, asked=asked, **told, **paging)

    return routes


def _begin(day: str) -> float | None:
    """Midnight, UTC, of a Gregorian or Jalali day. Raises 400 for a day that is none."""
    found = parse_day(day) if day else None
    if day and found is None:
        raise HTTPException(400, "The request was not understood.")
    return found


def _end(day: str) -> float | None:
    begin = _begin(day)
    return None if begin is None else begin + _DAY_S
