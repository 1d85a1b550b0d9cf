"""The quarantine as pages."""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response

from gateway.errors import InputError
from gateway.policy.access import scope_of
from gateway.ports import Desk, QuarantineStore
from gateway.types import Account, HeldMessage, HeldPage, HeldQuery
from gateway.web.filter import PAGE, Filter
from gateway.web.rows import rows_of
from gateway.web.site import Site

_LATE_S = 60.0  # a message has its time when it begins to come, and its row when it was judged
_NEWS = 100  # are counted


def review_routes(site: Site, quarantine: QuarantineStore, desk: Desk) -> APIRouter:
    """The list. Stores block: the routes that use them run in the thread pool."""
    routes = APIRouter()
    lister = Annotated[Account, Depends(site.allowed("list"))]

    @routes.get("/")
    def held_list(request: Request, who: lister, asked: Annotated[Filter, Query()]) -> Response:
        now = time.time()
        query = asked.query(scope_of(who))
        page = _page(quarantine, query)
        sizes = quarantine.sizes(query, _campaigns(page.messages)) if query.is_folded else {}
        rows = rows_of(desk, page.messages, sizes)
        values: dict[str, Any] = {"page": page, "asked": asked, "who": who, "seen": now, "since": now - _LATE_S}
        values["base"] = _arrived(quarantine, query, now - _LATE_S)
        is_for_script = request.headers.get("hx-target") == "rows"
        if not is_for_script:
            values["filters"] = desk.filters(who.name)
        answer = site.page(request, "rows.html" if is_for_script else "list.html", rows=rows, **values)
        if is_for_script:
            answer.headers["HX-Push-Url"] = asked.address(after=asked.after)
        return answer

    @routes.get("/news")
    def news(
        request: Request, who: lister, asked: Annotated[Filter, Query()],
        seen: Annotated[float, Query()] = 0.0, since: Annotated[float, Query()] = 0.0,
        base: Annotated[int, Query(ge=0)] = 0, told: Annotated[int, Query(ge=0)] = 0,
    ) -> Response:  # fmt: skip
        """What came, and what others did, since the page was made; 204 when there is nothing to say."""
        now, scope = time.time(), scope_of(who)
        number = max(0, _arrived(quarantine, asked.query(scope), since) - base)
        acted = [one for one in quarantine.changed(scope, seen, PAGE) if one.state_by != who.name]
        if number == told and not acted:
            return Response(status_code=204)
        values: dict[str, Any] = {"asked": asked, "seen": now, "since": since, "base": base, "told": number}
        return site.page(request, "news.html", who=who, rows=rows_of(desk, acted), **values)

    return routes


def _page(quarantine: QuarantineStore, query: HeldQuery) -> HeldPage:
    """Raises 400 for an address that begins no page."""
    try:
        return quarantine.list(query)
    except InputError:
        raise HTTPException(400, "The request was not understood.") from None


def _campaigns(messages: Sequence[HeldMessage]) -> list[str]:
    return sorted({one.campaign for one in messages if one.campaign})


def _arrived(quarantine: QuarantineStore, query: HeldQuery, since: float) -> int:
    """How many of the filter came since then, whatever became of them; none where the list is not of held mail."""
    if query.state not in ("", "held"):
        return 0
    asked = replace(query, state="", received_from=max(since, query.received_from or 0.0), is_folded=False, after="")
    return quarantine.count(asked, _NEWS)
