"""Acts on many held messages: a page that says exactly what will be done, and one that says what was."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Annotated, Any, get_args

from fastapi import APIRouter, Depends, Form, HTTPException, Query, Request, Response
from fastapi.responses import RedirectResponse

from gateway.bulk import MOST, Bulk
from gateway.errors import InputError
from gateway.mail.address import domain_of
from gateway.policy.access import covers, may, scope_of
from gateway.ports import BulkStore, QuarantineStore
from gateway.types import Account, BulkAct, BulkJob, HeldMessage, HeldQuery
from gateway.web.filter import About, kept_filter
from gateway.web.site import Site

_SHOWN = 5  # messages of what will be done
_LOOKED_AT = 1000  # of them, for what they have in common
_ITEMS = 200
_JOBS = 50
Ids = Annotated[Sequence[str], Query(alias="id", max_length=1000)]


def bulk_routes(site: Site, quarantine: QuarantineStore, store: BulkStore, bulk: Bulk) -> APIRouter:
    """Ask, start, watch, stop, go on. A job is seen by who started it, and by owners."""
    routes = APIRouter()
    lister = Annotated[Account, Depends(site.allowed("list"))]

    def job_of(job_id: str, who: Account) -> BulkJob:
        job = store.get(job_id)
        if job is None or (job.account != who.name and who.role != "owner"):
            raise HTTPException(404, "There is no such page.")
        return job

    @routes.get("/bulk")
    def ask(
        request: Request, who: lister, chosen: Ids = (), every: Annotated[str, Query(alias="all")] = "",
        about: Annotated[str, Query(alias="filter", max_length=5000)] = "", act: BulkAct | None = None,
    ) -> Response:  # fmt: skip
        until = quarantine.mark()
        ids = quarantine.ids(_chosen(about, who, until), MOST + 1) if every else _in_scope(quarantine, chosen, who)
        found = quarantine.several(ids[:_LOOKED_AT])
        looked_at = [found[one] for one in ids[:_LOOKED_AT] if one in found]
        values: dict[str, Any] = _in_common(looked_at) | {"number": min(len(ids), MOST), "is_more": len(ids) > MOST}
        values |= {"acts": [one for one in get_args(BulkAct) if may(who, one) and act in (None, one)]}
        return site.page(request, "bulk.html", who=who, ids=[] if every else ids, filter=about, until=until, **values)

    @routes.post("/jobs")
    async def start(
        request: Request, who: lister, act: Annotated[BulkAct, Form()],
        ids: Annotated[list[str], Form(alias="id", max_length=1000)] = [],  # noqa: B006  FastAPI copies it
        about: About = "", until: Annotated[int, Form()] = 0,
        learn: Annotated[str, Form()] = "", csrf: Annotated[str, Form()] = "",
    ) -> Response:  # fmt: skip
        site.check_token(request, csrf)
        if not may(who, act):
            raise HTTPException(403, "Your account may not do that.")
        find = partial(_asked_for, quarantine, ids, who) if ids else partial(_all, quarantine, about, who, until)
        chosen = await asyncio.to_thread(find)
        try:
            job_id = await bulk.start(who.name, act, chosen, about=about, learns=learn == "yes")
        except InputError:
            raise HTTPException(400, "No message was chosen, or none of them is held any more.") from None
        said = f"{len(chosen)} messages{f': {about}' if about else ''}"
        await asyncio.to_thread(site.record, who, f"bulk {act}", job_id, said)
        return RedirectResponse(f"/jobs/{job_id}", 303)

    @routes.get("/jobs")
    def jobs(request: Request, who: lister) -> Response:
        mine = store.list("" if who.role == "owner" else who.name, _JOBS)
        return site.page(request, "jobs.html", who=who, jobs=mine)

    @routes.get("/jobs/{job_id}")
    def watch(request: Request, who: lister, job_id: str, after: Annotated[int, Query(ge=-1)] = -1) -> Response:
        job = job_of(job_id, who)
        items = store.items(job_id, after=after, limit=_ITEMS)
        his = _his(quarantine, [item.held_id for item in items], who)
        told = [(item, his.get(item.held_id)) for item in items]
        is_part = request.headers.get("hx-target") == "job"
        values: dict[str, Any] = {"job": job, "told": told, "after": after, "is_more": len(items) == _ITEMS}
        return site.page(request, "job.html" if is_part else "job_page.html", who=who, **values)

    @routes.post("/jobs/{job_id}/{order}")
    async def turn(
        request: Request, who: lister, job_id: str, order: str, csrf: Annotated[str, Form()] = ""
    ) -> Response:
        site.check_token(request, csrf)
        job = await asyncio.to_thread(job_of, job_id, who)
        if order not in ("stop", "go-on"):
            raise HTTPException(404, "There is no such page.")
        if not may(who, job.act):
            raise HTTPException(403, "Your account may not do that.")
        await (bulk.stop if order == "stop" else bulk.go_on)(job_id)
        await asyncio.to_thread(site.record, who, f"bulk {order}", job_id)
        return RedirectResponse(f"/jobs/{job_id}", 303)

    return routes


def _chosen(about: str, who: Account, until: int) -> HeldQuery:
    """Held messages of a filter, of those that were there when the question was asked. Raises 400."""
    kept = kept_filter(about)
    if kept is None or kept.state != "held":
        raise HTTPException(400, "The request was not understood.")
    query = kept.model_copy(update={"fold": "", "sort": "newest"}).query(scope_of(who))
    return replace(query, until=until)


def _all(quarantine: QuarantineStore, about: str, who: Account, until: int) -> Sequence[str]:
    return quarantine.ids(_chosen(about, who, until), MOST)


def _in_scope(quarantine: QuarantineStore, ids: Sequence[str], who: Account) -> list[str]:
    """Those that are held, and his to act on."""
    return [held.id for held in _his(quarantine, ids, who).values() if held.state == "held"]


def _asked_for(quarantine: QuarantineStore, ids: Sequence[str], who: Account) -> list[str]:
    """All that are his, so that the job tells which were gone before it began; none when none is held any more."""
    his = _his(quarantine, ids, who)
    return list(his) if any(held.state == "held" for held in his.values()) else []


def _his(quarantine: QuarantineStore, ids: Sequence[str], who: Account) -> dict[str, HeldMessage]:
    scope = scope_of(who)
    return {key: held for key, held in quarantine.several(ids).items() if covers(scope, held.recipient)}


def _in_common(messages: Sequence[HeldMessage]) -> dict[str, Any]:
    """What a person would want to know before acting on all of them."""
    return {
        "shown": messages[:_SHOWN],
        "looked_at": len(messages),
        "senders": Counter(domain_of(one.reverse_path) or "<>" for one in messages).most_common(4),
        "recipients": Counter(one.recipient for one in messages).most_common(4),
        "senders_number": len({domain_of(one.reverse_path) for one in messages}),
        "recipients_number": len({one.recipient for one in messages}),
        "subjects_number": len({one.summary.subject for one in messages}),
        "harmful": sum(one.kind == "malware" for one in messages),
        "first": min((one.received_at for one in messages), default=0.0),
        "last": max((one.received_at for one in messages), default=0.0),
        "lowest": min((one.score for one in messages), default=0.0),
    }
