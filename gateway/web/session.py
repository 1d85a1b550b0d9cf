"""Coming in and going out: sign-in by password, one-time code, issuer or mailed link; links that set a password.

Every refusal has the same words and takes the same time (gateway/sign_in.py). A new session at every sign-in.
"""

import asyncio
import ipaddress
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any

import anyio
import structlog
from fastapi import APIRouter, Form, HTTPException, Query, Request, Response
from fastapi.responses import RedirectResponse

from gateway.errors import InputError, SignInError
from gateway.policy.token_bucket import TokenBuckets
from gateway.sign_in import Entrance, SignIn
from gateway.types import Account
from gateway.web.site import LANGUAGE_COOKIE, SESSION_COOKIE, Site, seen

_YEAR_S = 365 * 86_400
_ISSUER_COOKIE = "darban_issuer"
_ISSUER_S = 600
_REFUSALS = 20
_LINKS, _HOUR_S = 10, 3600.0  # that one client may ask for in an hour
_AT_ONCE = 4  # a password's hash takes 64 MiB: a crowd at the door waits

log = structlog.get_logger()
Name = Annotated[str, Form(max_length=1000)]
Password = Annotated[str, Form(max_length=10_000)]


MailLink = Callable[[str, str, str], None]  # address, language, client: does not wait, tells nothing


