"""What stands beside a held message: its copies for other recipients, release to another address, and notes."""

import asyncio
import time
from typing import Annotated

from fastapi import APIRouter, Depends, Form, HTTPException, Request, Response
from fastapi.responses import RedirectResponse

from gateway.errors import InputError
from gateway.policy.access import covers, scope_of
from gateway.ports import Desk, QuarantineStore
from gateway.review import Review
from gateway.types import Account, HeldQuery, Note
from gateway.web.rows import rows_of
from gateway.web.site import Site, find

_COPIES = 200


def beside_routes(site: Site, quarantine: QuarantineStore, review: Review, desk: Desk) -> APIRouter:
    """Copies, redirect, notes."""
    routes = APIRouter()
    reader = Annotated[Account, Depends(site.allowed("read"))]
    redirector = Annotated[Account, Depends(site.allowed("redirect"))]
    writer = Annotated[Account, Depends(site.allowed("note"))]

    @routes.get("/held/{held_id}/copies")
    def copies(request: Request, who: reader, held_id: str) -> Response:
        held = find(quarantine, held_id, who)
        query = HeldQuery(state="", content_hash=held.content_hash, limit=_COPIES, scope=scope_of(who))
        same = [one for one in quarantine.list(query).messages if one.reverse_path == held.reverse_path]
        return site.page(request, "copies.html", who=who, held=held, copies=rows_of(desk, same), error="", address="")

    @routes.post("/held/{held_id}/redirect")
    async def redirect(
        request: Request, who: redirector, held_id: str, address: Annotated[str, Form(max_length=320)] = "",
        csrf: Annotated[str, Form()] = "",
    ) -> Response:  # fmt: skip
        site.check_token(request, csrf)
        held = await asyncio.to_thread(find, quarantine, held_id, who)
        if not may_receive(who, address):
            raise HTTPException(403, "Your account may not release to that address.")
        try:
            done = await review.redirect(held_id, address, who.name)
        except InputError as error:
            said = str(error)
            return site.page(request, "copies.html", 400, who=who, held=held, copies=[], error=said, address=address)
        detail = f"{done.told}; copy of {held_id} for {held.recipient} to {done.held.recipient}"
        await asyncio.to_thread(site.record, who, "redirect", done.held.id, detail)
        return RedirectResponse(f"/held/{held_id}/copies", 303)

    @routes.get("/held/{held_id}/notes")
    def notes(request: Request, who: reader, held_id: str) -> Response:
        held = find(quarantine, held_id, who)
        found = desk.notes([held_id]).get(held_id, ())
        name = "notes.html" if request.headers.get("hx-request") else "notes_page.html"
        return site.page(request, name, who=who, held=held, notes=found)

    @routes.post("/held/{held_id}/notes")
    def add_note(
        request: Request, who: writer, held_id: str, text: Annotated[str, Form(max_length=2000)] = "",
        csrf: Annotated[str, Form()] = "",
    ) -> Response:  # fmt: skip
        site.check_token(request, csrf)
        find(quarantine, held_id, who)
        if text.strip():
            desk.add_note(Note(held_id, time.time(), who.name, text.strip()))
            site.record(who, "note", held_id)
        if request.headers.get("hx-request"):
            return notes(request, who, held_id)
        return RedirectResponse(f"/held/{held_id}/notes", 303)

    return routes


def may_receive(who: Account, address: str) -> bool:
    """Whose scope is limited gives mail to nobody outside of it."""
    return covers(scope_of(who), address.strip())
