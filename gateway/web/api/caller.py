"""Who calls: a token, or a session with its form token. How often, and an act that is asked for twice.

A token acts as its account, narrowed to its domains and acts: each request looks both up, so what an account loses its
tokens lose at once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Coroutine
from typing import Annotated, Any

import anyio.to_thread
from fastapi import APIRouter, Header, HTTPException, Request, Response, Security
from fastapi.routing import APIRoute
from fastapi.security import APIKeyCookie, HTTPAuthorizationCredentials, HTTPBearer
from starlette.concurrency import run_in_threadpool

from gateway.policy.access import Act, may, narrow
from gateway.policy.token_bucket import TokenBuckets
from gateway.ports import ApiTokenStore
from gateway.types import Account
from gateway.web.site import SESSION_COOKIE, Site, acts_by_token

_STRANGERS = 0.1  # of the rate, for who is nobody
_MAX_KEY = 255
_BEARER = HTTPBearer(auto_error=False, scheme_name="token", description="A token: Authorization: Bearer darban_...")
_COOKIE = APIKeyCookie(
    name=SESSION_COOKIE, auto_error=False, scheme_name="session",
    description="The pages' session, with the form token of any page in X-CSRF-Token.",
)  # fmt: skip
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key", min_length=1, max_length=_MAX_KEY,
        description="Any text, new for each act: the same again within a day is answered as before, not done twice.",
    ),
]  # fmt: skip


class Callers:
    """Tells who calls. `needs(act)` is the dependency of every route."""

    def __init__(self, site: Site, tokens: ApiTokenStore, per_minute: int) -> None:
        self._site = site
        self.tokens = tokens
        self._rates = TokenBuckets(per_minute, 60.0)

    def needs(self, act: Act | None) -> Callable[..., Coroutine[Any, Any, Account]]:
        """Who calls, and may do this; None: whoever is somebody. Raises 401, 403, 429."""

        async def caller(
            request: Request,
            _bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)],
            _cookie: Annotated[str | None, Security(_COOKIE)],
        ) -> Account:
            who = (await self.known(request))[0]
            if act is not None:
                await self.demand(request, act)
            return who

        return caller

    async def demand(self, request: Request, act: Act) -> None:
        """Raises 403 where the account may not, or the token."""
        who, acts, _ = await self.known(request)
        if not may(who, act) or (acts is not None and act not in acts):
            raise HTTPException(403, f"It takes the right to do this: {act}.")

    async def known(self, request: Request) -> tuple[Account, tuple[str, ...] | None, str]:
        """Account, acts (None: all of the account's) and what it is counted and remembered by; once a request."""
        if not hasattr(request.state, "caller"):
            request.state.caller = await run_in_threadpool(self._known, request)
            acts_by_token(request.state.caller[2])
        found: tuple[Account, tuple[str, ...] | None, str] = request.state.caller
        return found

    def _known(self, request: Request) -> tuple[Account, tuple[str, ...] | None, str]:
        scheme, _, secret = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            found = self.tokens.find(secret.strip(), self._site.client_ip(request))
            who = narrow(found[0], found[1].domains) if found else None
            if found is None or who is None:
                self._count(f"stranger {self._site.client_ip(request)}", 1 / _STRANGERS)
                raise HTTPException(401, "The token is unknown, expired or revoked.", {"WWW-Authenticate": "Bearer"})
            self._count(f"token {found[1].id}")
            return who, found[1].acts, f"token {found[1].id}"
        who = self._site.accounts.session(request.cookies.get(SESSION_COOKIE, ""))
        if who is None:
            self._count(f"stranger {self._site.client_ip(request)}", 1 / _STRANGERS)
            raise HTTPException(401, "Send a token: Authorization: Bearer ...", {"WWW-Authenticate": "Bearer"})
        # pages of others cannot read it, so they cannot have a browser ask in its owner's name
        self._site.check_token(request, request.headers.get("x-csrf-token", ""))
        self._count(f"account {who.name}")
        return who, None, f"account {who.name}"

    def _count(self, key: str, cost: float = 1.0) -> None:
        wait_s = self._rates.wait_s(key, cost)
        if wait_s > 0:
            raise HTTPException(429, "Too many requests.", {"Retry-After": str(int(wait_s) + 1)})


def act_router(callers: Callers) -> APIRouter:
    """For routes that act: with an Idempotency-Key one is done once, however often it is asked for."""

    class Once(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            proceed = super().get_route_handler()

            async def handle(request: Request) -> Response:
                key = request.headers.get("idempotency-key", "")
                if not 0 < len(key) <= _MAX_KEY:
                    return await proceed(request)
                return await _once(callers, key, request, proceed)

            return handle

    return APIRouter(route_class=Once)


async def _once(
    callers: Callers, key: str, request: Request, proceed: Callable[[Request], Awaitable[Response]]
) -> Response:
    caller = (await callers.known(request))[2]
    name = hashlib.sha256(f"{caller}\0{key}".encode()).hexdigest()
    said = f"{request.method} {request.url.path}?{request.url.query}\0".encode() + await request.body()
    asked = hashlib.sha256(said).hexdigest()
    known = await run_in_threadpool(callers.tokens.begin_answer, name, asked)
    if known is not None and known.request != asked:
        raise HTTPException(422, "This Idempotency-Key was used for another request.")
    if known is not None and not known.status:
        raise HTTPException(409, "This is being done now.", {"Retry-After": "2"})
    if known is not None:
        fields = {"Idempotent-Replayed": "true"}
        return Response(known.body, known.status, headers=fields, media_type="application/json")
    status, body = 0, b""
    try:
        answered = await proceed(request)
        if answered.status_code < 300:
            status, body = answered.status_code, bytes(answered.body)
        return answered
    finally:  # whatever stopped it, also that the client left
        with anyio.CancelScope(shield=True):
            await run_in_threadpool(callers.tokens.end_answer, name, status, body)
