"""What people taught the classifier, as a page: lessons, how healthy they are, and taking them back."""

import time
from collections import Counter
from datetime import date
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Form, HTTPException, Query, Request, Response
from fastapi.responses import RedirectResponse

from gateway.classify.features import VERSION
from gateway.learning import LearningState
from gateway.ports import QuarantineStore, TrainingLedger
from gateway.types import Account, Lessons
from gateway.web.site import Site

_PAGE = 50
_DAY_S = 86_400
_EPOCH = date(1970, 1, 1).toordinal()
_DAY = r"^([0-9]{4}-[0-9]{2}-[0-9]{2})?$"
Offset = Annotated[int, Query(ge=0, le=1_000_000_000)]
State = Literal["", "counts", "revoked"]
_STATES: dict[str, bool | None] = {"": None, "counts": False, "revoked": True}


def learning_routes(
    site: Site, ledger: TrainingLedger, quarantine: QuarantineStore, learning: LearningState | None
) -> APIRouter:
    """The list, and revoking one lesson, a person's or a day's: asked first, and to be undone."""
    routes = APIRouter()
    reader = Annotated[Account, Depends(site.allowed("learning"))]
    revoker = Annotated[Account, Depends(site.allowed("revoke"))]

    @routes.get("/learning")
    def lessons(
        request: Request, who: reader, trainer: str = "", day: Annotated[str, Query(pattern=_DAY)] = "",
        state: State = "", offset: Offset = 0, undo: float = 0.0,
    ) -> Response:  # fmt: skip
        which = _which("", trainer, day)
        shown, total = ledger.list(_page_of(which, state, offset))
        undone = ledger.list(Lessons(revoked_at=undo, limit=0))[1] if undo else 0
        values: dict[str, Any] = {"trainer": trainer, "day": day, "state": state, "undo": undo, "undone": undone}
        values["day_at"] = (which.day or 0) * _DAY_S
        return site.page(
            request,
            "learning.html",
            who=who,
            shown=shown,
            total=total,
            held=quarantine.of_contents([one.content_hash for one in shown]),
            health=_health(ledger, learning),
            offset=offset,
            older=offset + _PAGE if offset + _PAGE < total else None,
            newer=max(0, offset - _PAGE),
            **values,
        )

    @routes.get("/learning/revoke")
    def ask(
        request: Request, who: revoker, lesson: str = "", trainer: str = "",
        day: Annotated[str, Query(pattern=_DAY)] = "",
    ) -> Response:  # fmt: skip
        which = _some(_which(lesson, trainer, day))
        shown, total = ledger.list(_page_of(which, "counts", 0))
        values: dict[str, Any] = {"lesson": lesson, "trainer": trainer, "day": day, "day_at": (which.day or 0) * _DAY_S}
        return site.page(request, "revoke.html", who=who, shown=shown[:5], total=total, **values)

    @routes.post("/learning/revoke")
    def revoke(
        request: Request, who: revoker, lesson: Annotated[str, Form()] = "", trainer: Annotated[str, Form()] = "",
        day: Annotated[str, Form(pattern=_DAY)] = "", csrf: Annotated[str, Form()] = "",
    ) -> Response:  # fmt: skip
        site.check_token(request, csrf)
        at = time.time()
        number = ledger.revoke(_some(_which(lesson, trainer, day)), who.name, at)
        site.record(who, "revoke", "", f"{number} lessons: {lesson or trainer or ''} {day}".strip())
        return RedirectResponse(f"/learning?undo={at!r}", 303)

    @routes.post("/learning/restore")
    def restore(
        request: Request, who: revoker, undo: Annotated[float, Form()] = 0.0, lesson: Annotated[str, Form()] = "",
        csrf: Annotated[str, Form()] = "",
    ) -> Response:  # fmt: skip
        site.check_token(request, csrf)
        number = ledger.restore(Lessons(revoked_at=undo) if undo else _some(_which(lesson, "", "")))
        site.record(who, "restore", "", f"{number} lessons")
        return RedirectResponse("/learning", 303)

    return routes


def _which(lesson: str, trainer: str, day: str) -> Lessons:
    """Raises 400 for a day that is none."""
    try:
        number = date.fromisoformat(day).toordinal() - _EPOCH if day else None
    except ValueError:
        raise HTTPException(400, "The request was not understood.") from None
    return Lessons(ids=(lesson,) if lesson else (), trainer=trainer, day=number)


def _some(which: Lessons) -> Lessons:
    """Raises 400 for a form in which nothing was chosen: that would be every lesson."""
    if which == Lessons():
        raise HTTPException(400, "The request was not understood.")
    return which


def _page_of(which: Lessons, state: State, offset: int) -> Lessons:
    return Lessons(which.ids, which.trainer, which.day, is_revoked=_STATES[state], limit=_PAGE, offset=offset)


def _health(ledger: TrainingLedger, learning: LearningState | None) -> dict[str, Any]:
    """Counts as they are now; the rest as the online model was made last."""
    counts = ledger.counts(VERSION)
    by_label: Counter[bool] = Counter()
    for (is_spam, _), number in counts.lessons.items():
        by_label[is_spam] += number
    return {
        "counts": counts,
        "spam": by_label[True],
        "ham": by_label[False],
        "state": learning,
        "is_behind": learning is not None and learning.revision != ledger.revision(),
    }
