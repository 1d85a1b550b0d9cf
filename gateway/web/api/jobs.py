"""Acts on many held messages: started, watched, stopped, gone on with."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, HTTPException, Path, Query, Request

from gateway.bulk import MOST, Bulk
from gateway.policy.access import covers, scope_of
from gateway.ports import BulkStore, QuarantineStore
from gateway.types import Account, BulkJob
from gateway.web.api.caller import Callers, IdempotencyKey, act_router
from gateway.web.api.held import read_filter
from gateway.web.api.models import Job, JobItem, Limit, NewJob, Page
from gateway.web.site import Site

_JOBS = 50
JobId = Annotated[str, Path(pattern="^[0-9a-f]{32}$")]


def job_routes(callers: Callers, site: Site, quarantine: QuarantineStore, store: BulkStore, bulk: Bulk) -> APIRouter:
    """A job is seen by who started it, and by owners."""
    routes = APIRouter(tags=["jobs"])
    routes.include_router(_watch_routes(callers, store))
    routes.include_router(_start_routes(callers, site, quarantine, store, bulk))
    return routes


def _job(store: BulkStore, job_id: str, who: Account) -> BulkJob:
    job = store.get(job_id)
    if job is None or (job.account != who.name and who.role != "owner"):
        raise HTTPException(404, "There is no such job.")
    return job


def _watch_routes(callers: Callers, store: BulkStore) -> APIRouter:
    routes = APIRouter()
    lister = Annotated[Account, Depends(callers.needs("list"))]

    @routes.get("/jobs")
    def jobs(who: lister) -> Page[Job]:
        """The newest."""
        return Page(items=[Job.of(one) for one in store.list("" if who.role == "owner" else who.name, _JOBS)])

    @routes.get("/jobs/{job_id}")
    def job(who: lister, job_id: JobId) -> Job:
        """How far it is."""
        return Job.of(_job(store, job_id, who))

    @routes.get("/jobs/{job_id}/messages")
    def messages(
        who: lister,
        job_id: JobId,
        after: Annotated[int, Query(ge=-1, le=1_000_000, description="`next` of the page before.")] = -1,
        limit: Annotated[Limit, Query()] = 50,
    ) -> Page[JobItem]:
        """What became of each."""
        _job(store, job_id, who)
        found = store.items(job_id, after=after, limit=limit)
        fields = JobItem.model_fields
        items = [JobItem(**{name: getattr(one, name) for name in fields}) for one in found]
        return Page(items=items, next=str(found[-1].number) if len(found) == limit else None)

    return routes


def _start_routes(callers: Callers, site: Site, quarantine: QuarantineStore, store: BulkStore, bulk: Bulk) -> APIRouter:
    routes = act_router(callers)
    lister = Annotated[Account, Depends(callers.needs("list"))]

    @routes.post("/jobs", status_code=202)
    async def start(request: Request, who: lister, new: NewJob, idempotency_key: IdempotencyKey = None) -> Job:
        """It goes on in the background: watch it."""
        await callers.demand(request, new.act)
        if bool(new.ids) == (new.filter is not None):
            raise HTTPException(422, "Give either ids or a filter.")
        ids = await asyncio.to_thread(_chosen, quarantine, who, new)
        if not ids:
            raise HTTPException(409, "None of them is held.")
        about = read_filter(new.filter).to_filter().address()[2:] if new.filter is not None else ""
        job_id = await bulk.start(who.name, new.act, ids, about=about, learns=new.learn)
        await asyncio.to_thread(site.record, who, f"bulk {new.act}", job_id, f"{len(ids)} messages: {about}")
        return Job.of(await asyncio.to_thread(_job, store, job_id, who))

    @routes.post("/jobs/{job_id}/{order}")
    async def turn(
        request: Request, who: lister, job_id: JobId, order: Literal["stop", "go-on"],
        idempotency_key: IdempotencyKey = None,
    ) -> Job:  # fmt: skip
        """Stop it after the message in hand, or go on with it."""
        found = await asyncio.to_thread(_job, store, job_id, who)
        await callers.demand(request, found.act)
        await (bulk.stop if order == "stop" else bulk.go_on)(job_id)
        await asyncio.to_thread(site.record, who, f"bulk {order}", job_id)
        return Job.of(await asyncio.to_thread(_job, store, job_id, who))

    return routes


def _chosen(quarantine: QuarantineStore, who: Account, new: NewJob) -> Sequence[str]:
    """Those that are held, and his to act on. Raises 422 for a filter that is none."""
    scope = scope_of(who)
    if new.filter is None:
        found = quarantine.several(new.ids)
        return [one.id for one in found.values() if one.state == "held" and covers(scope, one.recipient)]
    asked = read_filter(new.filter)
    if asked.state != "held":
        raise HTTPException(422, "Only held messages can be acted on.")
    return quarantine.ids(replace(asked.to_filter().query(scope), until=quarantine.mark()), MOST)
