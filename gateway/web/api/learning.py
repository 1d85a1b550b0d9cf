"""What people taught: lessons, and taking them back."""

import time
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, HTTPException, Query

from gateway.classify.features import VERSION
from gateway.learning import LearningState
from gateway.ports import TrainingLedger
from gateway.types import Account, Lessons
from gateway.web.api.caller import Callers, IdempotencyKey, act_router
from gateway.web.api.models import Counted, Learning, LessonItem, Limit, Page, Restored, Which
from gateway.web.site import Site

_STATES: dict[str, bool | None] = {"any": None, "counts": False, "revoked": True}


def learning_routes(callers: Callers, site: Site, ledger: TrainingLedger, learning: LearningState | None) -> APIRouter:
    """Reading, revoking, restoring."""
    routes = act_router(callers)
    reader = Annotated[Account, Depends(callers.needs("learning"))]
    revoker = Annotated[Account, Depends(callers.needs("revoke"))]

    @routes.get("/learning", tags=["learning"])
    def status(who: reader) -> Learning:
        """How much was taught, and the model that is in use."""
        counts = ledger.counts(VERSION)
        spam, ham = (sum(n for (is_spam, _), n in counts.lessons.items() if is_spam is one) for one in (True, False))
        told = {name: getattr(counts, name) for name in ("revoked", "superseded", "foreign", "newest_at")}
        model_id = learning.model_id if learning else ""
        return Learning(is_on=learning is not None, model_id=model_id, spam=spam, ham=ham, **told)

    @routes.get("/lessons", tags=["learning"])
    def lessons(
        who: reader,
        trainer: Annotated[str, Query(max_length=320)] = "",
        day: Annotated[int | None, Query(ge=0, le=1_000_000, description="Days since the epoch, UTC.")] = None,
        state: Literal["any", "counts", "revoked"] = "any",
        offset: Annotated[int, Query(ge=0, le=1_000_000_000, description="`next` of the page before.")] = 0,
        limit: Annotated[Limit, Query()] = 50,
    ) -> Page[LessonItem]:
        """Newest first."""
        which = Lessons(trainer=trainer, day=day, is_revoked=_STATES[state], limit=limit, offset=offset)
        found, total = ledger.list(which)
        more = str(offset + limit) if offset + limit < total else None
        return Page(items=[LessonItem.of(one) for one in found], next=more)

    @routes.post("/lessons/revoke", tags=["learning"])
    def revoke(who: revoker, which: Which, idempotency_key: IdempotencyKey = None) -> Counted:
        """They count no more."""
        if not (which.ids or which.trainer or which.day is not None):
            raise HTTPException(400, "Say which lessons: ids, trainer or day.")
        at = time.time()
        chosen = Lessons(ids=tuple(which.ids), trainer=which.trainer, day=which.day)
        number = ledger.revoke(chosen, who.name, at)
        named = " ".join((*which.ids, which.trainer, "" if which.day is None else f"day {which.day}"))
        site.record(who, "revoke", "", f"{number} lessons: {named}".strip())
        return Counted(number=number, at=at)

    @routes.post("/lessons/restore", tags=["learning"])
    def restore(who: revoker, which: Restored, idempotency_key: IdempotencyKey = None) -> Counted:
        """They count again."""
        if not which.ids and which.revoked_at is None:
            raise HTTPException(400, "Say which lessons: ids or revoked_at.")
        number = ledger.restore(Lessons(ids=tuple(which.ids), revoked_at=which.revoked_at))
        site.record(who, "restore", "", f"{number} lessons")
        return Counted(number=number)

    return routes
