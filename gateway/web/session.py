"""Signing in and out, the first admin's link, the choice of the language."""

from typing import Annotated

from fastapi import APIRouter, Form, HTTPException, Request, Response
from fastapi.responses import RedirectResponse

from gateway.errors import InputError
from gateway.types import Account
from gateway.web.site import LANGUAGE_COOKIE, SESSION_COOKIE, Site

_YEAR_S = 365 * 86_400


def session_routes(site: Site, *, secure_cookies: bool) -> APIRouter:
    """Everything that works without a session."""
    routes = APIRouter()
    accounts = site.accounts

    def begin(who: Account) -> Response:
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
            return begin(accounts.redeem_setup_token(token, name, password))
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
            error = "The name or the password is wrong, or there were too many tries."
            return site.page(request, "sign_in.html", 401, is_setup=False, action="/sign-in", error=error, typed=name)
        return begin(who)

    @routes.post("/sign-out")
    def sign_out(request: Request, csrf: Annotated[str, Form()] = "") -> Response:
        site.check_token(request, csrf)
        accounts.end_session(request.cookies.get(SESSION_COOKIE, ""))
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
