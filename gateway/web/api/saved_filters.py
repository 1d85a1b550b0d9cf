"""Filters of held messages that people gave a name: their own, and those that are shared."""

from typing import Annotated
from urllib.parse import parse_qsl, urlencode
from uuid import uuid4

from fastapi import APIRouter, Depends, HTTPException, Path, Request
from starlette.concurrency import run_in_threadpool

from gateway.errors import InputError
from gateway.ports import Desk
from gateway.types import Account, SavedFilter
from gateway.web.api.caller import Callers, IdempotencyKey, act_router
from gateway.web.api.held import HeldFilter, read_filter
from gateway.web.api.models import FilterItem, NewFilter, Page

FilterId = Annotated[str, Path(pattern="^[0-9a-f]{32}$")]


def saved_filter_routes(callers: Callers, desk: Desk) -> APIRouter:
    """List, save, delete."""
    routes, acts = APIRouter(tags=["filters"]), act_router(callers)
    lister = Annotated[Account, Depends(callers.needs("list"))]

    @routes.get("/filters")
    def filters(who: lister) -> Page[FilterItem]:
        """By name."""
        return Page(items=[_item(one) for one in desk.filters(who.name)])

    @acts.post("/filters", status_code=201)
    async def save(request: Request, who: lister, new: NewFilter, idempotency_key: IdempotencyKey = None) -> FilterItem:
        """Keep one."""
        if new.is_shared:
            await callers.demand(request, "note")
        query = urlencode(read_filter(new.filter).to_filter().given())
        saved = SavedFilter(uuid4().hex, who.name, new.name.strip(), query, new.is_shared)
        try:
            await run_in_threadpool(desk.save_filter, saved)
        except InputError:
            raise HTTPException(409, "There are too many saved filters. Delete one first.") from None
        return _item(saved)

    @acts.delete("/filters/{filter_id}", status_code=204)
    def drop(who: lister, filter_id: FilterId) -> None:
        """One's own."""
        if not desk.drop_filter(filter_id, who.name):
            raise HTTPException(404, "There is no such filter.")

    routes.include_router(acts)
    return routes


def _item(saved: SavedFilter) -> FilterItem:
    """Without what only the page's list has."""
    given = parse_qsl(saved.query, keep_blank_values=True)
    return FilterItem.of(saved, {name: value for name, value in given if name in HeldFilter.model_fields})