class Refusals:
    """Which refused sign-ins the audit log is told: so many in a minute, and how many were not. Guessing fills none."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._minute = 0.0
        self._written = 0
        self._left_out = 0

    def take(self) -> str | None:
        """None for one that is only counted; else what is added to its detail."""
        if self._now() - self._minute >= 60.0:
            self._minute, self._written = self._now(), 0
        if self._written >= _REFUSALS:
            self._left_out += 1
            return None
        self._written += 1
        others, self._left_out = self._left_out, 0
        return f", and {others} more before, not written" if others else ""


@dataclass(frozen=True, slots=True)
class Door:
    """What the ways in share."""

    site: Site
    sign_in: SignIn
    refusals: Refusals = field(default_factory=Refusals)
    mail_link: MailLink | None = None
    asks: TokenBuckets = field(default_factory=lambda: TokenBuckets(_LINKS, _HOUR_S))
    limiter: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(_AT_ONCE))

    def page(self, request: Request, status: int = 200, **values: Any) -> Response:
        """The page that asks for name and password, or offers the issuer."""
        issuer = self.sign_in.issuer.label if self.sign_in.issuer else ""
        values |= {"kind": "sign-in", "action": "/sign-in", "issuer": issuer, "mails_links": self.mail_link is not None}
        return self.site.page(request, "sign_in.html", status, **values)

    def begin(self, request: Request, who: Account, way: str) -> Response:
        """A new session in place of the one that the browser had."""
        site, client_ip = self.site, self.site.client_ip(request)
        site.accounts.end_session(request.cookies.get(SESSION_COOKIE, ""))
        secret = site.accounts.new_session(who, client_ip, request.headers.get("user-agent", ""))
        site.record(who, "sign-in", "", way)
        answer = RedirectResponse("/", 303)
        is_secure = site.web.secure_cookies
        answer.set_cookie(SESSION_COOKIE, secret, httponly=True, samesite="lax", secure=is_secure)
        return answer

    async def tried(self, request: Request, name: str, way: str, enter: Callable[[], Entrance]) -> Response:
        """What the try came to. A refusal comes when every refusal does."""
        began = time.monotonic()
        found = await anyio.to_thread.run_sync(enter, limiter=self.limiter)
        if found.who is not None:
            return await anyio.to_thread.run_sync(self.begin, request, found.who, way)
        if found.code_token and way != "code":
            return self.site.page(request, "code.html", token=found.code_token, error="")
        await anyio.to_thread.run_sync(self._record_refusal, name, way, found.waits)
        await asyncio.sleep(max(0.0, began + self.sign_in.failure_s - time.monotonic()))
        if found.code_token:
            error = "The code is wrong or was used, or there were too many tries."
            return self.site.page(request, "code.html", 401, token=found.code_token, error=error)
        error = "The name or the password is wrong, or there were too many tries."
        return self.page(request, 401, error=error, typed=name)

    def _record_refusal(self, name: str, way: str, is_locked: bool) -> None:
        """What was typed may be a password: only the name of an account goes into the log."""
        told = self.refusals.take()
        if told is None and not is_locked:
            return
        known = name if self.site.accounts.record(name) else ""
        self.site.record(known, "sign-in-locked" if is_locked else "sign-in-refused", "", f"{way}{told or ''}")


def session_routes(site: Site, sign_in: SignIn, mail_link: MailLink | None) -> APIRouter:
    """Everything that works without a session. `mail_link`: None where nobody gets one by asking."""
    door = Door(site, sign_in, mail_link=mail_link)
    routes = APIRouter()
    for part in (_password_routes, _issuer_routes, _ask_routes, _link_routes, _owner_routes, _browser_routes):
        routes.include_router(part(door))
    return routes


def _password_routes(door: Door) -> APIRouter:
    routes = APIRouter()
    site, sign_in = door.site, door.sign_in

    @routes.get("/sign-in")
    def sign_in_form(request: Request) -> Response:
        return door.page(request)

    @routes.post("/sign-in")
    async def by_password(request: Request, name: Name, password: Password) -> Response:
        site.check_origin(request)
        client_ip = site.client_ip(request)
        return await door.tried(request, name, "password", lambda: sign_in.by_password(name, password, client_ip))

    @routes.post("/sign-in/code")
    async def by_code(request: Request, token: Name, code: Name) -> Response:
        site.check_origin(request)
        client_ip = site.client_ip(request)
        found = await anyio.to_thread.run_sync(site.accounts.token, "code", token)
        name = found.account if found else ""
        return await door.tried(request, name, "code", lambda: sign_in.by_code(token, code, client_ip))

    return routes


def _issuer_routes(door: Door) -> APIRouter:
    routes = APIRouter()
    site, sign_in = door.site, door.sign_in

    @routes.get("/sign-in/oidc")
    def ask_issuer(request: Request) -> Response:
        if sign_in.issuer is None:
            raise HTTPException(404, "There is no such page.")
        try:
            url, kept = sign_in.ask_issuer()
        except SignInError as fault:
            raise _unavailable(fault) from None
        answer = RedirectResponse(url, 303)
        answer.set_cookie(
            _ISSUER_COOKIE, kept, max_age=_ISSUER_S, path="/sign-in/oidc", httponly=True, samesite="lax",
            secure=site.web.secure_cookies,
        )  # fmt: skip
        return answer

    @routes.get("/sign-in/oidc/back")
    async def by_issuer(
        request: Request, state: Annotated[str, Query(max_length=200)] = "",
        code: Annotated[str, Query(max_length=4000)] = "", iss: Annotated[str, Query(max_length=500)] = "",
    ) -> Response:  # fmt: skip
        kept, client_ip = request.cookies.get(_ISSUER_COOKIE, ""), site.client_ip(request)
        try:
            answer = await door.tried(
                request, "", "issuer", lambda: sign_in.by_issuer(kept, state, code, iss, client_ip)
            )
        except SignInError as fault:
            raise _unavailable(fault) from None
        answer.delete_cookie(_ISSUER_COOKIE, path="/sign-in/oidc")
        return answer

    return routes


def _ask_routes(door: Door) -> APIRouter:
    """Asking for a link: what is answered is the same for every address, at once."""
    routes = APIRouter()
    site = door.site

    def mail_link() -> MailLink:
        if door.mail_link is None:
            raise HTTPException(404, "There is no such page.")
        return door.mail_link

    @routes.get("/sign-in/link")
    def ask_form(request: Request) -> Response:
        mail_link()
        return site.page(request, "sign_in_link.html")

    @routes.post("/sign-in/link")
    async def ask(request: Request, address: Annotated[str, Form(min_length=1, max_length=320)]) -> Response:
        site.check_origin(request)
        mail = mail_link()
        wait_s = door.asks.wait_s(network_of(site.client_ip(request)))
        if wait_s:
            raise HTTPException(429, "That was asked for too often. Try again later.", {"Retry-After": f"{wait_s:.0f}"})
        mail(address, site.language(request).code, site.client_ip(request))
        return site.page(request, "sign_in_link.html", address=seen(address))

    return routes


def _link_routes(door: Door) -> APIRouter:
    """What is mailed to recipients: looking at it does nothing, as mail programs look at every link."""
    routes = APIRouter()
    site, accounts = door.site, door.site.accounts

    @routes.get("/link/{token}")
    def link_form(request: Request, token: str) -> Response:
        found = accounts.token("link", token)
        if found is None:
            raise HTTPException(404, "This link was used already or is too old.")
        return site.page(request, "link.html", token=token, address=found.subject)

    @routes.post("/link/{token}")
    async def by_link(request: Request, token: str) -> Response:
        site.check_origin(request)
        client_ip = site.client_ip(request)
        return await door.tried(request, "", "link", lambda: door.sign_in.by_link(token, client_ip))

    return routes


def _owner_routes(door: Door) -> APIRouter:
    """The first owner's link, and those that set a password."""
    routes = APIRouter()
    site, accounts = door.site, door.site.accounts

    @routes.get("/setup/{token}")
    def setup_form(request: Request, token: str) -> Response:
        if accounts.token("setup", token) is None:
            raise HTTPException(404, "This link was used already or is too old.")
        return site.page(request, "sign_in.html", kind="setup", action=f"/setup/{token}")

    @routes.post("/setup/{token}")
    def setup(request: Request, token: str, name: Name, password: Password) -> Response:
        site.check_origin(request)
        try:
            who = accounts.redeem_setup_token(token, name, password)
            accounts.note_sign_in(who.name)
            return door.begin(request, who, "setup")
        except InputError as fault:
            values = {"kind": "setup", "action": f"/setup/{token}", "error": str(fault), "typed": name}
            return site.page(request, "sign_in.html", 400, **values)

    @routes.get("/reset/{token}")
    def reset_form(request: Request, token: str) -> Response:
        found = accounts.token("reset", token)
        if found is None:
            raise HTTPException(404, "This link was used already or is too old.")
        return site.page(request, "sign_in.html", kind="reset", action=f"/reset/{token}", typed=found.account)

    @routes.post("/reset/{token}")
    def reset(request: Request, token: str, password: Password) -> Response:
        """The password is set; whoever has it signs in with it, one-time code and all."""
        site.check_origin(request)
        found = accounts.token("reset", token)
        try:
            who = accounts.redeem_reset_token(token, password)
        except InputError as fault:
            values = {"kind": "reset", "action": f"/reset/{token}", "error": str(fault)}
            return site.page(request, "sign_in.html", 400, typed=found.account if found else "", **values)
        site.record(who, "password", "", "by a link")
        return RedirectResponse("/sign-in", 303)

    return routes


