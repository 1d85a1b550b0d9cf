"""Filters of the list that people gave a name: their own, and those they share with all reviewers."""

from typing import Annotated
from urllib.parse import urlencode
from uuid import uuid4

from fastapi import APIRouter, Depends, Form, HTTPException, Request, Response
from fastapi.responses import RedirectResponse

from gateway.errors import InputError
from gateway.policy.access import may
from gateway.ports import Desk
from gateway.types import Account, SavedFilter
from gateway.web.filter import About, Filter, kept_filter
from gateway.web.site import Site


def saved_filter_routes(site: Site, desk: Desk) -> APIRouter:
    """Save and delete; the list shows them."""
    routes = APIRouter()
    lister = Annotated[Account, Depends(site.allowed("list"))]

    @routes.post("/filters")
    def save_filter(
        request: Request, who: lister, name: Annotated[str, Form(max_length=100)] = "",
        about: About = "", shared: Annotated[str, Form()] = "",
        csrf: Annotated[str, Form()] = "",
    ) -> Response:  # fmt: skip
        site.check_token(request, csrf)
        kept = kept_filter(about)
        if kept is None or not name.strip():
            raise HTTPException(400, "Give the filter a name.")
        is_shared = shared == "yes" and may(who, "note")
        try:
            desk.save_filter(SavedFilter(uuid4().hex, who.name, name.strip(), urlencode(kept.given()), is_shared))
        except InputError:
            raise HTTPException(409, "There are too many saved filters. Delete one first.") from None
        return RedirectResponse(kept.address(), 303)

    @routes.post("/filters/{filter_id}/delete")
    def drop_filter(
        request: Request, who: lister, filter_id: str, about: About = "", csrf: Annotated[str, Form()] = ""
    ) -> Response:
        site.check_token(request, csrf)
        if not desk.drop_filter(filter_id, who.name):
            raise HTTPException(404, "There is no such page.")
        return RedirectResponse((kept_filter(about) or Filter()).address(), 303)

    return routes
