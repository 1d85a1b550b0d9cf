"""What would have had a held message delivered: a sentence on its page, asked for when somebody looks."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Request, Response
from fastapi.responses import JSONResponse

from gateway.errors import ScorerError
from gateway.ports import QuarantineStore
from gateway.scan.wording import flip_text
from gateway.types import Account, HeldMessage
from gateway.web.site import Site, content, find, tongue

Why = Callable[[HeldMessage, bytes], Awaitable[dict[str, Any]]]  # raises ScorerError


def why_routes(site: Site, quarantine: QuarantineStore, why: Why) -> APIRouter:
    """The sentence for a script, on a page of its own, or as JSON."""
    routes = APIRouter()
    reader = Annotated[Account, Depends(site.allowed("read"))]

    def read(held_id: str, who: Account) -> tuple[HeldMessage, bytes]:
        held = find(quarantine, held_id, who)
        return held, content(quarantine, held)

    @routes.get("/held/{held_id}/why")
    async def judged_again(request: Request, who: reader, held_id: str) -> Response:
        held, raw = await asyncio.to_thread(read, held_id, who)
        is_for_script = bool(request.headers.get("hx-request"))
        try:
            flip = await why(held, raw)
        except ScorerError:
            if not is_for_script:
                raise HTTPException(503, "It could not be judged again now.") from None
            return site.page(request, "why_line.html", sentence="")
        if "application/json" in request.headers.get("accept", ""):
            return JSONResponse(flip)
        name = "why_line.html" if is_for_script else "why.html"
        sentence = flip_text(flip, tongue(site.language(request)))
        return site.page(request, name, held=held, who=who, sentence=sentence, entry=flip.get("entry", ""))

    return routes
