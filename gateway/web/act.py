"""Acts on held messages. What one did is said on the row or page it was done from."""

import asyncio
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Form, HTTPException, Request, Response
from fastapi.responses import RedirectResponse

from gateway.errors import InputError
from gateway.ports import Desk, QuarantineStore
from gateway.review import Review, Reviewed
from gateway.types import Account, HeldMessage
from gateway.web.filter import About, Filter, kept_filter
from gateway.web.rows import rows_of
from gateway.web.site import Site, find

Sure = Annotated[Literal["yes", ""], Form()]
_NOT_HELD = "The message is not held any more."


def is_asked(request: Request, sure: str) -> bool:
    """What cannot be undone is asked first: by the script before it sends this, or by the page `held_ask.html`."""
    return sure == "yes" or bool(request.headers.get("hx-request"))


def ask_first(
    site: Site, request: Request, who: Account, held: HeldMessage, act: Literal["spam", "delete"], about: str
) -> Response:
    """The question that a script asks, for whoever has none, or was quicker than it. Raises 409."""
    if held.state != "held":
        raise HTTPException(409, _NOT_HELD)
    asked = kept_filter(about) or Filter()
    here = f"/held/{held.id}{asked.address()[1:]}"
    return site.page(request, "held_ask.html", who=who, held=held, act=act, asked=asked, here=here)


def act_routes(site: Site, quarantine: QuarantineStore, review: Review, desk: Desk) -> APIRouter:
    """Release, "this is spam" and delete; all need the form's token and are written to the audit log."""
    routes = APIRouter()
    releaser = Annotated[Account, Depends(site.allowed("release"))]
    reporter = Annotated[Account, Depends(site.allowed("spam"))]
    deleter = Annotated[Account, Depends(site.allowed("delete"))]

    def after_act(request: Request, who: Account, act: str, done: Reviewed, about: str) -> Response:
        """The row anew for the list's script; for a form's request, asked first by a script or not, the page, with the
        filter that the list had: what is no filter is left out, so a form leads nowhere else."""
        held, kept = done.held, kept_filter(about) or Filter()
        site.record(who, act, held.id, done.told)
        if request.headers.get("hx-request") and not request.headers.get("hx-boosted"):
            row = rows_of(desk, [held])[0]
            return site.page(request, "row.html", row=row, who=who, asked=kept, learned=done.learned)
        return RedirectResponse(f"/held/{held.id}{kept.address(learned=done.learned)[1:]}", 303)

    @routes.post("/held/{held_id}/release")
    async def release_held(
        request: Request, who: releaser, held_id: str, csrf: Annotated[str, Form()] = "",
        learn: Annotated[Literal["yes", "no"], Form()] = "yes", about: About = "",
    ) -> Response:  # fmt: skip
        site.check_token(request, csrf)
        await asyncio.to_thread(find, quarantine, held_id, who)
        try:
            done = await review.release(held_id, who.name, learns=learn == "yes")
        except InputError:
            raise HTTPException(409, _NOT_HELD) from None
        return after_act(request, who, "release", done, about)

    @routes.post("/held/{held_id}/spam")
    def spam_held(
        request: Request, who: reporter, held_id: str, csrf: Annotated[str, Form()] = "", about: About = "",
        sure: Sure = "",
    ) -> Response:  # fmt: skip
        site.check_token(request, csrf)
        held = find(quarantine, held_id, who)
        if not is_asked(request, sure):
            return ask_first(site, request, who, held, "spam", about)
        try:
            done = review.spam(held_id, who.name)
        except InputError:
            raise HTTPException(409, _NOT_HELD) from None
        return after_act(request, who, "spam", done, about)

    @routes.post("/held/{held_id}/delete")
    def delete_held(
        request: Request, who: deleter, held_id: str, csrf: Annotated[str, Form()] = "", about: About = "",
        sure: Sure = "",
    ) -> Response:  # fmt: skip
        site.check_token(request, csrf)
        held = find(quarantine, held_id, who)
        if not is_asked(request, sure):
            return ask_first(site, request, who, held, "delete", about)
        try:
            done = Reviewed(review.delete(held_id, who.name))
        except InputError:
            raise HTTPException(409, _NOT_HELD) from None
        return after_act(request, who, "delete", done, about)

    return routes
