"""One held message: why, its safe view, its text, source, header fields and parts; and the way to its neighbours."""

import json
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request, Response

from gateway.mail import parse
from gateway.policy.access import scope_of
from gateway.ports import QuarantineStore, TrainingLedger
from gateway.review import Learned
from gateway.scan.explain import auth_from_json
from gateway.types import Account, HeldMessage, Lessons, Message
from gateway.web import auth_path, evidence, parts, safe_html
from gateway.web.filter import Filter
from gateway.web.site import Site, content, find

Show = Literal["message", "text", "source", "fields", "parts"]
SOURCE_PAGE = 64 << 10  # bytes
_VIEW_S = 3600.0
_REMEMBERED = 10_000  # views
_TEXT_SHOWN = 200_000  # characters
_FIELDS_SHOWN, _FIELD_SHOWN = 500, 4000  # fields, characters of one
# header fields that are read first
_TELLING = (
    "from", "sender", "reply-to", "return-path", "to", "cc", "subject", "date", "message-id", "list-id",
    "authentication-results", "received-spf",
)  # fmt: skip


class Views:
    """Who looked at which message of late: each is told once an hour, however often the page loads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._seen: OrderedDict[tuple[str, str], float] = OrderedDict()

    def tell(self, who: str, held_id: str, record: Callable[[], None]) -> None:
        """Call `record` for a view that is new; it is remembered only when that went well."""
        with self._lock:  # the page and its frame come at once
            now = self._clock()
            while self._seen and (len(self._seen) >= _REMEMBERED or next(iter(self._seen.values())) <= now - _VIEW_S):
                self._seen.popitem(last=False)
            if (who, held_id) not in self._seen:
                record()
                self._seen[who, held_id] = now


def held_routes(site: Site, quarantine: QuarantineStore, ledger: TrainingLedger) -> APIRouter:
    """The pages of one message. Stores block: the routes run in the thread pool."""
    routes = APIRouter()
    reader = Annotated[Account, Depends(site.allowed("read"))]
    views = Views()

    def looked(who: Account, held: HeldMessage) -> HeldMessage:
        views.tell(who.name, held.id, lambda: site.record(who, "view", held.id))
        return held

    def judged(held: HeldMessage, message: Message | None) -> dict[str, Any]:
        """What the pages say about why."""
        verdict, auth = json.loads(held.verdict_json), auth_from_json(held.verdict_json)
        heaviest = max([abs(hit["score"]) for hit in verdict["hits"]], default=0.0) or 1.0
        told = {"verdict": verdict, "auth": auth, "path": auth_path.path(held, auth, message), "heaviest": heaviest}
        return told | {"notes": evidence.gather(verdict, message) if message else evidence.Evidence()}

    @routes.get("/held/{held_id}")
    def held_page(
        request: Request, who: reader, held_id: str, asked: Annotated[Filter, Query()],
        learned: Learned = "", show: Show = "message", at: Annotated[int, Query(ge=0, le=1_000_000)] = 0
    ) -> Response:  # fmt: skip
        held = looked(who, find(quarantine, held_id, who))
        message = parse(content(quarantine, held)) if held.state != "deleted" else None
        told = judged(held, message)
        lessons = ledger.list(Lessons(content_hash=held.content_hash))[0]
        # the address is anybody's to write: what it says was learned has to be in the ledger
        is_so = learned in ("limited", "failed") or any(one.trainer == who.name for one in lessons)
        told |= {"learned": learned if is_so else "", "lessons": lessons}
        newer, older = quarantine.neighbours(asked.query(scope_of(who)), held)
        told |= {"newer": newer, "older": older, "filter": asked.address()[1:]}
        if message is not None:
            told |= {"show": show} | _shown(show, message, at, told["notes"])
        return site.page(request, "held.html", held=held, who=who, message=message, **told)

    @routes.get("/held/{held_id}/print")
    def print_page(request: Request, who: reader, held_id: str) -> Response:
        held = looked(who, find(quarantine, held_id, who))
        message = parse(content(quarantine, held))
        told = judged(held, message)
        told |= _shown("text", message, 0, told["notes"]) | _shown("parts", message, 0, told["notes"])
        return site.page(request, "held_print.html", held=held, who=who, message=message, **told)

    @routes.get("/held/{held_id}/view")
    def view(request: Request, who: reader, held_id: str) -> Response:
        held = looked(who, find(quarantine, held_id, who))
        message = parse(content(quarantine, held))
        notes = evidence.gather(json.loads(held.verdict_json), message)
        picture = site.language(request).translations.gettext("picture:")
        body = safe_html.view(message, notes, picture)
        values: dict[str, Any] = {"body": body, "notes": notes, "is_cut": safe_html.is_cut(message)}
        answer = site.page(request, "view.html", style=safe_html.STYLE, **values)
        answer.headers.update(safe_html.HEADERS)
        return answer

    return routes


def _shown(show: Show, message: Message, at: int, notes: evidence.Evidence) -> dict[str, Any]:
    """What one tab needs, bounded whatever the message's size."""
    if show == "text":
        is_cut = len(message.text) > _TEXT_SHOWN
        return {"text": safe_html.text(message.text[:_TEXT_SHOWN], notes), "is_cut": is_cut}
    if show == "source":
        page = message.raw[at * SOURCE_PAGE : (at + 1) * SOURCE_PAGE]
        pages = max(1, -(-len(message.raw) // SOURCE_PAGE))
        return {"source": page.decode("utf-8", "replace"), "at": at, "pages": pages}
    if show == "fields":
        fields = [(one.name, one.text[:_FIELD_SHOWN]) for one in message.fields[:_FIELDS_SHOWN]]
        first = [one for name in _TELLING for one in fields if one[0].lower() == name]
        return {"fields": first, "others": [one for one in fields if one[0].lower() not in _TELLING]}
    if show == "parts":
        return {"parts": list(parts.attached(message))}
    return {"targets": [(link, safe_html.target(link.url)) for link in message.links[:100]]}
