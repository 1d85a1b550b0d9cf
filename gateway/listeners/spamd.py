"""The spamd door: what spamc, Exim, procmail and mail programs ask SpamAssassin's daemon, asked of the gateway.

spamd_codec.py has the protocol. SPAMC says nothing of the envelope: it is read from what the mail server wrote above
the message (mail/handover.py), a User that is an address being the recipient; RSPAMC says it in fields. Judged is the
message as it came to that server. Exit codes are spamc's: nothing is refused here, and a fault of ours is EX_TEMPFAIL
(75), so that Exim defers and spamc hands the message on as it was. TELL teaches where that is configured, in a process
of its own.

Bounded: connections, what messages take of the process's memory and disk (budget.py), the time a request takes to come
in and an answer to be read.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path

import structlog
from prometheus_client import Counter

from gateway.actions.annotate import annotate_scanned
from gateway.config.settings import Spamd
from gateway.errors import InputError, ScorerError
from gateway.listeners import rspamd
from gateway.listeners import spamd_codec as codec
from gateway.listeners.budget import NO_ROOM, Budget, Incoming
from gateway.listeners.scan_envelope import read_recipients, scan_envelope
from gateway.listeners.spamd_codec import ProtocolError, Reader, Request
from gateway.mail.edit import to_crlf
from gateway.mail.handover import read_handover, without_handover
from gateway.mail.header import split_header
from gateway.policy.connections import Door
from gateway.policy.tally import Tally
from gateway.scanning import Scanned, Scanner
from gateway.types import Envelope

REQUESTS = Counter("darban_spamd_requests_total", "Requests by command and exit code.", ["command", "code"])

_BLOCK = 1 << 16
_LINGER_S = 5.0
_ACCEPTED_S = 0.05  # for connections that are accepted, but not begun
_ANSWER_S = 60.0  # for the client to read what we say
_MAX_TOLD = 4096
_MAX_HITS = 50  # of a report; Exim has room for 32 KB
_MAX_WORDS = 200

Tell = Callable[[Request], Awaitable[bytes]]

log = structlog.get_logger("darban.spamd")


class Server:
    """The listening sockets and their connections."""

    def __init__(
        self,
        settings: Spamd,
        hostname: str,
        max_message_size: int,
        scanner: Scanner | None,
        tell: Tell | None,
        budget: Budget,
        tally: Tally | None = None,
    ) -> None:
        """Without a scanner it only tells, without `tell` it only scans."""
        self._settings = settings
        self._hostname = hostname
        self._max_content = max_message_size
        self._scanner = scanner
        self._tell = tell
        self._budget = budget
        self._door = Door("spamd", settings.max_connections, tally or Tally())
        self._tasks: set[asyncio.Task[None]] = set()
        self._servers: list[asyncio.Server] = []

    async def start(self, sockets: Sequence[socket.socket]) -> None:
        """Listen."""
        for one in sockets:
            kind = asyncio.start_unix_server if one.family == socket.AF_UNIX else asyncio.start_server
            self._servers.append(await kind(self._accept, sock=one, backlog=1024, limit=_BLOCK))

    async def drain(self, within_s: float) -> None:
        """A new generation serves: as `stop`."""
        await self.stop(within_s)

    async def stop(self, grace_s: float) -> None:
        """No new connection; requests are answered, for so long."""
        for server in self._servers:
            server.close()
        deadline = time.monotonic() + grace_s
        await asyncio.sleep(_ACCEPTED_S)
        while self._tasks and time.monotonic() < deadline:
            await asyncio.wait(self._tasks, timeout=deadline - time.monotonic())
        for task in list(self._tasks):
            task.cancel()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._door.begin()
        task.add_done_callback(self._tasks.discard)
        try:
            if self._door.taken > 1:
                answer, is_read = (
                    self._refuse(ProtocolError(codec.EX_TEMPFAIL, "EX_TEMPFAIL Too many connections")),
                    False,
                )
            else:
                answer, is_read = await self._serve(reader)
            await _leave(reader, writer, answer, is_read=is_read)
        except (OSError, asyncio.CancelledError):
            pass  # the client went away, or the time to stop is over: nobody awaits this task
        finally:
            self._door.end()
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader) -> tuple[bytes, bool]:
        """The answer, and whether the client has said all it had to say."""
        incoming = self._budget.begin()
        try:
            try:
                async with asyncio.timeout(self._settings.timeout_s):
                    request = await self._read(reader, incoming)
            except ProtocolError as error:
                return self._refuse(error), False
            except TimeoutError:
                return self._refuse(ProtocolError(codec.EX_TIMEOUT, "Timeout: the request is too slow")), False
            if request is None:
                return b"", True
            content = await incoming.whole()
            if content is None:
                return self._refuse(_no_room("content")), True
            answer = await self._answer(replace(request, content=content))
        finally:
            incoming.close()
        code = "0" if answer[:12].endswith(b" 0 ") or not answer else answer.split(b" ", 2)[1].decode("ascii")
        REQUESTS.labels(request.command, code).inc()
        return answer, True

    def _refuse(self, error: ProtocolError) -> bytes:
        REQUESTS.labels("other", str(error.code)).inc()
        return codec.failure(error.code, error.text)

    async def _read(self, reader: asyncio.StreamReader, incoming: Incoming) -> Request | None:
        """What is asked, its content in `incoming`; None where nothing was. Raises ProtocolError."""
        asked, is_begun = Reader(self._max_content), False
        while data := await reader.read(_BLOCK):
            is_begun = True
            for piece in asked.feed(data):
                if not incoming.size and self._budget.refuses(asked.announced):
                    raise _no_room("data")
                if incoming.add(piece):
                    await incoming.flush()
                if incoming.has_failed:
                    raise _no_room("content")
            if asked.is_whole:
                return asked.request
        if not is_begun:
            return None
        asked.finish()
        return asked.request

    async def _answer(self, request: Request) -> bytes:
        if request.command == "PING":
            return codec.pong(request)
        if request.command == "SKIP":
            return b""
        try:
            if request.command == "TELL":
                return await self._on_tell(request)
            return await self._on_scan(request)
        except InputError as error:
            return codec.failure(codec.EX_DATAERR, str(error), is_rspamc=request.is_rspamc)
        except ScorerError:
            return codec.failure(codec.EX_TEMPFAIL, "EX_TEMPFAIL No verdict now", is_rspamc=request.is_rspamc)
        except Exception as error:  # the outermost: our fault is the client's to repeat, not to suffer
            log.error("request failed", command=request.command, error=type(error).__name__, exc_info=error)
            return codec.failure(codec.EX_TEMPFAIL, "EX_TEMPFAIL Temporary problem", is_rspamc=request.is_rspamc)

    async def _on_scan(self, request: Request) -> bytes:
        if self._scanner is None:
            return codec.failure(codec.EX_UNAVAILABLE, "Service Unavailable: this door only learns")
        if request.is_rspamc:
            envelope = rspamd.read_envelope(request.fields, self._hostname)
            judged, said = without_handover(request.content, envelope.client.ip), rspamd.told_as(request.fields)
            return rspamd.rspamc(await self._scanner.scan(envelope, to_crlf(judged), told_as=said))
        envelope, judged = envelope_of(request, self._hostname)
        user = request.field("user")[:100]
        scanned = await self._scanner.scan(envelope, to_crlf(judged), told_as=user)
        body = _BODIES.get(request.command, _no_body)(request, scanned)
        return codec.answer(request, scanned.verdict.score, scanned.wanted.required_score, body)

    async def _on_tell(self, request: Request) -> bytes:
        if self._tell is None:
            return codec.failure(codec.EX_UNAVAILABLE, "Service Unavailable: TELL is not enabled, set [spamd] learn")
        return await self._tell(request)


def _no_room(step: str) -> ProtocolError:
    NO_ROOM.labels(step).inc()
    return ProtocolError(codec.EX_TEMPFAIL, "EX_TEMPFAIL Too much at once")


def envelope_of(request: Request, hostname: str) -> tuple[Envelope, bytes]:
    """What the mail server wrote above the message, and what it was written above."""
    handover = read_handover(request.content)
    recipients = read_recipients([request.field("user")]) or read_recipients(handover.recipients)
    envelope = scan_envelope(
        hostname,
        client_ip=handover.client_ip,
        helo=handover.helo,
        reverse_path=handover.reverse_path,
        recipients=recipients,
    )
    return envelope, handover.content


def forward(path: Path, limit_s: float) -> Tell:
    """Has the server at this unix socket answer."""

    async def tell(request: Request) -> bytes:
        try:
            async with asyncio.timeout(limit_s):
                reader, writer = await asyncio.open_unix_connection(str(path))
                try:
                    writer.write(codec.pack_request(request))
                    writer.write_eof()
                    answer = await reader.read(_MAX_TOLD)
                finally:
                    writer.close()
        except (OSError, TimeoutError) as error:
            log.error("nothing learned", error=str(error) or type(error).__name__)
            answer = b""
        return answer or codec.failure(codec.EX_TEMPFAIL, "EX_TEMPFAIL Nobody learns now")

    return tell


async def _leave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: bytes, *, is_read: bool) -> None:
    """Say it and go. A client that is still sending would lose an answer if we were gone: what it sends is dropped."""
    writer.write(answer)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_ANSWER_S):
            await writer.drain()
    if is_read:
        return
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_LINGER_S):
            writer.write_eof()
            while await reader.read(_BLOCK):
                pass


# --- what a command gives besides the verdict -------------------------------------------------------------------------


def _no_body(_request: Request, _scanned: Scanned) -> bytes:
    return b""


def _symbols(request: Request, scanned: Scanned) -> bytes:
    names = ",".join(sorted(hit.name for hit in scanned.verdict.hits))
    return f"{names}{'' if request.version >= (1, 3) else chr(13) + chr(10)}".encode("utf-8", "replace")


def _report(_request: Request, scanned: Scanned) -> bytes:
    verdict, wanted = scanned.verdict, scanned.wanted
    lines = [
        f"Darban: {verdict.score:.1f} points, {wanted.required_score:.1f} required: {wanted.action} ({wanted.reason})",
        " pts name                             what",
        *(f"{hit.score:5.1f} {hit.name:32} {_words(hit.description)}" for hit in verdict.hits[:_MAX_HITS]),
        *(f"   ?? {_words(what)}" for what in verdict.incomplete),
    ]
    return "".join(f"{line}\r\n" for line in lines).encode("utf-8", "replace")


def _report_if_spam(request: Request, scanned: Scanned) -> bytes:
    return _report(request, scanned) if scanned.is_spam else b""


def _process(request: Request, scanned: Scanned) -> bytes:
    return annotate_scanned(scanned.envelope, request.content, scanned.verdict, scanned.wanted.required_score)


def _headers(request: Request, scanned: Scanned) -> bytes:
    message = _process(request, scanned)
    return message[: split_header(message).body_offset]


_BODIES: dict[str, Callable[[Request, Scanned], bytes]] = {
    "SYMBOLS": _symbols,
    "REPORT": _report,
    "REPORT_IFSPAM": _report_if_spam,
    "PROCESS": _process,
    "HEADERS": _headers,
}


def _words(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text)[:_MAX_WORDS]
