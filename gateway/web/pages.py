"""The pages and their guards: session cookie, CSRF token on every POST, a content security policy without scripts."""

import hashlib
import hmac
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Form, HTTPException, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.templating import Jinja2Templates

from gateway.config.settings import Web
from gateway.errors import InputError
from gateway.ports import AccountStore, MessageLog, QuarantineStore
from gateway.types import Account, HeldMessage, HeldQuery

_COOKIE = "darban_session"
_PAGE = 50
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self' 'unsafe-inline'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def create_app(  # noqa: C901, PLR0915 - one route after the other, each small
    *,
    quarantine: QuarantineStore,
    accounts: AccountStore,
    message_log: MessageLog,
    release: Callable[[str], Awaitable[HeldMessage]],
    settings: Web,
    hostname: str,
) -> FastAPI:
    """The application. `release` is service.Releaser.release; stores are blocking and run in the thread pool."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    templates = Jinja2Templates(Path(__file__).parent / "templates")
    templates.env.filters["when"] = _when

    def account(request: Request) -> Account:
        who = accounts.session(request.cookies.get(_COOKIE, ""))
        if who is None:
            raise HTTPException(303, headers={"Location": "/sign-in"})
        return who

    signed_in = Annotated[Account, Depends(account)]

    def page(request: Request, name: str, status: int = 200, **values: Any) -> HTMLResponse:
        token = _csrf(request.cookies.get(_COOKIE, ""))
        return templates.TemplateResponse(request, name, values | {"csrf": token, "hostname": hostname}, status)

    def checked(request: Request, csrf: Annotated[str, Form()] = "") -> None:
        if not hmac.compare_digest(csrf, _csrf(request.cookies.get(_COOKIE, ""))):
            raise HTTPException(403, "The form is too old; load the page again")

    def found(held_id: str) -> HeldMessage:
        held = quarantine.get(held_id)
        if held is None:
            raise HTTPException(404, "No such held message")
        return held

    def begin(who: Account) -> Response:
        answer = RedirectResponse("/", 303)
        answer.set_cookie(
            _COOKIE, accounts.new_session(who), httponly=True, samesite="lax", secure=settings.secure_cookies
        )
        return answer

    @app.middleware("http")
    async def guard(request: Request, proceed: Callable[[Request], Awaitable[Response]]) -> Response:
        answer = await proceed(request)
        answer.headers.update(_HEADERS)
        return answer

    @app.get("/setup/{token}")
    def setup_form(request: Request, token: str) -> Response:
        if not accounts.is_setup_token(token):
            raise HTTPException(404, "This link was used already or is too old")
        return page(request, "sign_in.html", heading="Create the first admin", action=f"/setup/{token}", error="")

    @app.post("/setup/{token}")
    def setup(request: Request, token: str, name: Annotated[str, Form()], password: Annotated[str, Form()]) -> Response:
        try:
            return begin(accounts.redeem_setup_token(token, name, password))
        except InputError as error:
            action = f"/setup/{token}"
            return page(request, "sign_in.html", 400, heading="Create the first admin", action=action, error=str(error))

    @app.get("/sign-in")
    def sign_in_form(request: Request) -> Response:
        return page(request, "sign_in.html", heading="Sign in", action="/sign-in", error="")

    @app.post("/sign-in")
    def sign_in(request: Request, name: Annotated[str, Form()], password: Annotated[str, Form()]) -> Response:
        who = accounts.authenticate(name, password)
        if who is None:
            error = "Name or password is wrong, or there were too many tries"
            return page(request, "sign_in.html", 401, heading="Sign in", action="/sign-in", error=error)
        return begin(who)

    @app.post("/sign-out", dependencies=[Depends(checked)])
    def sign_out(request: Request) -> Response:
        accounts.end_session(request.cookies.get(_COOKIE, ""))
        return RedirectResponse("/sign-in", 303)

    @app.get("/")
    def held_list(request: Request, who: signed_in, q: str = "", offset: int = 0) -> Response:
        messages, total = quarantine.list(HeldQuery(text=q, limit=_PAGE, offset=max(0, offset)))
        after = offset + _PAGE if offset + _PAGE < total else None
        return page(request, "list.html", messages=messages, total=total, q=q, after=after, who=who)

    @app.get("/log")
    def log_search(request: Request, who: signed_in, q: str = "") -> Response:
        return page(request, "log.html", rows=message_log.search(q, _PAGE), q=q, who=who)

    @app.get("/held/{held_id}")
    def held_page(request: Request, who: signed_in, held_id: str) -> Response:
        held = found(held_id)
        accounts.audit(who.name, "view", held_id)
        return page(request, "held.html", held=held, verdict=json.loads(held.verdict_json), who=who, text=_text(held))

    def _text(held: HeldMessage) -> str:
        from gateway.mail import parse

        return parse(quarantine.content(held.id)).text[:100_000] if held.state != "deleted" else ""

    @app.post("/held/{held_id}/release", dependencies=[Depends(checked)])
    async def release_held(who: signed_in, held_id: str) -> Response:
        try:
            held = await release(held_id)
        except InputError as error:
            raise HTTPException(409, str(error)) from None
        accounts.audit(who.name, "release", held_id, f"{held.state}: {held.note}")
        return RedirectResponse(f"/held/{held_id}", 303)

    @app.post("/held/{held_id}/delete", dependencies=[Depends(checked)])
    def delete_held(who: signed_in, held_id: str) -> Response:
        if not quarantine.transition(found(held_id).id, ("held",), "deleted"):
            raise HTTPException(409, "The message is not held any more")
        accounts.audit(who.name, "delete", held_id)
        return RedirectResponse("/", 303)

    return app


def _csrf(session: str) -> str:
    return hashlib.sha256(f"csrf|{session}".encode()).hexdigest()


def _when(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M")
