"""The pages behind a digest's links: they ask, and act when the button is pressed. No sign-in, and never a body.

A GET shows, whatever fetches it; a POST acts only with the token of a page that was opened, so that programs that
follow links, or post to them, do nothing. A link acts once: what was released or deleted is not held any more, and a
release that failed may be tried again.
"""

import asyncio
import json
import time
from typing import Annotated, Any, Literal, NamedTuple

from fastapi import APIRouter, Form, HTTPException, Request, Response
from fastapi.responses import RedirectResponse
from prometheus_client import Counter

from gateway.errors import InputError
from gateway.policy import digest_link
from gateway.policy.access import covers, may, scope_of
from gateway.policy.digest_link import Link
from gateway.ports import DigestStore, QuarantineStore
from gateway.review import Review, Reviewed
from gateway.types import Account, Digest, HeldMessage
from gateway.web.letter import moment
from gateway.web.site import Site

ACTS = Counter("darban_digest_acts_total", "What readers did from digests.", ["act", "result"])
for _act in ("release", "spam"):
    for _result in ("done", "failed", "late"):
        ACTS.labels(_act, _result)  # a series that is there from the start can be alarmed on

_NO_LINK = "This link is too old, or it is not whole. Your next digest has new ones."
_REASONS = 6
_LONGEST_NAME = 128  # of an account, in the audit log


class Opened(NamedTuple):
    """A genuine link."""

    text: str
    link: Link
    digest: Digest
    key: bytes

    @property
    def who(self) -> Account:
        """The reader, with this mailbox's mail and nothing else."""
        return Account(self.digest.reader[:_LONGEST_NAME], "recipient", addresses=(self.digest.mailbox,))


class Links:
    """Opens links, over the stores. Blocking. Raises StoreError."""

    def __init__(self, digests: DigestStore, quarantine: QuarantineStore) -> None:
        self._digests = digests
        self._quarantine = quarantine

    def open(self, text: str) -> Opened:
        """Raises 404 for what was not signed for exactly this, or is over."""
        link = digest_link.read(text)
        digest = self._digests.get(link.digest_id) if link is not None else None
        key = self._digests.key(link.key) if link is not None else None
        if link is None or digest is None or key is None:
            raise HTTPException(404, _NO_LINK)
        if not digest_link.is_genuine(text, digest, key, time.time()):
            raise HTTPException(404, _NO_LINK)
        return Opened(text, link, digest, key)

    def message(self, opened: Opened) -> HeldMessage:
        """What the link is about. Raises 404 when it is gone."""
        held = self._quarantine.get(opened.link.held_id)
        if held is None or not covers(scope_of(opened.who), held.recipient):
            raise HTTPException(404, _NO_LINK)
        return held

    def open_act(self, text: str, form: str) -> tuple[Opened, HeldMessage]:
        """A link that does something to a message, with its page's token. Raises 403, 404, 405."""
        opened = self.open(text)
        if opened.link.act not in ("release", "spam"):
            raise HTTPException(405, "The request was not understood.")
        _check_form(opened, form)
        held = self.message(opened)
        if not may(opened.who, opened.link.act) or (opened.link.act == "release" and held.kind == "malware"):
            raise HTTPException(403, "It may do harm. Only an admin can release it.")
        return opened, held

    def stop(self, text: str, form: str, *, is_stopped: bool) -> Opened:
        """What the reader wants from now on. Raises 403, 404, 405."""
        opened = self.open(text)
        if opened.link.act != "stop":
            raise HTTPException(405, "The request was not understood.")
        _check_form(opened, form)
        self._digests.stop(opened.digest.mailbox, opened.digest.reader, is_stopped=is_stopped)
        return opened


def digest_routes(site: Site, digests: DigestStore, quarantine: QuarantineStore, review: Review) -> APIRouter:
    """What links of digests open. Stores block: the routes that use them run in the thread pool."""
    routes = APIRouter()
    links = Links(digests, quarantine)

    def page(request: Request, opened: Opened, name: str, **values: Any) -> Response:
        digest = opened.digest
        language = site.languages[digest.language]
        values |= {
            "language": language,  # the digest's, whatever the browser asks for
            "when": moment(language, digest.calendar, digest.time_zone),
            "digest": digest,
            "act": opened.link.act,
            "form": digest_link.form_token(opened.text, opened.key, time.time()),
        }
        return site.page(request, name, **values)

    def stop(text: str, form: str, *, is_stopped: bool) -> None:
        opened = links.stop(text, form, is_stopped=is_stopped)
        site.record(opened.who, "digest", opened.digest.mailbox, "no more" if is_stopped else "again")

    @routes.get("/digest/{text}")
    def ask(request: Request, text: str) -> Response:
        opened = links.open(text)
        if opened.link.act == "stop":
            is_stopped = digests.is_stopped(opened.digest.mailbox, opened.digest.reader)
            return page(request, opened, "digest_stop.html", is_stopped=is_stopped)
        held = links.message(opened)
        verdict = json.loads(held.verdict_json)
        against = [hit for hit in verdict["hits"] if hit["score"] > 0][:_REASONS]
        return page(request, opened, "digest_ask.html", held=held, verdict=verdict, against=against)

    @routes.post("/digest/{text}")
    async def act(
        text: str, form: Annotated[str, Form()] = "", want: Annotated[Literal["", "stop", "again"], Form()] = ""
    ) -> Response:
        if want:
            await asyncio.to_thread(stop, text, form, is_stopped=want == "stop")
            return RedirectResponse(f"/digest/{text}", 303)
        opened, held = await asyncio.to_thread(links.open_act, text, form)
        try:
            done = await _carry_out(review, opened, held)
        except InputError:  # it is not held any more: the page says what became of it
            ACTS.labels(opened.link.act, "late").inc()
            return RedirectResponse(f"/digest/{text}", 303)
        ACTS.labels(opened.link.act, "failed" if done.held.state == "held" else "done").inc()
        await asyncio.to_thread(site.record, opened.who, opened.link.act, held.id, f"{done.told}; from a digest")
        return RedirectResponse(f"/digest/{text}", 303)

    return routes


def _check_form(opened: Opened, form: str) -> None:
    if not digest_link.is_form_token(form, opened.text, opened.key, time.time()):
        raise HTTPException(403, "The form is too old. Load the page again.")


async def _carry_out(review: Review, opened: Opened, held: HeldMessage) -> Reviewed:
    """Release goes to the message's recipient, whoever reads the digest."""
    if opened.link.act == "release":
        return await review.release(held.id, opened.who.name, via="digest")
    return await asyncio.to_thread(review.spam, held.id, opened.who.name, via="digest")
