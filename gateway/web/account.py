"""One's own account: password, one-time codes, sessions. For everybody who is signed in."""

from dataclasses import dataclass
from typing import Annotated, Any

import segno
from fastapi import APIRouter, Depends, Form, HTTPException, Request, Response
from fastapi.responses import RedirectResponse
from markupsafe import Markup

from gateway.errors import InputError
from gateway.policy.totp import new_recovery_codes, new_secret, step_of, tidy, uri
from gateway.sign_in import SignIn
from gateway.types import Account, Origin
from gateway.web.site import SESSION_COOKIE, Site

_WRONG = "The password is wrong, or there were too many tries."
_NO_FIT = "The code does not fit. Is the telephone's clock right?"
Password = Annotated[str, Form(max_length=10_000)]
Words = Annotated[str, Form(max_length=1000)]


@dataclass(frozen=True, slots=True)
class Own:
    """What the routes share."""

    site: Site
    sign_in: SignIn

    def page(self, request: Request, who: Account, password_fault: str = "", code_fault: str = "") -> Response:
        """The account, its sessions, and what was wrong with a form."""
        accounts = self.site.accounts
        values: dict[str, Any] = {
            "record": accounts.record(who.name),
            "sessions": accounts.sessions(who.name, request.cookies.get(SESSION_COOKIE, "")),
            "recovery_left": accounts.recovery_left(who.name),
            "password_fault": password_fault,
            "code_fault": code_fault,
        }
        return self.site.page(request, "account.html", 400 if password_fault or code_fault else 200, who=who, **values)

    def code_page(self, request: Request, who: Account, secret: str, fault: str = "") -> Response:
        """The secret, as text and as a picture that an app reads."""
        drawn = segno.make(uri(secret, who.name, self.site.hostname), micro=False, error="m")
        picture = Markup(drawn.svg_inline(scale=5, border=4, dark="#000", light="#fff"))  # noqa: S704  no text in it
        values: dict[str, Any] = {"secret": secret, "picture": picture, "error": fault}
        return self.site.page(request, "account_code.html", 400 if fault else 200, who=who, **values)

    def new_codes(self, request: Request, who: Account, secret: str, act: str) -> Response:
        """Recovery codes, shown this once."""
        codes = new_recovery_codes()
        self.site.accounts.set_code(who.name, secret, [tidy(one) for one in codes])
        self.site.record(who, act)
        return self.site.page(request, "account_recovery.html", who=who, codes=codes, here="/account")

    def is_sure(self, request: Request, who: Account, password: str, csrf: str) -> bool:
        """Whether it is he who sits there."""
        self.site.check_token(request, csrf)
        return self.sign_in.verifies(who, password, self.site.client_ip(request))

    def need(self, who: Account, *origins: Origin) -> None:
        """Raises 400 for accounts of others, which have no password that we could ask for or change."""
        record = self.site.accounts.record(who.name)
        if record is None or record.origin not in origins:
            raise HTTPException(400, "It has no password here.")


def own_account_routes(site: Site, sign_in: SignIn) -> APIRouter:
    """What changes how one signs in asks for the password again."""
    own = Own(site, sign_in)
    routes = APIRouter()
    routes.include_router(_account_routes(own))
    routes.include_router(_code_routes(own))
    return routes


def _account_routes(own: Own) -> APIRouter:
    routes = APIRouter()
    site, accounts = own.site, own.site.accounts
    anybody = Annotated[Account, Depends(site.account)]

    @routes.get("/account")
    def account_page(request: Request, who: anybody) -> Response:
        return own.page(request, who)

    @routes.post("/account/password")
    def change_password(
        request: Request, who: anybody, old: Password, new: Password, csrf: Annotated[str, Form()] = ""
    ) -> Response:
        own.need(who, "local")
        if not own.is_sure(request, who, old, csrf):
            return own.page(request, who, password_fault=_WRONG)
        try:
            accounts.set_password(who.name, new)
        except InputError as fault:
            return own.page(request, who, password_fault=str(fault))
        accounts.end_sessions(who.name, but=request.cookies.get(SESSION_COOKIE, ""))
        site.record(who, "password")
        return RedirectResponse("/account?done=password", 303)

    @routes.post("/account/sessions")
    def end_sessions(
        request: Request, who: anybody, session: Words = "", csrf: Annotated[str, Form()] = ""
    ) -> Response:
        """One, or all but this one."""
        site.check_token(request, csrf)
        accounts.end_sessions(who.name, session, but=request.cookies.get(SESSION_COOKIE, ""))
        site.record(who, "sessions-end", "", session or "all others")
        return RedirectResponse("/account", 303)

    return routes


def _code_routes(own: Own) -> APIRouter:
    routes = APIRouter()
    site, accounts = own.site, own.site.accounts
    anybody = Annotated[Account, Depends(site.account)]

    @routes.get("/account/code")
    def code_form(request: Request, who: anybody) -> Response:
        own.need(who, "local", "ldap")
        return own.code_page(request, who, new_secret())

    @routes.post("/account/code")
    def code_on(
        request: Request, who: anybody, secret: Annotated[str, Form(pattern="^[A-Z2-7]{32}$")], code: Words,
        password: Password, csrf: Annotated[str, Form()] = "",
    ) -> Response:  # fmt: skip
        own.need(who, "local", "ldap")
        if not own.is_sure(request, who, password, csrf):
            return own.code_page(request, who, secret, _WRONG)
        if step_of(secret, code, own.sign_in.now()) is None:
            return own.code_page(request, who, secret, _NO_FIT)
        return own.new_codes(request, who, secret, "code-on")

    @routes.post("/account/code-off")
    def code_off(request: Request, who: anybody, password: Password, csrf: Annotated[str, Form()] = "") -> Response:
        if not own.is_sure(request, who, password, csrf):
            return own.page(request, who, code_fault=_WRONG)
        accounts.set_code(who.name, "", ())
        site.record(who, "code-off")
        return RedirectResponse("/account", 303)

    @routes.post("/account/recovery")
    def recovery(request: Request, who: anybody, password: Password, csrf: Annotated[str, Form()] = "") -> Response:
        if not own.is_sure(request, who, password, csrf):
            return own.page(request, who, code_fault=_WRONG)
        secret = accounts.code_secret(who.name)
        if not secret:
            raise HTTPException(400, "The request was not understood.")
        return own.new_codes(request, who, secret, "recovery-codes")

    return routes
