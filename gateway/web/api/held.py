"""The quarantine: held messages, what is in them, why, and acts on them."""

import asyncio
import hashlib
import json
import time
from collections.abc import Mapping
from datetime import date
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Header, HTTPException, Query, Response
from fastapi.responses import Response as Raw
from pydantic import Field, ValidationError

from gateway.errors import InputError, ScorerError
from gateway.mail import decode_body, parse
from gateway.policy.access import covers, scope_of
from gateway.ports import Desk, QuarantineStore
from gateway.review import Review, Reviewed
from gateway.types import Account, HeldKind, HeldMessage, HeldOrder, Note, QuarantineState
from gateway.web import parts
from gateway.web.api.caller import Callers, IdempotencyKey, act_router
from gateway.web.api.etag import check_match, is_known
from gateway.web.api.models import (
    Acted,
    Body,
    Change,
    Content,
    Held,
    HeldDetail,
    HeldId,
    HeldList,
    NewNote,
    NoteItem,
    Page,
    PartItem,
    Redirect,
    Release,
)
from gateway.web.filter import Filter
from gateway.web.site import Site, content, find
from gateway.web.why import Why

_TEXT = 200_000  # characters
_LINKS = 1000
_AND_TEACH = Release()
_NOT_HELD = "The message is not held any more."
IfMatch = Annotated[str | None, Header(max_length=200, description="Only if it is still as this ETag says.")]
IfNoneMatch = Annotated[str | None, Header(max_length=200, description="304 if it is still as this ETag says.")]
Text = Annotated[str, Field(max_length=300)]
Score = Annotated[float | None, Field(ge=-1000, le=1000, allow_inf_nan=False)]


class HeldFilter(Body):
    """The list's filters, by the names that the page's address has."""

    q: Text = ""
    sender: Text = ""
    recipient: Text = ""
    domain: Text = ""
    finding: Annotated[str, Field(max_length=100, pattern="^[A-Za-z0-9_]*$")] = ""
    kind: HeldKind | Literal[""] = ""
    state: QuarantineState | Literal[""] = "held"
    score_from: Score = None
    score_to: Score = None
    day_from: date | None = None
    day_to: Annotated[date | None, Field(description="That day too.")] = None
    campaign: Annotated[str, Field(pattern="^[0-9a-f]{0,16}$")] = ""
    sort: HeldOrder = "newest"

    def to_filter(self, after: str = "") -> Filter:
        """As the page has it."""
        return Filter.model_validate(self.model_dump(include=set(HeldFilter.model_fields)) | {"after": after})


def read_filter(given: Mapping[str, str]) -> HeldFilter:
    """Raises 422 for one that is none."""
    try:
        return HeldFilter.model_validate(given)
    except ValidationError:
        raise HTTPException(422, "The filter was not understood.") from None


class HeldPageOf(HeldFilter):
    """Which page."""

    after: Annotated[str, Field(max_length=100, description="`next` of the page before.")] = ""
    limit: Annotated[int, Field(ge=1, le=200)] = 50


def held_routes(
    callers: Callers, site: Site, quarantine: QuarantineStore, review: Review, desk: Desk, why: Why
) -> APIRouter:
    """Reading and acting."""
    routes = APIRouter(tags=["held"])
    routes.include_router(_read_routes(callers, site, quarantine))
    routes.include_router(_content_routes(callers, site, quarantine, why))
    routes.include_router(_act_routes(callers, site, quarantine, review))
    routes.include_router(_beside_routes(callers, site, quarantine, review, desk))
    return routes


def _read_routes(callers: Callers, site: Site, quarantine: QuarantineStore) -> APIRouter:
    routes = APIRouter()
    lister = Annotated[Account, Depends(callers.needs("list"))]
    reader = Annotated[Account, Depends(callers.needs("read"))]

    @routes.get("/held")
    def held_list(who: lister, asked: Annotated[HeldPageOf, Query()]) -> HeldList:
        """Some of what matches, in order."""
        try:
            query = asked.to_filter(asked.after).query(scope_of(who), asked.limit)
        except ValueError:
            raise HTTPException(400, "The filter was not understood.") from None
        page = quarantine.list(query)
        items = [Held.of(one) for one in page.messages]
        return HeldList(items=items, next=page.next or None, total=page.total, is_floor=page.is_floor)

    @routes.get("/held/{held_id}", responses={304: {"description": "It is as it was."}})
    def held_message(who: reader, held_id: HeldId, response: Response, if_none_match: IfNoneMatch = None) -> HeldDetail:
        """One, with its verdict."""
        held = find(quarantine, held_id, who)
        if is_known(if_none_match, etag_of(held)):
            raise HTTPException(304, headers={"ETag": etag_of(held)})
        response.headers["ETag"] = etag_of(held)
        site.record(who, "view", held_id)
        return HeldDetail(**Held.of(held).model_dump(), verdict=json.loads(held.verdict_json))

    return routes


