"""Acts on held messages. What one did is said on the row or page it was done from."""

import json
from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import APIRouter, Depends, Form, HTTPException, Request, Response
from fastapi.responses import RedirectResponse

from gateway.errors import InputError
from gateway.ports import QuarantineStore
from gateway.types import Account, HeldMessage
from gateway.web.review import find
from gateway.web.site import Site

_NOT_HELD = "The message is not held any more."

Release = Callable[[str], Awaitable[HeldMessage]]


def act_routes(site: Site, quarantine: QuarantineStore, release: Release) -> APIRouter:
    """Release and delete; both need the form's token and are written to the audit log."""
    routes = APIRouter()
    signed_in = Annotated[Account, Depends(site.account)]

    def after_act(request: Request, held: HeldMessage) -> Response:
        """The row anew for the list's script, the page for a form's request, asked first by a script or not."""
        if request.headers.get("hx-request") and not request.headers.get("hx-boosted"):
            return site.page(request, "row.html", one=held, verdict=json.loads(held.verdict_json))
        return RedirectResponse(f"/held/{held.id}", 303)

    @routes.post("/held/{held_id}/release")
    async def release_held(
        request: Request, who: signed_in, held_id: str, csrf: Annotated[str, Form()] = ""
    ) -> Response:
        site.check_token(request, csrf)
        try:
            held = await release(held_id)
        except InputError:
            raise HTTPException(409, _NOT_HELD) from None
        site.accounts.audit(who.name, "release", held_id, f"{held.state}: {held.note}")
        return after_act(request, held)

    @routes.post("/held/{held_id}/delete")
    def delete_held(request: Request, who: signed_in, held_id: str, csrf: Annotated[str, Form()] = "") -> Response:
        site.check_token(request, csrf)
        if not quarantine.transition(find(quarantine, held_id).id, ("held",), "deleted"):
            raise HTTPException(409, _NOT_HELD)
        site.accounts.audit(who.name, "delete", held_id)
        return after_act(request, find(quarantine, held_id))

    return routes