def _browser_routes(door: Door) -> APIRouter:
    routes = APIRouter()
    site = door.site

    @routes.post("/sign-out")
    def sign_out(request: Request, csrf: Annotated[str, Form()] = "") -> Response:
        site.check_token(request, csrf)
        secret = request.cookies.get(SESSION_COOKIE, "")
        who = site.accounts.session(secret)
        if who is not None:
            site.record(who, "sign-out")
            site.accounts.end_session(secret)
        answer = RedirectResponse("/sign-in", 303)
        answer.delete_cookie(SESSION_COOKIE)
        return answer

    @routes.get("/language/{code}")
    def choose_language(code: str, back: str = "/") -> Response:
        if code not in site.languages:
            raise HTTPException(404, "There is no such language here.")
        is_ours = back.startswith("/") and not back.startswith(("//", "/\\"))
        answer = RedirectResponse(back if is_ours else "/", 303)
        is_secure = site.web.secure_cookies
        answer.set_cookie(LANGUAGE_COOKIE, code, max_age=_YEAR_S, httponly=True, samesite="lax", secure=is_secure)
        return answer

    return routes


def network_of(client_ip: str) -> str:
    """What one client has: an IPv4 address, of IPv6 a /64."""
    try:
        found = ipaddress.ip_address(client_ip)
    except ValueError:
        return client_ip
    if found.version == 4 or found.ipv4_mapped is not None:
        return client_ip
    return str(ipaddress.ip_network((int(found), 64), strict=False))


def _unavailable(fault: SignInError) -> HTTPException:
    """An issuer's fault is for the log; a person cannot do anything about it."""
    log.warning("sign_in_unavailable", error=str(fault))
    return HTTPException(503, "Signing in there does not work now.")