def _content_routes(callers: Callers, site: Site, quarantine: QuarantineStore, why: Why) -> APIRouter:
    routes = APIRouter()
    reader = Annotated[Account, Depends(callers.needs("read"))]

    @routes.get("/held/{held_id}/content")
    def read(who: reader, held_id: HeldId) -> Content:
        """What a reader sees, as text; nothing of it is fetched or run."""
        _, raw = _content(quarantine, held_id, who)
        site.record(who, "view", held_id)
        message = parse(raw)
        links = [one.url for one in message.links]
        return Content(
            subject=message.subject,
            author=", ".join(one.address for one in message.author),
            text=message.text[:_TEXT],
            hidden_text=message.hidden_text[:_TEXT],
            links=links[:_LINKS],
            parts=[_part(one) for one in parts.attached(message)],
            defects=list(message.defects),
            is_cut=len(message.text) > _TEXT or len(message.hidden_text) > _TEXT or len(links) > _LINKS,
        )

    @routes.get(
        "/held/{held_id}/source",
        response_class=Raw,
        responses={200: {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}},
    )
    def source(who: reader, held_id: HeldId) -> Response:
        """The message, byte for byte as it was received."""
        held, raw = _content(quarantine, held_id, who)
        site.record(who, "download", held_id)
        name = f'attachment; filename="{held.queue_id}.eml"'
        return Response(raw, media_type="application/octet-stream", headers={"Content-Disposition": name})

    @routes.get(
        "/held/{held_id}/parts/{path}",
        response_class=Raw,
        responses={200: {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}},
    )
    def part(who: reader, held_id: HeldId, path: Annotated[str, Field(pattern="^[0-9.]{1,50}$")]) -> Response:
        """One part, decoded. It is what a stranger sent: open it where nothing can happen."""
        _, raw = _content(quarantine, held_id, who)
        found = parts.find(parse(raw), path)
        if found is None:
            raise HTTPException(404, "There is no such part.")
        site.record(who, "download", held_id, f"part {path}")
        fields = {"Content-Disposition": parts.disposition(found.filename)}
        return Response(decode_body(found), media_type="application/octet-stream", headers=fields)

    @routes.get("/held/{held_id}/why")
    async def judged_again(who: reader, held_id: HeldId) -> Change:
        """What would have had it delivered, as rules, model and settings are now."""
        held, raw = await asyncio.to_thread(_content, quarantine, held_id, who)
        try:
            return Change.model_validate(await why(held, raw))
        except ScorerError:
            raise HTTPException(503, "It could not be judged again now.", {"Retry-After": "10"}) from None

    return routes


