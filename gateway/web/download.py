"""Downloads from a held message: all of it, or one part; what is dangerous to open asks first. Each is recorded."""

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, HTTPException, Request, Response

from gateway.checks.attachment import dangers
from gateway.mail import decode_body, parse
from gateway.ports import QuarantineStore
from gateway.types import Account
from gateway.web import parts
from gateway.web.site import Site, content, find

_MAX_PATH = 300


def download_routes(site: Site, quarantine: QuarantineStore) -> APIRouter:
    """Stores block: the routes run in the thread pool."""
    routes = APIRouter()
    reader = Annotated[Account, Depends(site.allowed("read"))]

    @routes.get("/held/{held_id}/source")
    def source(who: reader, held_id: str) -> Response:
        held = find(quarantine, held_id, who)
        raw = content(quarantine, held)
        site.record(who, "download", held_id)
        return _file(raw, f'attachment; filename="{held.queue_id}.eml"')

    @routes.get("/held/{held_id}/part/{path}")
    def part(request: Request, who: reader, held_id: str, path: str, sure: Literal["", "yes"] = "") -> Response:
        held = find(quarantine, held_id, who)
        wanted = parts.find(parse(content(quarantine, held)), path[:_MAX_PATH])
        if wanted is None:
            raise HTTPException(404, "The message has no such part.")
        if not sure and (found := dangers(wanted)):
            return site.page(request, "part_warning.html", held=held, who=who, part=wanted, dangers=found)
        site.record(who, "download", held_id, f"part {wanted.path}")
        return _file(decode_body(wanted), parts.disposition(wanted.filename))

    return routes


def _file(body: bytes, disposition: str) -> Response:
    return Response(body, media_type="application/octet-stream", headers={"Content-Disposition": disposition})
