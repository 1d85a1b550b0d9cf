"""The message log as pages: search, one message's timeline, export as CSV."""

import csv
import io
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, get_args
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, HTTPException, Request, Response
from fastapi.responses import StreamingResponse

from gateway.errors import InputError
from gateway.policy.access import scope_of
from gateway.ports import MessageLog
from gateway.timeline import Timelines
from gateway.types import Account, LogAction, LogPage, LogQuery, LogRow, Summary
from gateway.web.language import last_days, parse_day
from gateway.web.site import Site

_PAGE = 50
_EXPORT_PAGE = 1000
_MAX_EXPORT = 1_000_000  # rows
_DAY_S = 86_400.0
_DAYS_OFFERED = 31
_FURTHER = ("sender", "recipient", "subject", "message_id", "queue_id", "client", "finding")
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")  # what spreadsheets execute (OWASP, CSV injection)
HINTS = {  # what a refusal of the query is about -> what to do
    "subject": "Write at least three characters of the subject.",
    "sender": "Write the sender's address or domain.",
    "recipient": "Write the recipient's address or domain.",
    "client": "Write the client's address, or its network as in 192.0.2.0/24.",
    "day": "Write the day as in 2026-11-27 or 1405/09/06.",
    "page": "This page of the log is not there. Search again.",
}
_COLUMNS = (
    "received_at",
    "queue_id",
    "client_ip",
    "helo",
    "reverse_path",
    "recipient",
    "author",
    "message_id",
    "subject",
    "size_bytes",
    "action",
    "score",
    "hits",
    "reason",
    "reply",
    "next_hop_reply",
)


def message_log_routes(site: Site, message_log: MessageLog, timelines: Timelines) -> APIRouter:
    """Who may see what stands in the store's queries. Stores block: the routes run in the thread pool."""
    routes = APIRouter()
    reader = Annotated[Account, Depends(site.allowed("log"))]
    asked = Annotated[dict[str, str], Depends(_asked)]

    @routes.get("/log")
    def search(request: Request, who: reader, said: asked) -> Response:
        page, hint = LogPage(()), ""
        try:
            page = message_log.search(replace(_query(said), scope=scope_of(who), limit=_PAGE))
        except InputError as refused:
            hint = _hint(refused)
        language = site.language(request)
        filters = {name: value for name, value in said.items() if value and name != "before"}
        values: dict[str, Any] = {
            "rows": page.rows,
            "held": timelines.held(page.rows),
            "older": urlencode(filters | {"before": page.older}) if page.older is not None else "",
            "newest": urlencode(filters) if said["before"] else None,
            "export": urlencode(filters),
            "said": said,
            "has_further": any(said[name] for name in _FURTHER),
            "days": [] if language.has_native_dates else last_days(language, _DAYS_OFFERED),
            "actions": get_args(LogAction),
            "hint": hint,
        }
        return site.page(request, "log.html", 400 if hint else 200, who=who, **values)

    @routes.get("/log/export.csv")
    def export(who: reader, said: asked) -> Response:
        try:
            query = replace(_query(said), scope=scope_of(who), limit=_EXPORT_PAGE)
            first = message_log.search(query)
        except InputError as refused:
            raise HTTPException(400, _hint(refused)) from None
        site.record(who, "export", "", urlencode({name: value for name, value in said.items() if value})[:500])
        name = f"message-log-{datetime.now(UTC):%Y-%m-%d}.csv"
        return StreamingResponse(
            _csv(message_log, query, first),
            media_type="text/csv; charset=utf-8",
            headers={"Content-Disposition": f'attachment; filename="{name}"'},
        )

    @routes.get("/log/row/{number}")
    def of_row(request: Request, who: reader, number: int) -> Response:
        row = message_log.row(number, scope_of(who))
        return timeline_page(request, who, [] if row is None else [row])

    @routes.get("/log/{queue_id}")
    def of_message(request: Request, who: reader, queue_id: str) -> Response:
        return timeline_page(request, who, list(message_log.of_message(queue_id, scope_of(who))))

    def timeline_page(request: Request, who: Account, rows: list[LogRow]) -> Response:
        if not rows:
            raise HTTPException(404, "There is no such message in the log.")
        return site.page(request, "log_message.html", who=who, timelines=timelines.of(rows), first=rows[0])

    return routes


def _asked(  # noqa: PLR0913, PLR0917  the fields of the form
    q: str = "",
    sender: str = "",
    recipient: str = "",
    subject: str = "",
    message_id: str = "",
    queue_id: str = "",
    client: str = "",
    action: Literal["", LogAction] = "",
    finding: str = "",
    since: str = "",
    until: str = "",
    before: str = "",
) -> dict[str, str]:
    return {name: value.strip()[:500] for name, value in locals().items()}


def _query(said: dict[str, str]) -> LogQuery:
    """Raises InputError for what is no date or no cursor."""
    values: dict[str, Any] = {name: said[name] for name in (*_FURTHER, "action")}
    for name in ("since", "until"):
        values[name] = parse_day(said[name]) if said[name] else None
        if said[name] and values[name] is None:
            raise InputError(f"day: {said[name]!r} is no date")
    if values["until"] is not None:
        values["until"] += _DAY_S  # that day is among them
    if said["before"] and not said["before"].isdecimal():
        raise InputError(f"page: {said['before']!r} is no number of a row")
    return LogQuery(text=said["q"], before=int(said["before"][:20]) if said["before"] else None, **values)


def _hint(refused: InputError) -> str:
    """The message id of what the form says."""
    return HINTS[str(refused).partition(":")[0]]


def _csv(message_log: MessageLog, query: LogQuery, page: LogPage) -> Iterator[str]:
    """The byte order mark tells spreadsheets that it is UTF-8."""
    yield "\N{ZERO WIDTH NO-BREAK SPACE}" + ",".join(_COLUMNS) + "\r\n"
    for _ in range(_MAX_EXPORT // _EXPORT_PAGE):
        written = io.StringIO()
        csv.writer(written).writerows([_cell(value) for value in _values(row)] for row in page.rows)
        yield written.getvalue()
        if page.older is None:
            return
        page = message_log.search(replace(query, before=page.older))


def _values(row: LogRow) -> tuple[object, ...]:
    summary = row.summary
    at = datetime.fromtimestamp(row.at, UTC).isoformat(timespec="seconds")
    known: dict[str, object] = {name: getattr(summary, name) for name in Summary.__slots__}
    known |= {"received_at": at, "hits": " ".join(row.hits), "score": round(row.score, 2)}
    return tuple(known[name] if name in known else getattr(row, name) for name in _COLUMNS)


def _cell(value: object) -> object:
    """A text is never a formula."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