def _act_routes(callers: Callers, site: Site, quarantine: QuarantineStore, review: Review) -> APIRouter:
    routes = act_router(callers)
    releaser = Annotated[Account, Depends(callers.needs("release"))]
    reporter = Annotated[Account, Depends(callers.needs("spam"))]
    deleter = Annotated[Account, Depends(callers.needs("delete"))]

    def checked(held_id: str, who: Account, if_match: str | None) -> None:
        check_match(if_match, etag_of(find(quarantine, held_id, who)))

    def done(who: Account, act: str, reviewed: Reviewed, response: Response) -> Acted:
        held = reviewed.held
        site.record(who, act, held.id, reviewed.told)
        response.headers["ETag"] = etag_of(held)
        return Acted(held=Held.of(held), learned=reviewed.learned)

    @routes.post("/held/{held_id}/release")
    async def release(
        who: releaser, held_id: HeldId, response: Response, how: Release = _AND_TEACH, if_match: IfMatch = None,
        idempotency_key: IdempotencyKey = None,
    ) -> Acted:  # fmt: skip
        """Hand it to its next hop. `held.state` says whether that took it, `held.note` what it said."""
        await asyncio.to_thread(checked, held_id, who, if_match)
        try:
            reviewed = await review.release(held_id, who.name, learns=how.learn)
        except InputError:
            raise HTTPException(409, _NOT_HELD) from None
        return await asyncio.to_thread(done, who, "release", reviewed, response)

    @routes.post("/held/{held_id}/spam")
    def spam(
        who: reporter, held_id: HeldId, response: Response, if_match: IfMatch = None,
        idempotency_key: IdempotencyKey = None,
    ) -> Acted:  # fmt: skip
        """Delete it, and teach that such mail is not wanted."""
        checked(held_id, who, if_match)
        try:
            return done(who, "spam", review.spam(held_id, who.name), response)
        except InputError:
            raise HTTPException(409, _NOT_HELD) from None

    @routes.post("/held/{held_id}/delete")
    def delete(
        who: deleter, held_id: HeldId, response: Response, if_match: IfMatch = None,
        idempotency_key: IdempotencyKey = None,
    ) -> Acted:  # fmt: skip
        """Delete its content; its row stays."""
        checked(held_id, who, if_match)
        try:
            return done(who, "delete", Reviewed(review.delete(held_id, who.name)), response)
        except InputError:
            raise HTTPException(409, _NOT_HELD) from None

    return routes


def _beside_routes(callers: Callers, site: Site, quarantine: QuarantineStore, review: Review, desk: Desk) -> APIRouter:
    routes = act_router(callers)
    reader = Annotated[Account, Depends(callers.needs("read"))]
    redirector = Annotated[Account, Depends(callers.needs("redirect"))]
    writer = Annotated[Account, Depends(callers.needs("note"))]

    @routes.post("/held/{held_id}/redirect")
    async def redirect(who: redirector, held_id: HeldId, to: Redirect, idempotency_key: IdempotencyKey = None) -> Acted:
        """Release a copy to another address that is ours."""
        held = await asyncio.to_thread(find, quarantine, held_id, who)
        if not covers(scope_of(who), to.address.strip()):
            raise HTTPException(403, "Your account may not release to that address.")
        done = await review.redirect(held_id, to.address, who.name)
        copy = done.held
        detail = f"{done.told}; copy of {held_id} for {held.recipient} to {copy.recipient}"
        await asyncio.to_thread(site.record, who, "redirect", copy.id, detail)
        return Acted(held=Held.of(copy), learned="")

    @routes.get("/held/{held_id}/notes")
    def notes(who: reader, held_id: HeldId) -> Page[NoteItem]:
        """What reviewers wrote down, oldest first."""
        find(quarantine, held_id, who)
        found = desk.notes([held_id]).get(held_id, ())
        return Page(items=[NoteItem(at=one.at, account=one.account, text=one.text) for one in found])

    @routes.post("/held/{held_id}/notes", status_code=201)
    def add_note(who: writer, held_id: HeldId, note: NewNote, idempotency_key: IdempotencyKey = None) -> NoteItem:
        """Write something down."""
        find(quarantine, held_id, who)
        made = Note(held_id, time.time(), who.name, note.text.strip())
        desk.add_note(made)
        site.record(who, "note", held_id)
        return NoteItem(at=made.at, account=made.account, text=made.text)

    return routes


def _content(quarantine: QuarantineStore, held_id: str, who: Account) -> tuple[HeldMessage, bytes]:
    """Raises 404, and 410 for one that was deleted."""
    held = find(quarantine, held_id, who)
    return held, content(quarantine, held)


def etag_of(held: HeldMessage) -> str:
    """Another one for each state it comes into."""
    told = f"{held.id} {held.state} {held.state_at!r} {held.note}"
    return f'"{hashlib.sha256(told.encode()).hexdigest()[:16]}"'


def _part(one: parts.Attached) -> PartItem:
    return PartItem(
        path=one.path,
        content_type=one.declared,
        found_type=one.found,
        filename=one.filename,
        size_bytes=one.size,
        sha256=one.sha256,
        dangers=list(one.dangers),
    )
