"""The quarantine as pages."""

import json
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response
from fastapi.responses import HTMLResponse

from gateway.mail import parse
from gateway.policy.access import scope_of
from gateway.ports import QuarantineStore, TrainingLedger
from gateway.review import Learned
from gateway.scan.explain import auth_from_json
from gateway.types import Account, HeldMessage, HeldQuery, Lessons
from gateway.web import safe_html
from gateway.web.site import Site, find

_PAGE = 50
_SOURCE = 200_000  # characters of the source shown on the page; the download has all
State = Literal["", "held", "releasing", "released", "deleted"]


def review_routes(site: Site, quarantine: QuarantineStore, ledger: TrainingLedger) -> APIRouter:
    """Lists, one message, its safe view and source. Stores block: the routes that use them run in the thread pool."""
    routes = APIRouter()
    lister = Annotated[Account, Depends(site.allowed("list"))]
    reader = Annotated[Account, Depends(site.allowed("read"))]

    def content(held: HeldMessage) -> bytes:
        if held.state == "deleted":
            raise HTTPException(410, "The message was deleted.")
        return quarantine.content(held.id)

    @routes.get("/")
    def held_list(
        request: Request, who: lister, q: str = "", domain: str = "", state: State = "held",
        offset: Annotated[int, Query(ge=0, le=1_000_000_000)] = 0,
    ) -> Response:  # fmt: skip
        messages, total = quarantine.list(HeldQuery(q, domain, state, _PAGE, offset, scope_of(who)))
        shown = [(one, json.loads(one.verdict_json)) for one in messages]
        values: dict[str, Any] = {"shown": shown, "total": total, "q": q, "domain": domain, "state": state, "who": who}
        older = offset + _PAGE if offset + _PAGE < total else None
        name = "rows.html" if request.headers.get("hx-target") == "rows" else "list.html"
        return site.page(request, name, **values, offset=offset, older=older, newer=max(0, offset - _PAGE))

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
