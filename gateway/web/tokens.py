"""One's own tokens for the REST API, as a page: made with fewer rights than the account, shown once, revoked; and the
API's operations, from its own document.
"""

import time
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Form, HTTPException, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse

from gateway.errors import InputError
from gateway.mail.domain import to_a_label
from gateway.policy.access import acts_of, token_fault
from gateway.ports import ApiTokenStore
from gateway.types import Account
from gateway.web.api import document
from gateway.web.site import Site

_DAY_S = 86_400.0
Words = Annotated[str, Form(max_length=5000)]


def token_routes(site: Site, tokens: ApiTokenStore, api: FastAPI, max_days: int) -> APIRouter:
    """The page, making and revoking; the API's reference."""
    routes = APIRouter()
    anybody = Annotated[Account, Depends(site.account)]

    def page(request: Request, who: Account, **values: Any) -> Response:
        values |= {"tokens": tokens.list(who.name), "acts": acts_of(who), "max_days": max_days, "now": time.time()}
        status = 400 if values.get("error") else 200
        return site.page(request, "tokens.html", status, who=who, **values)

    @routes.get("/account/tokens")
    def token_list(request: Request, who: anybody) -> Response:
        return page(request, who)

    @routes.post("/account/tokens")
    def make(
        request: Request, who: anybody, name: Annotated[str, Form(max_length=64)] = "",
        act: Annotated[list[str], Form(max_length=50)] = [],  # noqa: B006  FastAPI copies it
        domains: Words = "", days: Annotated[int, Form()] = 90, csrf: Annotated[str, Form()] = "",
    ) -> Response:  # fmt: skip
        site.check_token(request, csrf)
        limits = read_domains(domains)
        typed: dict[str, Any] = {"name": name, "chosen": act, "domains": domains, "days": days}
        if fault := token_fault(who, name, act, limits, days, max_days):
            return page(request, who, error=fault, typed=typed)
        try:
            made, secret = tokens.new(who.name, name.strip(), act, limits, days * _DAY_S)
        except InputError:
            return page(request, who, error="You have too many tokens. Revoke one first.", typed=typed)
        site.record(who, "token-add", "", f"{made.id} {made.name}: {' '.join((*act, *limits))}")
        return site.page(request, "token.html", who=who, made=made, secret=secret)

    @routes.post("/account/tokens/revoke")
    def revoke(
        request: Request, who: anybody, token: Annotated[str, Form(max_length=64)], csrf: Annotated[str, Form()] = ""
    ) -> Response:
        site.check_token(request, csrf)
        if not tokens.revoke(token, who.name):
            raise HTTPException(404, "There is no such token.")
        site.record(who, "token-revoke", "", token)
        return RedirectResponse("/account/tokens", 303)

    @routes.get("/api")
    def reference(request: Request, who: anybody) -> Response:
        told = document(api)
        operations = [
            {"method": method.upper(), "path": path, "summary": one["description"], "tag": one["tags"][0]}
            for path, methods in told["paths"].items()
            for method, one in methods.items()
        ]
        return site.page(request, "api.html", who=who, operations=operations)

    @routes.get("/api/openapi.json")
    def openapi(who: anybody) -> Response:
        return JSONResponse(document(api))

    return routes


def read_domains(typed: str) -> tuple[str, ...]:
    """Domains separated by spaces, commas or line ends, as A-labels; what is none stays as it was typed."""
    words = dict.fromkeys(typed.replace(",", " ").replace("،", " ").split())
    parts = [("*." if one.startswith("*.") else "", one.removeprefix("*.")) for one in words]
    return tuple(star + (to_a_label(name) or name) for star, name in parts)
