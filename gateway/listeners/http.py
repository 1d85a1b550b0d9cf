"""The HTTP door: POST /scan, and what Rspamd's clients ask of /checkv2, /check, /symbols, /learnspam, /learnham, /ping
and /stat.

A process of its own, so that listeners need no web framework; it asks the scorers as they do. Answers are JSON, faults
too: {"error": "..."} with 400 (a parameter), 401 (no or the wrong token), 403 (learning is off), 408, 413, 415, 429 (as
much was taught as a day allows) and 503 (a fault of ours, or too much at once; where there is no verdict /checkv2 also
says "soft reject", so that a client which does not look at the status has the message come again). A token is what
`Password` or `Authorization: Bearer` say.

A message stands in the body, and nowhere else: what names a file of ours, or is encrypted, is refused.

Bounded: connections, what messages take of the process's memory and disk (budget.py), the time a request takes to come
in, what is inflated.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import socket
import time
from collections import Counter as Tally
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import structlog
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import Counter
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from gateway import __version__
from gateway.config.settings import Http
from gateway.errors import InputError, ScorerError, StoreError
from gateway.listeners import rspamd
from gateway.listeners.budget import NO_ROOM, Budget, Incoming
from gateway.listeners.inflate import make_inflater
from gateway.listeners.scan_envelope import read_recipient, scan_envelope
from gateway.mail.edit import to_crlf
from gateway.mail.handover import without_handover
from gateway.scan.explain import verdict_object
from gateway.scanning import Scanned, Scanner

if TYPE_CHECKING:  # heavy, and not every door learns
    from gateway.listeners.teaching import Teaching

REQUESTS = Counter("darban_http_requests_total", "Requests by path and status.", ["path", "status"])

_REAP_EVERY_S = 1.0
_KEEP_ALIVE_S = 5
_ACCEPTED_S = 0.2  # for requests that are on their way
_CODINGS = ("gzip", "x-gzip", "deflate", "zstd")
_ELSEWHERE = ("file", "path", "shm", "key")  # Rspamd's: the message is in a file or in memory, or encrypted

log = structlog.get_logger("darban.http")

Handler = Callable[[Request], Awaitable[Response]]


@dataclass(slots=True)
class _Stat:
    """What /stat says; of this process."""

    started: float = field(default_factory=time.time)
    actions: Tally[str] = field(default_factory=Tally)
    spam: int = 0
    learned: int = 0


class Door:
    """The routes, and what they share."""

    def __init__(
        self,
        settings: Http,
        hostname: str,
        max_message_size: int,
        budget: Budget,
        *,
        scanner: Scanner,
        explainer: Scanner,
        teaching: Teaching | None,
        token: bytes = b"",
        learn_token: bytes = b"",
    ) -> None:
        """`explainer` is asked for /scan; an empty token lets everybody in, an empty learn_token nobody teach."""
        self._settings = settings
        self._hostname = hostname
        self._max_content = max_message_size
        self._scanner = scanner
        self._explainer = explainer
        self._teaching = teaching
        self._token = token
        self._learn_token = learn_token
        self._budget = budget
        self._stat = _Stat()

    def app(self) -> FastAPI:
        """The application."""
        app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
        for path, handler in (
            ("/scan", self._scan),
            ("/checkv2", self._check),
            ("/check", self._check),
            ("/symbols", self._check),
            ("/learnspam", self._learn),
            ("/learnham", self._learn),
        ):
            app.add_api_route(path, self._guarded(handler), methods=["POST"])
        app.add_api_route("/ping", self._guarded(self._ping), methods=["GET", "POST"])
        app.add_api_route("/stat", self._guarded(self._say_stat), methods=["GET"])
        app.add_exception_handler(HTTPException, self._on_error)
        return app

    # --- routes -------------------------------------------------------------------------------------------------------

    async def _scan(self, request: Request) -> Response:
        self._check_token(request, self._token)
        asked = request.query_params
        recipients = [(text, read_recipient(text)) for text in asked.getlist("rcpt_to")]
        wrong = next((text for text, one in recipients if one is None), None)
        if wrong is not None:
            raise HTTPException(400, f"rcpt_to {wrong[:100]!r} is no address; write local@domain")
        unknown = sorted(set(asked) - {"client_ip", "helo", "mail_from", "rcpt_to"})
        if unknown:
            raise HTTPException(
                400, f"{unknown[0][:100]!r} is no parameter; there are client_ip, helo, mail_from, rcpt_to"
            )
        envelope = scan_envelope(
            self._hostname,
            client_ip=asked.get("client_ip", ""),
            helo=asked.get("helo", ""),
            reverse_path=asked.get("mail_from", ""),
            recipients=[one for _, one in recipients if one],
        )
        content = await self._content(request)
        try:
            scanned = await self._explainer.scan(envelope, content, is_mail=False)
        except ScorerError as error:
            raise HTTPException(503, str(error)) from None
        wanted = scanned.wanted
        return _json(verdict_object(scanned.verdict, wanted.action, wanted.required_score))

    async def _check(self, request: Request) -> Response:
        self._check_token(request, self._token)
        fields = [(name.decode("latin-1"), _text(value)) for name, value in request.headers.raw]
        elsewhere = next((name for name, _ in fields if name in _ELSEWHERE), None)
        if elsewhere is not None:
            raise HTTPException(400, f"{elsewhere.title()}: the message has to stand in the body, as it is")
        envelope = rspamd.read_envelope(fields, self._hostname)
        content = await self._content(request)
        judged = to_crlf(without_handover(content, envelope.client.ip))
        is_mail, said = rspamd.is_logged(fields), rspamd.told_as(fields)
        try:
            scanned = await self._scanner.scan(envelope, judged, is_mail=is_mail, told_as=said)
        except ScorerError as error:
            return _json(rspamd.no_verdict(str(error)), 503)
        self._count(scanned)
        is_new = request.url.path == "/checkv2"
        return _json((rspamd.check if is_new else rspamd.check_legacy)(scanned, content))

    async def _learn(self, request: Request) -> Response:
        if self._teaching is None or not self._learn_token:
            raise HTTPException(403, "learning is off: set [http] learn_token_file")
        self._check_token(request, self._learn_token)
        content = await self._content(request)
        is_spam = request.url.path == "/learnspam"
        try:
            taught = await self._teaching.teach(
                _text(request.headers.get("user", "").encode("latin-1")), is_spam, content
            )
        except StoreError as error:
            log.error("nothing learned", error=str(error))
            raise HTTPException(503, "nobody learns now") from None
        if taught.what == "limited":
            raise HTTPException(429, "as much was taught today as one trainer may")
        if taught.what == "known":  # 208: what Rspamd's clients know for "already learned"
            return _json({"success": True, "error": "has been taught before", "taught": taught.what}, 208)
        self._stat.learned += 1
        return _json({"success": True, "taught": taught.what, "lesson": taught.lesson_id})

    async def _ping(self, _request: Request) -> Response:
        return PlainTextResponse("pong\r\n")

    async def _say_stat(self, request: Request) -> Response:
        self._check_token(request, self._token)
        stat = self._stat
        scanned = sum(stat.actions.values())
        return _json(
            {
                "version": __version__,
                "uptime": int(time.time() - stat.started),
                "read_only": self._teaching is None,
                "scanned": scanned,
                "learned": stat.learned,
                "spam_count": stat.spam,
                "ham_count": scanned - stat.spam,
                "actions": {name: stat.actions[name] for name in dict.fromkeys(rspamd.ACTIONS.values())},
            }
        )

    # --- pieces -------------------------------------------------------------------------------------------------------

    def _guarded(self, handler: Handler) -> Handler:
        """The outermost: every fault is an answer, and is counted."""

        async def guarded(request: Request) -> Response:
            incoming = request.state.incoming = self._budget.begin()
            try:
                answer = await handler(request)
            except HTTPException as error:
                answer = await self._on_error(request, error)
            except InputError as error:
                answer = _error(400, str(error))
            except ClientDisconnect:
                answer = _error(400, "the client went away")
            except Exception as error:
                log.error("request failed", path=request.url.path, error=type(error).__name__, exc_info=error)
                answer = _json(rspamd.no_verdict("temporary problem"), 503)
            finally:
                incoming.close()
            REQUESTS.labels(request.url.path, str(answer.status_code)).inc()
            return answer

        return guarded

    async def _on_error(self, _request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return _error(error.status_code, str(error.detail), error.headers)

    def _count(self, scanned: Scanned) -> None:
        self._stat.actions[rspamd.ACTIONS[scanned.wanted.action]] += 1
        self._stat.spam += scanned.is_spam

    def _check_token(self, request: Request, token: bytes) -> None:
        if not token:
            return
        scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
        said = bearer.strip() if scheme.lower() == "bearer" else request.headers.get("password", "")
        if not hmac.compare_digest(said.encode("latin-1", "replace"), token):
            raise HTTPException(
                401, "a token is needed: Password or Authorization: Bearer", {"WWW-Authenticate": "Bearer"}
            )

    async def _content(self, request: Request) -> bytes:
        """The body, inflated where it is compressed."""
        incoming: Incoming = request.state.incoming
        declared = request.headers.get("content-length", "")
        size = int(declared) if declared.isdecimal() and len(declared) < 19 else 0
        if size > self._max_content:
            raise self._too_large()
        if self._budget.refuses(size):
            raise _no_room("data")
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                async for piece in self._body(request):
                    if incoming.size + len(piece) > self._max_content:
                        raise self._too_large()
                    if incoming.add(piece):
                        await incoming.flush()
                    if incoming.has_failed:
                        raise _no_room("content")
        except TimeoutError:
            raise HTTPException(408, "the request is too slow") from None
        content = await incoming.whole()
        if content is None:
            raise _no_room("content")
        return content

    async def _body(self, request: Request) -> AsyncIterator[bytes]:
        """As it comes, without its Content-Encoding."""
        coding = request.headers.get("content-encoding", "").strip().lower()
        if not coding and request.headers.get("compression", "").lower() == "zstd":
            coding = "zstd"
        if coding in ("", "identity"):
            async for chunk in request.stream():
                yield chunk
            return
        inflater = make_inflater(coding, self._max_content) if coding in _CODINGS else None
        if inflater is None:
            raise HTTPException(415, f"Content-Encoding {coding[:40]!r} is not known; there are gzip, deflate and zstd")
        seen = 0
        try:
            async for chunk in request.stream():
                seen += len(chunk)
                if seen > self._max_content:
                    raise self._too_large()
                for piece in inflater.feed(chunk):
                    yield piece
        except ValueError:
            raise HTTPException(400, f"the body is not {coding}") from None
        if not inflater.is_whole:
            words = f"the body is cut short, or something follows it: it is no single {coding} stream"
            raise HTTPException(400, words)

    def _too_large(self) -> HTTPException:
        return HTTPException(413, f"message larger than {self._max_content} bytes")


def _no_room(step: str) -> HTTPException:
    NO_ROOM.labels(step).inc()
    return HTTPException(503, "too much at once")


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")


def _json(found: dict[str, Any], status: int = 200) -> Response:
    """Whatever a message says in it: no lone surrogate leaves here."""
    return Response(json.dumps(found, ensure_ascii=False).encode("utf-8", "replace"), status, None, "application/json")


def _error(status: int, text: str, headers: Any = None) -> Response:
    return JSONResponse({"error": text}, status, headers)


# --- the server -------------------------------------------------------------------------------------------------------


class Server:
    """uvicorn inside our loop, signals left to us. It sets no limit to how long a client says nothing: that is here."""

    def __init__(self, app: FastAPI, settings: Http) -> None:
        self._timeout_s = settings.timeout_s
        self._uvicorn = uvicorn.Server(
            uvicorn.Config(
                app,
                http="h11",
                ws="none",
                log_level="critical",
                access_log=False,
                lifespan="off",
                server_header=False,
                proxy_headers=False,
                limit_concurrency=settings.max_connections + 1,  # it turns away from this number on
                timeout_keep_alive=_KEEP_ALIVE_S,
            )
        )
        self._tasks: Sequence[asyncio.Task[Any]] = ()

    async def start(self, sockets: Sequence[socket.socket]) -> None:
        """Serve on these sockets."""
        self._uvicorn.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
        serving = asyncio.create_task(self._uvicorn._serve(list(sockets)))
        while not self._uvicorn.started and not serving.done():
            await asyncio.sleep(0.01)
        self._tasks = (serving, asyncio.create_task(self._reap()))

    async def drain(self, within_s: float) -> None:
        """A new generation serves: as `stop`."""
        await self.stop(within_s)

    async def stop(self, grace_s: float) -> None:
        """No new connection; requests are answered, for so long."""
        serving, reaper = self._tasks
        for one in self._uvicorn.servers:
            one.close()
        await asyncio.sleep(_ACCEPTED_S)  # what follows closes connections on which nothing was asked yet
        self._uvicorn.config.timeout_graceful_shutdown = int(grace_s)
        self._uvicorn.should_exit = True
        await serving
        reaper.cancel()

    async def _reap(self) -> None:
        """Close connections that wait for their client for too long."""
        since: dict[Any, float] = {}
        while True:
            now = time.monotonic()
            idle = [one for one in list(self._uvicorn.server_state.connections) if _is_idle(one)]
            since = {one: since.get(one, now) for one in idle}
            for one, began in since.items():
                if now - began > self._timeout_s:
                    one.transport.close()
            await asyncio.sleep(_REAP_EVERY_S)


def _is_idle(connection: Any) -> bool:
    """No request is being read or answered on it (uvicorn's H11Protocol)."""
    cycle = getattr(connection, "cycle", None)
    return cycle is None or cycle.response_complete
