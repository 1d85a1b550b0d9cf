"""The quarantine as pages."""

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response
from fastapi.responses import HTMLResponse

from gateway.errors import InputError
from gateway.mail import parse
from gateway.policy.access import scope_of
from gateway.ports import Desk, QuarantineStore, TrainingLedger
from gateway.review import Learned
from gateway.scan.explain import auth_from_json
from gateway.types import Account, HeldMessage, HeldPage, HeldQuery, Lessons
from gateway.web import safe_html
from gateway.web.filter import PAGE, Filter
from gateway.web.rows import rows_of
from gateway.web.site import Site, find

_PAGE = 50  # rows of the message log
_LATE_S = 60.0  # a message has its time when it begins to come, and its row when it was judged
_NEWS = 100  # are counted
_SOURCE = 200_000  # characters of the source shown on the page; the download has all


def review_routes(site: Site, quarantine: QuarantineStore, ledger: TrainingLedger, desk: Desk) -> APIRouter:
    """Lists, one message, its safe view and source. Stores block: the routes that use them run in the thread pool."""
    routes = APIRouter()
    lister = Annotated[Account, Depends(site.allowed("list"))]
    reader = Annotated[Account, Depends(site.allowed("read"))]

    def content(held: HeldMessage) -> bytes:
        if held.state == "deleted":
            raise HTTPException(410, "The message was deleted.")
        return quarantine.content(held.id)

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

    @routes.get("/held/{held_id}")
    def held_page(request: Request, who: reader, held_id: str, learned: Learned = "") -> Response:
        held = find(quarantine, held_id, who)
        site.record(who, "view", held_id)
        message = parse(content(held)) if held.state != "deleted" else None
        source = message.raw[:_SOURCE].decode("utf-8", "replace") if message else ""
        told = {"verdict": json.loads(held.verdict_json), "auth": auth_from_json(held.verdict_json)}
        lessons = ledger.list(Lessons(content_hash=held.content_hash))[0]
        # the address is anybody's to write: what it says was learned has to be in the ledger
        is_so = learned in ("limited", "failed") or any(one.trainer == who.name for one in lessons)
        told |= {"learned": learned if is_so else "", "lessons": lessons}
        return site.page(request, "held.html", held=held, who=who, message=message, source=source, **told)

    @routes.get("/held/{held_id}/view")
    def view(who: reader, held_id: str) -> Response:
        held = find(quarantine, held_id, who)
        return HTMLResponse(safe_html.page(content(held)), headers=safe_html.HEADERS)

    @routes.get("/held/{held_id}/source")
    def download(who: reader, held_id: str) -> Response:
        held = find(quarantine, held_id, who)
        raw = content(held)
        site.record(who, "download", held_id)
        name = f'attachment; filename="{held.queue_id}.eml"'
        return Response(raw, media_type="application/octet-stream", headers={"Content-Disposition": name})

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
