"""Allowed and blocked senders: what is said, what it would have done, taking it back. docs/senders.md has the rule."""

import time
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, HTTPException, Path, Query

from gateway.forecast import DAYS, Forecast
from gateway.policy.access import scope_of
from gateway.policy.sender_form import DAY_S, may_say, sender_entry, sender_recipient
from gateway.types import Account, SenderEntry, SenderQuery
from gateway.web.api.caller import Callers, IdempotencyKey, act_router
from gateway.web.api.models import (
    Held,
    KeptOut,
    Limit,
    LogItem,
    NewSender,
    SenderForecast,
    SenderItem,
    SenderList,
)
from gateway.web.senders import SenderDesk

_SHOWN = 100  # messages of a forecast, of each kind
Number = Annotated[int, Path(ge=0, le=2_000_000_000)]


def sender_routes(callers: Callers, desk: SenderDesk) -> APIRouter:
    """Each sees and changes entries about mail of his scope."""
    routes = APIRouter(tags=["senders"])
    routes.include_router(_read_routes(callers, desk))
    routes.include_router(_act_routes(callers, desk))
    return routes


def _read_routes(callers: Callers, desk: SenderDesk) -> APIRouter:
    routes = APIRouter()
    editor = Annotated[Account, Depends(callers.needs("senders"))]

    @routes.get("/senders")
    def sender_list(
        who: editor,
        q: Annotated[str, Query(max_length=500, description="Part of sender, recipient, note or account.")] = "",
        act: Literal["", "allow", "block"] = "",
        ended: Annotated[bool, Query(description="Those that have ended too.")] = False,
        before: Annotated[int | None, Query(ge=0, le=2_000_000_000, description="`next` of the page before.")] = None,
        limit: Annotated[Limit, Query()] = 50,
    ) -> SenderList:
        """Newest first."""
        found, total = desk.store.list(SenderQuery(q, act, not ended, limit, before, scope_of(who)))
        more = str(found[-1].number) if len(found) == limit else None
        return SenderList(items=[SenderItem.of(one) for one in found], next=more, total=total)

    @routes.get("/senders/{number}")
    def sender(who: editor, number: Number) -> SenderItem:
        """One."""
        return SenderItem.of(desk.found(number, who))

    @routes.post("/senders/forecast")
    def forecast(who: editor, new: NewSender) -> SenderForecast:
        """What it would have done with the mail of the last days; nothing is saved."""
        entry = _entry(desk, who, new)
        return _told(desk.forecaster.forecast(entry, scope_of(who), entry.at))

    return routes


def _act_routes(callers: Callers, desk: SenderDesk) -> APIRouter:
    routes = act_router(callers)
    editor = Annotated[Account, Depends(callers.needs("senders"))]

    @routes.post("/senders", status_code=201)
    def add(who: editor, new: NewSender, idempotency_key: IdempotencyKey = None) -> SenderItem:
        """It counts within some seconds."""
        return SenderItem.of(desk.save(who, _entry(desk, who, new)))

    @routes.delete("/senders/{number}", status_code=204)
    def remove(who: editor, number: Number) -> None:
        """It counts no more within some seconds."""
        desk.remove(number, who)

    return routes


def _entry(desk: SenderDesk, who: Account, new: NewSender) -> SenderEntry:
    """Raises 403 for others' mail, 404 for a message that is not there, InputError."""
    if not may_say(who, sender_recipient(new.recipient)):
        raise HTTPException(403, "Your account may not say what is done with that recipient's mail.")
    held_id = new.held_id or ""
    desk.held(held_id, who)
    now, expires_at = time.time(), new.expires_at
    if new.act == "allow" and "expires_at" not in new.model_fields_set:
        expires_at = now + desk.allow_days * DAY_S
    return sender_entry(
        who, act=new.act, pattern=new.pattern, recipient=new.recipient, expires_at=expires_at, now=now, note=new.note,
        network=new.network, held_id=held_id,
    )  # fmt: skip


def _told(found: Forecast) -> SenderForecast:
    kept_out = [KeptOut(held=Held.of(held), reason=reason) for held, reason in found.kept_out[:_SHOWN]]
    return SenderForecast(
        days=DAYS,
        let_in=[Held.of(one) for one in found.let_in[:_SHOWN]],
        let_in_total=len(found.let_in),
        let_in_phishing=found.phishing,
        kept_out=kept_out,
        kept_out_total=len(found.kept_out),
        blocked=[LogItem.of(one) for one in found.blocked[:_SHOWN]],
        blocked_total=len(found.blocked),
        refused=found.refused,
        is_cut=found.is_cut,
    )
