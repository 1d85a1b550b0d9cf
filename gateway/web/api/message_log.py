"""The message log: everything that ever reached us, and one message's story."""

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, HTTPException, Path, Query
from pydantic import Field

from gateway.policy.access import scope_of
from gateway.ports import MessageLog
from gateway.timeline import Timelines
from gateway.types import Account, LogAction, LogQuery
from gateway.web.api.caller import Callers
from gateway.web.api.models import Body, EventItem, LogItem, Page, TimelineItem

Text = Annotated[str, Field(max_length=1000)]
Time = Annotated[float | None, Field(ge=0, le=1e12)]


class LogSearch(Body):
    """What is looked for; all that is given has to hold."""

    q: Annotated[Text, Field(description="An address, a domain, an id, a client, a part of the subject.")] = ""
    sender: Text = ""
    recipient: Text = ""
    subject: Text = ""
    message_id: Text = ""
    queue_id: Text = ""
    client: Annotated[Text, Field(description="An address or a network.")] = ""
    action: LogAction | Literal[""] = ""
    finding: Text = ""
    since: Time = None
    until: Time = None
    before: Annotated[int | None, Field(ge=0, le=2**62, description="`next` of the page before.")] = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50


def message_log_routes(callers: Callers, message_log: MessageLog, timelines: Timelines) -> APIRouter:
    """Reads only."""
    routes = APIRouter(tags=["message log"])
    reader = Annotated[Account, Depends(callers.needs("log"))]

    @routes.get("/log")
    def search(who: reader, asked: Annotated[LogSearch, Query()]) -> Page[LogItem]:
        """Newest first."""
        said = asked.model_dump(exclude={"q"})
        page = message_log.search(LogQuery(text=asked.q, **said, scope=scope_of(who)))
        items = [LogItem.of(row) for row in page.rows]
        return Page(items=items, next=None if page.older is None else str(page.older))

    @routes.get("/log/{queue_id}")
    def timeline(who: reader, queue_id: Annotated[str, Path(max_length=64)]) -> Page[TimelineItem]:
        """What became of a message, for each of its recipients."""
        rows = message_log.of_message(queue_id, scope_of(who))
        if not rows:
            raise HTTPException(404, "There is no such message in the log.")
        return Page(
            items=[
                TimelineItem(
                    row=LogItem.of(one.row),
                    held_id=one.held.id if one.held else None,
                    events=[EventItem(at=e.at, kind=e.kind, text=e.text, who=e.who) for e in one.events],
                )
                for one in timelines.of(rows)
            ]
        )

    return routes
