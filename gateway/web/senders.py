"""Senders that are allowed and blocked, as pages: the list, a form that says first what it would have done, CSV."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, File, Form, HTTPException, Query, Request, Response
from fastapi.responses import RedirectResponse, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from gateway.errors import InputError
from gateway.forecast import DAYS, Forecaster, patterns_of
from gateway.mail.address import domain_of
from gateway.policy.access import covers_domain, may, scope_of
from gateway.policy.sender_csv import MAX_BYTES, read_csv, write_csv
from gateway.policy.sender_form import DAY_S, may_say, sender_entry
from gateway.ports import QuarantineStore, SenderStore
from gateway.types import Account, HeldMessage, SenderAct, SenderEntry, SenderQuery
from gateway.web.site import Site, find

_PAGE = 50
_EXPORT_PAGE = 1000
_SHOWN = 20  # messages of a forecast
_DAYS = (1, 7, 30, 90, 365)
_BLOCK_DAYS = 365
_GONE = "There is no such entry."
_CHANGED = "You changed whom or whose mail it is about. See what it would have done, and save then."
Number = Annotated[int, Query(ge=0, le=2_000_000_000)]


class Said(BaseModel):
    """A form's words. None: nothing was said yet; `days` "": no end; `held`: the message it is about."""

    model_config = ConfigDict(frozen=True)

    act: SenderAct = "allow"
    pattern: str = Field("", max_length=2000)
    recipient: str | None = Field(None, max_length=2000)
    days: str | None = Field(None, max_length=20)
    note: str = Field("", max_length=2000)
    network: str = Field("", max_length=200)
    held: str = Field("", max_length=64)
    seen: str | None = None  # what a forecast was shown for
    csrf: str = ""

    @property
    def about(self) -> str:
        """What a forecast depends on."""
        return "|".join((self.act, self.pattern.strip().lower(), (self.recipient or "").strip().lower(), self.network))


@dataclass(frozen=True, slots=True)
class SenderDesk:
    """What the routes share. `allow_days`: for which a sender is allowed, if nobody says otherwise."""

    site: Site
    store: SenderStore
    quarantine: QuarantineStore
    forecaster: Forecaster
    allow_days: int

    def found(self, number: int, who: Account) -> SenderEntry:
        """Raises 404 for an entry that is not there, or not his to see: nobody learns which."""
        entry = self.store.get(number, scope_of(who))
        if entry is None:
            raise HTTPException(404, _GONE)
        return entry

    def save(self, who: Account, entry: SenderEntry) -> SenderEntry:
        """As it is stored. Raises InputError when there are too many."""
        saved = self.store.add(entry)
        self.site.record(who, f"sender-{saved.act}", saved.pattern, _told(saved), _domain(saved))
        return saved

    def remove(self, number: int, who: Account) -> None:
        """Raises 404."""
        entry = self.found(number, who)
        if not self.store.remove(number, scope_of(who)):
            raise HTTPException(404, _GONE)
        self.site.record(who, "sender-remove", entry.pattern, _told(entry), _domain(entry))

    def held(self, held_id: str, who: Account) -> HeldMessage | None:
        """The message an entry is made from."""
        return find(self.quarantine, held_id, who) if held_id else None

    def entry(self, who: Account, said: Said) -> SenderEntry:
        """Raises InputError."""
        now = time.time()
        if said.days and not (said.days.isascii() and said.days.isdecimal() and len(said.days) < 5):
            raise InputError("An entry ends in the future, within a year; of a blocked sender within ten.")
        expires_at = now + int(said.days) * DAY_S if said.days else None
        return sender_entry(
            who, act=said.act, pattern=said.pattern, recipient=said.recipient or "", expires_at=expires_at, now=now,
            note=said.note, network=said.network, held_id=said.held,
        )  # fmt: skip

    def form(
        self,
        request: Request,
        who: Account,
        said: Said,
        edited: SenderEntry | None = None,
        *,
        fault: str = "",
        hint: str = "",
    ) -> Response:
        """What is to be said, and what it would have done; or what is wrong with it."""
        held = self.held(said.held, who)
        values: dict[str, Any] = {
            "who": who,
            "said": said,
            "held": held,
            "edited": edited,
            "fault": fault,
            "hint": hint,
        }
        values |= {"patterns": (), "recipients": _recipients(who, held), "days": self._days(who, said)}
        if held is not None and edited is None:
            values["patterns"] = tuple(patterns_of(held, with_reverse_path=said.act == "block"))
        if said.pattern and not fault:
            try:
                values |= self._forecast(who, self.entry(who, said), held) | {"seen": said.about}
            except InputError as error:
                values["fault"] = str(error)
        return self.site.page(request, "sender.html", 400 if fault else 200, **values)

    def _forecast(self, who: Account, entry: SenderEntry, held: HeldMessage | None) -> dict[str, Any]:
        found = self.forecaster.forecast(entry, scope_of(who), entry.at)
        this = self.forecaster.rule(entry, held, entry.at) if held is not None else None
        return {"forecast": found, "forecast_days": DAYS, "shown": _SHOWN, "entry": entry, "this": this}

    def _days(self, who: Account, said: Said) -> list[str]:
        offered = {*_DAYS, self.allow_days if said.act == "allow" else _BLOCK_DAYS}
        endless = [""] if said.act == "block" or may(who, "settings") else []
        return [*map(str, sorted(offered)), *endless]


