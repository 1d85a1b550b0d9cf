"""Signing in and out, the first admin's link, the choice of the language."""

import time
from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Form, HTTPException, Request, Response
from fastapi.responses import RedirectResponse

from gateway.errors import InputError
from gateway.types import Account
from gateway.web.site import LANGUAGE_COOKIE, SESSION_COOKIE, Site

_YEAR_S = 365 * 86_400
_REFUSALS = 20  # of a minute that are written to the audit log: guessing must not fill it


class Refusals:
    """Which refused sign-ins are written down: so many in a minute, and how many were not."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._minute = 0.0
        self._written = 0
        self._left_out = 0

    def record(self, site: Site, name: str) -> None:
        """What was typed may be a password: only the name of an account goes into the log."""
        if self._now() - self._minute >= 60.0:
            self._minute, self._written = self._now(), 0
        if self._written >= _REFUSALS:
            self._left_out += 1
            return
        self._written += 1
        others, self._left_out = self._left_out, 0
        detail = f"and {others} more before, not written" if others else ""
        site.record(name if site.accounts.exists(name) else "", "sign-in refused", "", detail)


def session_routes(site: Site, *, secure_cookies: bool) -> APIRouter:
    """Everything that works without a session."""
    routes = APIRouter()
    accounts = site.accounts

    refused = Refusals()

    def begin(who: Account, act: str) -> Response:
        site.record(who, act)
        answer = RedirectResponse("/", 303)
        secret = accounts.new_session(who)
        answer.set_cookie(SESSION_COOKIE, secret, httponly=True, samesite="lax", secure=secure_cookies)
        return answer

    @routes.get("/setup/{token}")
    def setup_form(request: Request, token: str) -> Response:
        if not accounts.is_setup_token(token):
            raise HTTPException(404, "This link was used already or is too old.")
        return site.page(request, "sign_in.html", is_setup=True, action=f"/setup/{token}", error="")

    @routes.post("/setup/{token}")
    def setup(request: Request, token: str, name: Annotated[str, Form()], password: Annotated[str, Form()]) -> Response:
        try:
            return begin(accounts.redeem_setup_token(token, name, password), "setup")
        except InputError as error:
            values = {"is_setup": True, "action": f"/setup/{token}", "error": str(error), "typed": name}
            return site.page(request, "sign_in.html", 400, **values)

    @routes.get("/sign-in")
    def sign_in_form(request: Request) -> Response:
        return site.page(request, "sign_in.html", is_setup=False, action="/sign-in", error="")

    @routes.post("/sign-in")
    def sign_in(request: Request, name: Annotated[str, Form()], password: Annotated[str, Form()]) -> Response:
        who = accounts.authenticate(name, password)
        if who is None:
            refused.record(site, name)
            error = "The name or the password is wrong, or there were too many tries."
            return site.page(request, "sign_in.html", 401, is_setup=False, action="/sign-in", error=error, typed=name)
        return begin(who, "sign-in")

    @routes.post("/sign-out")
    def sign_out(request: Request, csrf: Annotated[str, Form()] = "") -> Response:
        site.check_token(request, csrf)
        _end_session(site, request.cookies.get(SESSION_COOKIE, ""))
        return RedirectResponse("/sign-in", 303)

    @routes.get("/language/{code}")
    def choose_language(code: str, back: str = "/") -> Response:
        if code not in site.languages:
            raise HTTPException(404, "There is no such language here.")
        is_ours = back.startswith("/") and not back.startswith(("//", "/\\"))
        answer = RedirectResponse(back if is_ours else "/", 303)
        answer.set_cookie(LANGUAGE_COOKIE, code, max_age=_YEAR_S, httponly=True, samesite="lax", secure=secure_cookies)
        return answer

    return routes


def _end_session(site: Site, secret: str) -> None:
    who = site.accounts.session(secret)
    if who is not None:
        site.record(who, "sign-out")
        site.accounts.end_session(secret)
