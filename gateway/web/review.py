"""The quarantine and the message log as pages."""

import json
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response

from gateway.policy.access import scope_of
from gateway.ports import MessageLog, QuarantineStore
from gateway.types import Account, HeldQuery
from gateway.web.held import State, filter_text
from gateway.web.site import Site

_PAGE = 50


def review_routes(site: Site, quarantine: QuarantineStore, message_log: MessageLog) -> APIRouter:
    """The lists. Stores block: the routes that use them run in the thread pool."""
    routes = APIRouter()
    lister = Annotated[Account, Depends(site.allowed("list"))]
    log_reader = Annotated[Account, Depends(site.allowed("log"))]

    @routes.get("/")
    def held_list(
        request: Request, who: lister, q: str = "", domain: str = "", state: State = "held",
        offset: Annotated[int, Query(ge=0, le=1_000_000_000)] = 0,
    ) -> Response:  # fmt: skip
        messages, total = quarantine.list(HeldQuery(q, domain, state, _PAGE, offset, scope_of(who)))
        shown = [(one, json.loads(one.verdict_json)) for one in messages]
        values: dict[str, Any] = {"shown": shown, "total": total, "q": q, "domain": domain, "state": state, "who": who}
        values["filter"] = filter_text(request)
        older = offset + _PAGE if offset + _PAGE < total else None
        name = "rows.html" if request.headers.get("hx-target") == "rows" else "list.html"
        return site.page(request, name, **values, offset=offset, older=older, newer=max(0, offset - _PAGE))

    @routes.get("/log")
    def log_search(request: Request, who: log_reader, q: str = "") -> Response:
        return site.page(request, "log.html", rows=message_log.search(q, _PAGE), q=q, who=who)

    return routes