def sender_routes(desk: SenderDesk) -> APIRouter:
    """Stores block: all of them run in the thread pool."""
    routes = APIRouter()
    routes.include_router(_file_routes(desk))  # before the ones with a number in the place of their names
    routes.include_router(_form_routes(desk))
    routes.include_router(_list_routes(desk))
    return routes


def _list_routes(desk: SenderDesk) -> APIRouter:
    routes, site, store = APIRouter(), desk.site, desk.store
    editor = Annotated[Account, Depends(site.allowed("senders"))]

    @routes.get("/senders")
    def sender_list(
        request: Request, who: editor, q: Annotated[str, Query(max_length=500)] = "",
        act: Literal["", "allow", "block"] = "", ended: Literal["", "yes"] = "",
        before: Number | None = None, saved: Number | None = None,
    ) -> Response:  # fmt: skip
        query = SenderQuery(q, act, not ended, _PAGE, before, scope_of(who))
        shown, total = store.list(query)
        values: dict[str, Any] = {
            "shown": shown,
            "total": total,
            "q": q,
            "act": act,
            "ended": ended,
            "now": time.time(),
        }
        values["older"] = shown[-1].number if len(shown) == _PAGE else None
        values["saved"] = store.get(saved, scope_of(who)) if saved is not None else None
        return site.page(request, "senders.html", who=who, **values)

    @routes.post("/senders/{number}/remove")
    def remove(request: Request, who: editor, number: int, csrf: Annotated[str, Form()] = "") -> Response:
        site.check_token(request, csrf)
        desk.remove(number, who)
        return RedirectResponse("/senders", 303)

    return routes


def _form_routes(desk: SenderDesk) -> APIRouter:
    routes, site = APIRouter(), desk.site
    editor = Annotated[Account, Depends(site.allowed("senders"))]

    @routes.get("/senders/new")
    def new(request: Request, who: editor, said: Annotated[Said, Query()]) -> Response:
        message = desk.held(said.held, who)
        pattern, recipient, days = said.pattern, said.recipient, said.days
        if message is not None and not pattern:
            pattern = next(patterns_of(message, with_reverse_path=said.act == "block"), "")
        if recipient is None:
            recipient = message.recipient.lower() if message is not None else next(iter(_recipients(who, None)), "")
        if days is None:
            days = _days_of(desk, said.act)
        changes = {"pattern": pattern, "recipient": recipient, "days": days}
        return desk.form(request, who, said.model_copy(update=changes))

    @routes.get("/senders/{number}")
    def edit(request: Request, who: editor, number: int) -> Response:
        one = desk.found(number, who)
        days = "" if one.expires_at is None else _days_of(desk, one.act)
        said = Said(
            act=one.act, pattern=one.pattern, recipient=one.recipient, days=days, note=one.note, network=one.network
        )
        return desk.form(request, who, said, one)

    @routes.post("/senders")
    def save(request: Request, who: editor, said: Annotated[Said, Form()]) -> Response:
        site.check_token(request, said.csrf)
        desk.held(said.held, who)
        # an empty field of a form is None to the framework
        said = said.model_copy(update={"recipient": said.recipient or "", "days": said.days or ""})
        if said.seen is not None and said.seen != said.about:
            return desk.form(request, who, said, hint=_CHANGED)
        try:
            entry = desk.save(who, desk.entry(who, said))
        except InputError as fault:
            return desk.form(request, who, said, fault=str(fault))
        return RedirectResponse(f"/senders?saved={entry.number}", 303)

    return routes


def _file_routes(desk: SenderDesk) -> APIRouter:
    routes, site, store = APIRouter(), desk.site, desk.store
    editor = Annotated[Account, Depends(site.allowed("senders"))]

    def every(who: Account) -> Iterator[SenderEntry]:
        before = None
        while page := store.list(SenderQuery(is_in_force=True, limit=_EXPORT_PAGE, before=before, scope=scope_of(who)))[
            0
        ]:
            yield from page
            before = page[-1].number

    @routes.get("/senders/export.csv")
    def export(who: editor) -> Response:
        headers = {"Content-Disposition": 'attachment; filename="senders.csv"'}
        return StreamingResponse(write_csv(every(who)), media_type="text/csv; charset=utf-8", headers=headers)

    @routes.post("/senders/import")
    def take(
        request: Request,
        who: editor,
        file: Annotated[bytes, File()] = b"",
        text: Annotated[str, Form(max_length=MAX_BYTES)] = "",
        csrf: Annotated[str, Form()] = "",
    ) -> Response:
        site.check_token(request, csrf)
        page: dict[str, Any] = {"who": who, "here": "/senders"}
        try:
            taken = len(store.add_all(read_csv(file or text.encode(), who, time.time(), desk.allow_days)))
        except InputError as fault:
            return site.page(request, "senders_import.html", 400, **page, faults=str(fault).split("\n"))
        site.record(who, "sender-import", "", f"{taken} entries")
        return site.page(request, "senders_import.html", **page, taken=taken)

    return routes


def _days_of(desk: SenderDesk, act: SenderAct) -> str:
    return str(desk.allow_days if act == "allow" else _BLOCK_DAYS)


def _recipients(who: Account, held: HeldMessage | None) -> tuple[str, ...]:
    """Whose mail an entry may be about, where there is a choice to offer; "" for everybody's. () asks for words."""
    scope = scope_of(who)
    if held is None:
        return scope.addresses
    address = held.recipient.lower()
    offered = (address, *((domain_of(address),) if covers_domain(scope, domain_of(address)) else ()), "")
    return tuple(one for one in offered if may_say(who, one))


def _domain(entry: SenderEntry) -> str:
    return domain_of(entry.recipient) if "@" in entry.recipient else entry.recipient


def _told(entry: SenderEntry) -> str:
    """For the audit log."""
    whose = f"mail to {entry.recipient}" if entry.recipient else "everybody's mail"
    until = (
        "no end" if entry.expires_at is None else f"until {time.strftime('%Y-%m-%d', time.gmtime(entry.expires_at))}"
    )
    network = f", from {entry.network} without proof" if entry.network else ""
    return f"{entry.act} for {whose}, {until}{network}{f': {entry.note}' if entry.note else ''}"
