"""The SMTP listener (RFC 5321), on aiosmtpd's transport and TLS; the only file that knows aiosmtpd.

What aiosmtpd 1.4.6 does differently from what a gateway needs is replaced here: its command loop (faults of ours are
451, limits are per connection, command lines end in CRLF only), DATA (read in blocks; only <CRLF>.<CRLF> ends it), and
the end of a connection (a message in our hands is finished, whatever the client does). Bare CR or LF in a message
become line ends, so that none is ever sent on (RFC 5321 §2.3.8): one message in, one message out. Extensions:
PIPELINING, SIZE, 8BITMIME, SMTPUTF8, CHUNKING, STARTTLS, LIMITS, ENHANCEDSTATUSCODES. Not offered, as it could not be
kept: DSN, BINARYMIME, REQUIRETLS. No AUTH, no VRFY, no version in the greeting (docs/smtp.md).
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol, TypeVar, cast

import structlog
from aiosmtpd.smtp import SMTP, TLSSetupException
from prometheus_client import Gauge

from gateway.config.settings import Defence, Smtp
from gateway.errors import ConfigError
from gateway.listeners import content as contents
from gateway.listeners import proxy
from gateway.listeners import reply as replies
from gateway.listeners.budget import NO_ROOM, Budget, Incoming, make_budget
from gateway.listeners.command import Path, is_relay_trick, parse_bdat, parse_helo, parse_path
from gateway.listeners.input import BLOCK, DRAIN, Input, unstuff
from gateway.listeners.reply import line, new_queue_id
from gateway.metrics import Counter
from gateway.policy.connections import ConnectionLimits, Connections, Door
from gateway.policy.reputation import Networks
from gateway.policy.tally import Tally
from gateway.types import Client, Envelope, Outcome, Recipient, Reply

CONNECTIONS = Counter("darban_smtp_connections_total", "Connections by how they began.", ["result"])
OPEN = Gauge("darban_smtp_open_connections", "Connections open now.", multiprocess_mode="livesum")
REPLIES = Counter("darban_smtp_replies_total", "Replies by command and code.", ["command", "code"])
VIOLATIONS = Counter("darban_smtp_violations_total", "What clients do that SMTP forbids.", ["kind"])
STOPPED = Counter("darban_smtp_stopped_total", "Connections ended by us, by the limit they passed.", ["limit"])
TARPITTED = Gauge("darban_smtp_tarpitted", "Refusals that wait to be said.", multiprocess_mode="livesum")

_LINGER_S = 5.0
_SCARCE = 0.8  # of max_connections
_SCARCE_TIMEOUT_S = 10.0
_MAX_TARPITTED = 100
_SMALL_CHUNK = 512  # octets; a message in many smaller ones only keeps us busy
_COMMANDS = frozenset(
    "HELO EHLO MAIL RCPT DATA BDAT RSET NOOP QUIT VRFY STARTTLS HELP EXPN AUTH XCLIENT XFORWARD".split()
)
_IDLE = frozenset("HELO EHLO RSET NOOP VRFY HELP EXPN".split())
_LAST_OF_A_GROUP = frozenset("HELO EHLO DATA".split())  # RFC 2920 §3.1; STARTTLS forgets what came behind it
_OF_OTHER_PROTOCOLS = frozenset("GET POST PUT HEAD OPTIONS CONNECT PATCH DELETE".split())  # a page's forms, proxies

for _result in ("accepted", "refused", "limited"):
    CONNECTIONS.labels(_result)  # a series that is there from the start can be alarmed on
for _kind in ("SMTP_EARLY_TALKER", "SMTP_PIPELINED_EARLY", "SMTP_BARE_LINE_END", "SMTP_NUL", "tls_injection"):
    VIOLATIONS.labels(_kind)
STOPPED.labels("refused_recipients")

T = TypeVar("T")

log = structlog.get_logger("darban.smtp")


class Service(Protocol):
    """What a listener needs (service.Gateway)."""

    def admit(self, client: Client, reverse_path: str) -> Reply | None:
        """At MAIL: None to go on."""

    async def screen(self, client: Client, reverse_path: str, recipient: Recipient) -> Reply | None:
        """None to accept the recipient."""

    async def receive(self, envelope: Envelope, content: bytes) -> Outcome:
        """Judge and act; the outcome's reply is the answer to DATA."""

    async def is_doubtful(self, client_ip: str) -> bool:
        """Whether what the DNS says of a client speaks against it; bounded in time."""

    def refused(self, client: Client, reverse_path: str, recipient: str, reply: Reply, reason: str) -> None:
        """The listener refused something by itself: for the message log."""


class Server:
    """The listening sockets and their sessions."""

    def __init__(
        self,
        settings: Smtp,
        hostname: str,
        service: Service,
        defence: Defence,
        trusted: Sequence[str],
        budget: Budget | None = None,
        tally: Tally | None = None,
    ) -> None:
        self.settings = settings
        self.budget = budget or make_budget(settings)
        tally = tally or Tally()
        self.door = Door("smtp", settings.max_connections, tally)
        self.defence = defence
        self.network_of = Networks(trusted).of
        self.connections = Connections(
            ConnectionLimits(
                defence.connections_per_client,
                defence.connections_per_network,
                defence.connects_per_client,
                defence.connects_per_network,
                defence.errors_per_network,
            ),
            self.network_of,
            time.monotonic,
            tally,
        )
        self.tarpitted = 0
        self.hostname = hostname
        self.service = service
        self.tls = tls_context(settings)
        self.proxies = proxy.Proxies(settings.trusted_proxies)
        self.sessions: set[Session] = set()
        self.accepting: set[asyncio.Task[Any]] = set()  # messages in our hands
        self.is_stopping = False
        self._servers: list[asyncio.Server] = []

    async def start(self, sockets: Sequence[socket.socket]) -> None:
        """Listen."""
        loop = asyncio.get_running_loop()
        self._servers = [
            await loop.create_server(lambda: Session(self, loop), sock=one, backlog=1024) for one in sockets
        ]

    async def drain(self, within_s: float) -> None:
        """No new connection; returns when the sessions have ended by themselves, at the latest after within_s."""
        for server in self._servers:
            server.close()
        deadline = time.monotonic() + within_s
        while (self.sessions or self.accepting) and time.monotonic() < deadline:
            await asyncio.sleep(0.05)

    async def stop(self, grace_s: float) -> None:
        """No new connection; idle sessions hear 421; messages in our hands are finished, for so long, then 421."""
        self.is_stopping = True
        for server in self._servers:
            server.close()
        for session in list(self.sessions):
            session.leave_if_idle()
        deadline = time.monotonic() + grace_s
        while (self.sessions or self.accepting) and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        for session in list(self.sessions):
            session.leave()


async def serve(
    settings: Smtp,
    hostname: str,
    service: Service,
    sockets: Sequence[socket.socket],
    defence: Defence | None = None,
    trusted: Sequence[str] = ("127.0.0.0/8", "::1/128"),
    budget: Budget | None = None,
    tally: Tally | None = None,
) -> Server:
    """Serve on these sockets; `trusted` networks are not limited. Raises ConfigError for a certificate of no use."""
    server = Server(settings, hostname, service, defence or Defence(), trusted, budget, tally)
    await server.start(sockets)
    return server


def tls_context(settings: Smtp) -> ssl.SSLContext | None:
    """None without a certificate. Raises ConfigError for one that cannot be used."""
    if not settings.tls_certificate:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(settings.tls_certificate, settings.tls_key)
    except (ssl.SSLError, OSError) as error:
        raise ConfigError(
            f"[smtp] tls_certificate {settings.tls_certificate}: {error.strerror or error}; write PEM files"
        ) from None
    return context


class _Leave(Exception):
    """The session is over."""


class Session(SMTP):
    """One connection."""

    line_length_limit = BLOCK  # of the stream reader: what it buffers before it stops the client

    def __init__(self, server: Server, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(
            server,
            data_size_limit=server.settings.max_message_size,
            enable_SMTPUTF8=True,
            hostname=server.hostname,
            tls_context=server.tls,
            timeout=server.settings.timeout_s,
            loop=loop,
        )
        self._server = server
        self._input = Input(self._read_block)
        self._helo = ""
        self._is_extended = False
        self._errors = self._wrong = 0  # replies of 5xx; of them to what was no command, or had wrong arguments
        self._idle = 0  # commands since the last message that bring none on
        self._accepted = self._refused = 0  # recipients
        self._counted_ip = ""  # under which the connection is counted, "" when it is not
        self._until = loop.time() + server.settings.max_session_s
        self._is_waiting = self._is_line_begun = False
        self._unsaid = bytearray()
        self._content_timer: asyncio.Timeout | None = None
        self._content_due = self._content_until = 0.0
        self._is_secure = False
        self._forgotten = 0  # octets that came in the clear behind STARTTLS
        self._tls_words = ""
        self._manner: list[str] = []
        self._proxied: proxy.Endpoint | None = None  # the client, by a PROXY header
        self._may_name = False  # XCLIENT and XFORWARD are believed
        self._xclient = self._xforward = proxy.NOBODY
        self._sender: Path | None = None
        self._recipients: list[Recipient] = []
        self._incoming: Incoming | None = None  # a message, or its chunks so far
        self._has_failed = False  # a chunk did: the transaction is over but for RSET

    # --- connection ---------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client, or TLS on top of one."""
        is_first = self._original_transport is None
        self._forgotten = 0 if is_first else self._unread()
        super().connection_made(transport)
        self._input.discard()
        self._helo, self._is_extended = "", False
        self._xclient = self._xforward = proxy.NOBODY
        self._is_secure = not is_first
        if is_first:
            self._server.sessions.add(self)
            self._server.door.begin()
            OPEN.inc()

    def connection_lost(self, error: Exception | None) -> None:
        """aiosmtpd cancels the command loop here; a message in our hands is shielded from that."""
        self._forget()
        super().connection_lost(error)

    def _forget(self) -> None:
        if self in self._server.sessions:
            self._server.sessions.discard(self)
            self._server.door.end()
            OPEN.dec()
            self._uncount()

    def _uncount(self) -> None:
        if self._counted_ip:
            self._server.connections.end(self._counted_ip)
            self._server.connections.misused(self._counted_ip, self._wrong)
            self._counted_ip = ""

    def eof_received(self) -> bool | None:
        """A client that says no more may still be waiting for our answer: do not cancel the command loop."""
        if self._reader is not None:
            self._reader.feed_eof()
        return self._tls_protocol is None  # False lets TLS close, True keeps our side open

    def leave_if_idle(self) -> None:
        """Shutting down: a session between transactions ends now, others after their message."""
        if self._is_waiting and self._sender is None:
            self.leave()

    def leave(self) -> None:
        """Now."""
        self._say(line(replies.SHUTTING_DOWN))
        self.cut()

    def cut(self) -> None:
        """Close the connection; a client that does not read what was said loses it after a moment."""
        if self.transport is not None:
            self._send()
            transport = cast(asyncio.WriteTransport, self.transport)
            if self._timeout_handle is not None:
                self._timeout_handle.cancel()  # it would speak to a closed connection
            transport.close()
            self.loop.call_later(_LINGER_S, transport.abort)

    def _timeout_cb(self) -> None:
        if self.transport is not None:
            self._say(line(replies.TIMED_OUT))
            self.cut()

    def _say(self, said: bytes) -> None:
        """What the client hears when we wait for it: to commands that came together it is answered together."""
        self._unsaid += said

    def _send(self) -> None:
        if self._unsaid and self._writer is not None:
            self._writer.write(bytes(self._unsaid))
            self._unsaid.clear()

    async def _read_block(self, size: int) -> bytes:
        if self._content_timer is not None or not self._is_line_begun:
            self._reset_timeout(self._patience_s())  # one wait for a command line, however many pieces it comes in
        self._is_waiting = self._is_line_begun = True
        self._send()
        await self._writer.drain()
        block: bytes = await self._reader.read(size)
        self._is_waiting = False
        if self._content_timer is not None:
            self._hurry(len(block))
        return block

    def _patience_s(self) -> float:
        """timeout_s; little for a command while connections are scarce, as some hold them for nothing."""
        server = self._server
        is_scarce = server.door.taken > _SCARCE
        timeout_s = server.settings.timeout_s
        return min(timeout_s, _SCARCE_TIMEOUT_S) if is_scarce and self._content_timer is None else timeout_s

    def _hurry(self, octets: int) -> None:
        """What has come gains time for what is to come."""
        assert self._content_timer is not None
        rate = self._server.settings.min_data_rate
        if rate:
            self._content_due += octets / rate
            self._content_timer.reschedule(min(self._content_due, self._content_until))

    async def _timely(self, reading: Coroutine[Any, Any, T]) -> T:
        """Content, within data_timeout_s for all of it and not slower than min_data_rate. Raises TimeoutError."""
        settings, now = self._server.settings, self.loop.time()
        self._content_until = self._content_until or now + settings.data_timeout_s
        if now > self._content_until:  # chunks that were there at once would never meet the timer
            reading.close()
            raise TimeoutError
        self._content_due = now + settings.timeout_s if settings.min_data_rate else self._content_until
        try:
            async with asyncio.timeout_at(min(self._content_due, self._content_until)) as self._content_timer:
                return await reading
        finally:
            self._content_timer = None

    def _unread(self) -> int:
        """Octets that the client said before it heard the reply to come."""
        return len(self._input) + len(self._reader._buffer)  # type: ignore[attr-defined]

    # --- the command loop -------------------------------------------------------------------------------------------

    async def _handle_client(self) -> None:
        """Until the client leaves. The outermost handler: whatever goes wrong here is 451 and a log line."""
        try:
            with contextlib.suppress(_Leave, ConnectionError, asyncio.IncompleteReadError):
                await self._greet()
                while self.transport is not None:
                    await self._one_command()
            self.cut()
        finally:
            self._reset()

    async def _greet(self) -> None:
        self._say_and_leave(self._refused_as_full())
        await self._learn_client()
        if not self._may_name:  # a proxy's are counted when it has said whose they are
            self._say_and_leave(self._refused_by_limit())
        if await self._is_early():
            self._notice("SMTP_EARLY_TALKER", "greeting")
        CONNECTIONS.labels("accepted").inc()
        self._say(f"220 {self.hostname} ESMTP\r\n".encode())

    def _say_and_leave(self, refused: Reply | None) -> None:
        if refused is not None:
            self._say(line(refused))
            raise _Leave

    def _refused_as_full(self) -> Reply | None:
        server = self._server
        if server.is_stopping or server.door.taken > 1:
            CONNECTIONS.labels("refused").inc()
            return replies.SHUTTING_DOWN if server.is_stopping else replies.TOO_BUSY
        if server.budget.is_full:
            CONNECTIONS.labels("refused").inc()
            NO_ROOM.labels("connect").inc()
            return replies.NO_ROOM_FOR_MORE
        return None

    def _refused_by_limit(self) -> Reply | None:
        """The client's own, and its network's."""
        server, ip = self._server, self._client().ip
        passed = server.connections.begin(ip)
        if passed is None:
            self._counted_ip = ip
            return None
        CONNECTIONS.labels("limited").inc()
        STOPPED.labels(passed).inc()
        return self._refuse(replies.TOO_BUSY, f"connection limit: {passed}")

    async def _is_early(self) -> bool:
        """Whether the client speaks before it is greeted; the doubtful are given time for it."""
        delay_s = self._server.defence.greeting_delay_s
        if delay_s and await self._is_doubtful():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay_s):
                    if not await self._input.more():
                        raise _Leave
        return self._unread() > 0

    async def _is_doubtful(self) -> bool:
        server, ip = self._server, self._peer()[0]
        if not server.network_of(ip):
            return False
        is_for_all = server.defence.greeting_delay_for == "all"
        return is_for_all or server.connections.was_stopped(ip) or await server.service.is_doubtful(ip)

    def _notice(self, kind: str, command: str) -> None:
        """What must not be. Raises _Leave where it is not borne."""
        VIOLATIONS.labels(kind).inc()
        log.info("protocol violation", client_ip=self._peer()[0], kind=kind, command=command)
        if self._server.settings.too_early == "refuse":
            self._refuse(replies.TOO_EARLY, kind)
            self._say(line(replies.TOO_EARLY))
            raise _Leave
        if kind not in self._manner:
            self._manner.append(kind)

    def _refuse(self, reply: Reply, reason: str, recipient: str = "") -> Reply:
        """With a row in the message log."""
        sender = self._sender.address if self._sender is not None else ""
        self._server.service.refused(self._client(), sender, recipient, reply, reason)
        return reply

    async def _learn_client(self) -> None:
        """Before anything else: who a trusted proxy says it is. Raises _Leave when it does not say it rightly."""
        server, peer = self._server, self._peer()[0]
        self._may_name = peer in server.proxies
        if not (self._may_name and server.settings.proxy_protocol):
            return
        try:
            async with asyncio.timeout(proxy.HEADER_S):
                self._proxied = await proxy.read_header(self._input._buffer, self._input.more)
        except (proxy.ProxyError, TimeoutError) as error:
            why = "too slow" if isinstance(error, TimeoutError) else str(error)
            if why:
                log.warning("no PROXY header", client_ip=peer, error=why)
            raise _Leave from None
        self._may_name = self._proxied is not None and self._proxied[0] in server.proxies

    async def _one_command(self) -> None:
        command = "?"
        try:
            self._is_line_begun = False
            try:
                raw = await self._input.line()
            except ValueError:
                await self._answer(command, replies.LINE_TOO_LONG)
                return
            if raw is None:
                raise _Leave
            command, argument = self._parse(raw)
            if self.loop.time() > self._until:
                await self._answer(command, replies.TOO_LONG_HERE)
            if self._is_pipelined_early(command):
                self._notice("SMTP_PIPELINED_EARLY", command)
            handler = getattr(self, f"_on_{command.lower()}", None) if command != "?" else None
            reply = await handler(argument) if handler is not None else replies.NOT_UNDERSTOOD
            if reply is not None:
                await self._answer(command, reply)
        except (_Leave, ConnectionError, asyncio.CancelledError):
            raise
        except Exception as error:
            log.error("session fault", command=command, exc_info=error)
            if command != "RCPT":  # the others of a pipelined transaction would be refused for our fault
                self._reset()
            await self._answer(command, replies.OUR_FAULT)

    def _parse(self, raw: bytes) -> tuple[str, str]:
        """The command, "?" for none, and its argument."""
        word, _, argument = raw.partition(b" ")
        command = word.decode("ascii", "replace").upper()
        if command not in _COMMANDS or b"\n" in raw or b"\r" in raw:
            if command in _OF_OTHER_PROTOCOLS:
                VIOLATIONS.labels("other_protocol").inc()
                self._say(line(replies.NOT_SMTP))
                raise _Leave
            command = "?"
        return command, argument.decode("utf-8", "surrogateescape").strip()

    def _is_pipelined_early(self, command: str) -> bool:
        must_wait = command in _LAST_OF_A_GROUP or (command in ("MAIL", "RCPT") and not self._is_extended)
        return must_wait and self._unread() > 0

    async def _answer(self, command: str, reply: Reply) -> None:
        REPLIES.labels(command, str(reply.code)).inc()
        if reply.code >= 500:
            await self._tarpit()
        self._say(line(reply))
        self._count(command, reply.code)
        self._check_limits()
        if self._server.is_stopping and self._sender is None and reply.code != 421:
            self._say(line(replies.SHUTTING_DOWN))
            raise _Leave
        if reply.code == 421:
            raise _Leave

    async def _tarpit(self) -> None:
        """One timer, and only so many at a time: who sends garbage waits, and we do not."""
        server = self._server
        seconds = server.defence.tarpit_s
        if not seconds or server.tarpitted >= _MAX_TARPITTED or not server.network_of(self._client().ip):
            return
        server.tarpitted += 1
        TARPITTED.inc()
        try:
            await asyncio.sleep(seconds)
        finally:
            server.tarpitted -= 1
            TARPITTED.dec()

    def _count(self, command: str, code: int) -> None:
        if command in _IDLE or (command == "MAIL" and code // 100 == 4):
            self._idle += 1
        if command == "RCPT" and 550 <= code <= 554:  # the others are wrong commands
            self._refused += 1
        elif code >= 500:
            self._errors += 1
            self._wrong += code < 550 or code == 555
        elif command == "RCPT" and code == 250:
            self._accepted += 1

    def _check_limits(self) -> None:
        """Raises _Leave, with a 421, for a client that has had enough of us."""
        server = self._server
        if self._errors >= server.settings.max_errors:
            self._stop("errors", replies.TOO_MANY_ERRORS)
        if self._idle > server.settings.max_idle_commands:
            self._stop("idle_commands", replies.TOO_MUCH_IDLING)
        if self._refused > self._accepted and self._is_harvest():
            server.connections.stopped(self._client().ip)
            self._stop("refused_recipients", replies.TOO_MANY_REFUSED)

    def _is_harvest(self) -> bool:
        ip = self._client().ip
        tolerance = self._server.connections.tolerance(ip, self._server.defence.max_refused_recipients)
        return bool(self._server.network_of(ip)) and 0 < tolerance <= self._refused

    def _stop(self, limit: str, reply: Reply) -> None:
        STOPPED.labels(limit).inc()
        log.info("client stopped", client_ip=self._peer()[0], limit=limit)
        self._say(line(self._refuse(reply, f"connection stopped: {limit}")))
        raise _Leave

    def _reset(self) -> None:
        self._sender, self._recipients = None, []
        self._has_failed, self._content_until = False, 0.0
        self._xforward = proxy.NOBODY
        self._drop_incoming()

    def _drop_incoming(self) -> None:
        if self._incoming is not None:
            self._incoming.close()
            self._incoming = None

    # --- commands ---------------------------------------------------------------------------------------------------

    async def _on_helo(self, argument: str) -> Reply:
        name = parse_helo(argument)
        if name is None:
            return replies.BAD_ARGUMENT
        self._reset()
        self._helo, self._is_extended = name, False
        return Reply(250, "", self.hostname)

    async def _on_ehlo(self, argument: str) -> Reply:
        name = parse_helo(argument)
        if name is None:
            return replies.BAD_ARGUMENT
        self._reset()
        self._helo, self._is_extended = name, True
        settings = self._server.settings
        words = [self.hostname, "PIPELINING", f"SIZE {settings.max_message_size}", "8BITMIME", "SMTPUTF8"]
        words += ["CHUNKING"] if settings.chunking else []
        words.append(f"LIMITS RCPTMAX={settings.max_recipients}")  # RFC 9422
        if self._server.tls is not None and self._tls_protocol is None:
            words.append("STARTTLS")
        words += proxy.WORDS if self._may_name else ()
        self._say("".join(f"250-{word}\r\n" for word in words).encode())
        return Reply(250, "", "ENHANCEDSTATUSCODES")

    async def _on_starttls(self, argument: str) -> Reply | None:
        if argument:
            return replies.BAD_ARGUMENT
        if self._server.tls is None or self._tls_protocol is not None:
            return replies.NO_TLS
        self._reset()
        self._forgotten = self._unread()
        self._send()
        with contextlib.suppress(TLSSetupException):
            await super().smtp_STARTTLS("")  # answers 220; connection_made() discards what was sent in the clear
        if self._forgotten:
            VIOLATIONS.labels("tls_injection").inc()
            log.warning(
                "forgot what was said in the clear behind STARTTLS", client_ip=self._peer()[0], octets=self._forgotten
            )
        if not self._is_secure:
            log.info("TLS failed", client_ip=self._peer()[0])
            self._forget()  # of a handshake that failed asyncio never says connection_lost
            raise _Leave
        self._tls_words = _describe_tls(self.transport)
        return None  # under TLS the client speaks first

    async def _on_mail(self, argument: str) -> Reply:
        if not self._helo:
            return replies.SAY_HELLO_FIRST
        if self._sender is not None:
            return replies.NESTED_MAIL
        path = parse_path(argument, "FROM")
        if path is None:
            return replies.BAD_SENDER
        refused = self._check_parameters(path)
        if refused is not None:
            return refused
        if not path.address.isascii() and "SMTPUTF8" not in path.parameters:
            return replies.NEEDS_SMTPUTF8
        if self._server.budget.refuses(int(path.parameters.get("SIZE", "0"))):
            NO_ROOM.labels("mail").inc()
            return replies.NO_ROOM
        deferred = self._server.service.admit(self._client(), path.address)
        if deferred is not None:
            return deferred
        self._sender = path
        return replies.SENDER_OK

    def _check_parameters(self, path: Path) -> Reply | None:
        if path.parameters and not self._is_extended:
            return replies.UNKNOWN_PARAMETER
        for name, value in path.parameters.items():
            if name == "SIZE" and value.isdecimal() and value.isascii() and len(value) <= 20:  # RFC 1870 §4: 20 digits
                if int(value) > self._server.settings.max_message_size:
                    return replies.TOO_LARGE
            elif not (name == "BODY" and value.upper() in ("7BIT", "8BITMIME")) and (name, value) != ("SMTPUTF8", ""):
                return replies.UNKNOWN_PARAMETER
        return None

    async def _on_rcpt(self, argument: str) -> Reply:
        if self._sender is None:
            return replies.NEED_MAIL
        path = parse_path(argument, "TO")
        if path is None or not path.address:
            return replies.BAD_RECIPIENT
        if path.parameters:
            return replies.UNKNOWN_PARAMETER
        if not path.address.isascii() and "SMTPUTF8" not in self._sender.parameters:
            return replies.NEEDS_SMTPUTF8
        if self._incoming is not None or self._has_failed:
            return replies.NO_MIXING
        if is_relay_trick(path):
            return self._refuse(replies.NO_RELAY_TRICKS, "relay trick", path.address)
        if len(self._recipients) >= self._server.settings.max_recipients:
            return replies.TOO_MANY_RECIPIENTS
        recipient = Recipient(path.address, path.domain)
        refused = await self._server.service.screen(self._client(), self._sender.address, recipient)
        if refused is not None:
            return refused
        if recipient not in self._recipients:  # the same one twice gets one copy
            self._recipients.append(recipient)
        return replies.RECIPIENT_OK

    async def _on_data(self, argument: str) -> Reply:
        if argument:
            return replies.BAD_ARGUMENT
        if self._incoming is not None or self._has_failed:
            return replies.NO_MIXING
        refused = self._is_no_time_for_content()
        if refused is not None:
            return refused
        self._say(line(replies.GO_AHEAD))
        incoming = self._incoming = self._server.budget.begin()
        try:
            fits = await self._timely(self._input.message(self._server.settings.max_message_size, incoming))
        except TimeoutError:
            return self._too_slow()
        return await self._take_in(incoming, unstuff) if fits else self._give_up(replies.TOO_LARGE)

    async def _on_bdat(self, argument: str) -> Reply:
        """A chunk (RFC 3030 §2): its octets are read whatever the reply, or they would be taken for commands."""
        asked = parse_bdat(argument) if self._server.settings.chunking else None
        limit = self._server.settings.max_message_size
        if asked is None or asked[0] > limit * DRAIN:
            await self._answer("BDAT", replies.BAD_ARGUMENT if asked is None else replies.TOO_LARGE)
            raise _Leave  # nobody knows where the next command begins, or it is too far away
        size, is_last = asked
        refused = self._refuses_chunk(size)
        try:
            if refused is not None:
                await self._timely(self._input.skip(size))
                return self._fail_chunk(refused)
            incoming = self._incoming = self._incoming or self._server.budget.begin()
            await self._timely(self._input.chunk(size, incoming))
        except TimeoutError:
            return self._too_slow()
        self._idle += size < _SMALL_CHUNK and not is_last
        if incoming.has_failed:
            return self._fail_chunk(replies.NO_ROOM)
        if not is_last:
            return Reply(250, "2.0.0", f"{size} octets received")
        return await self._take_in(incoming, _ended)

    def _fail_chunk(self, reply: Reply) -> Reply:
        self._drop_incoming()
        self._has_failed = self._sender is not None
        return reply

    def _refuses_chunk(self, size: int) -> Reply | None:
        if self._has_failed:
            return replies.CHUNK_FIRST_FAILED
        taken = self._incoming.size if self._incoming is not None else 0
        too_large = replies.TOO_LARGE if taken + size > self._server.settings.max_message_size else None
        return self._is_no_time_for_content() or too_large

    def _is_no_time_for_content(self) -> Reply | None:
        if self._sender is None:
            return replies.NEED_MAIL
        if not self._recipients:
            return replies.NO_RECIPIENTS
        if self._incoming is None and self._server.budget.is_full:
            NO_ROOM.labels("data").inc()
            return replies.NO_ROOM
        return None

    def _too_slow(self) -> Reply:
        STOPPED.labels("slow_content").inc()
        return self._refuse(replies.TIMED_OUT, "content came too slowly")

    def _give_up(self, reply: Reply) -> Reply:
        self._reset()
        return reply

    async def _take_in(self, incoming: Incoming, formed: Callable[[bytes], bytes]) -> Reply:
        """A whole message, once there is room to judge it."""
        content = await incoming.whole()
        if content is None:
            NO_ROOM.labels("content").inc()
            return self._give_up(replies.NO_ROOM)
        self._idle = 0
        received = contents.receive(formed(content), self._server.settings)
        del content  # a copy less while it is judged, where its form was changed
        for kind in received.manner:
            VIOLATIONS.labels(kind).inc()
        if received.refused is not None:
            self._refuse(received.refused, "form of the message", self._recipients[0].address)
            return self._give_up(received.refused)
        envelope = self._envelope((*self._manner, *received.manner))
        self._incoming = None  # _receive's
        self._reset()
        return await self._receive(envelope, received.content, incoming)

    async def _receive(self, envelope: Envelope, content: bytes, incoming: Incoming) -> Reply:
        """In our hands: it is judged and acted on to the end, also when the client goes away meanwhile."""
        if self._timeout_handle is not None:
            self._timeout_handle.cancel()  # now the client waits for us
        self._send()
        task = asyncio.ensure_future(self._server.service.receive(envelope, content))
        self._server.accepting.add(task)
        task.add_done_callback(self._server.accepting.discard)
        task.add_done_callback(lambda _: incoming.close())
        outcome = await asyncio.shield(task)
        self._reset_timeout()
        return outcome.reply

    async def _on_rset(self, argument: str) -> Reply:
        self._reset()
        return replies.BAD_ARGUMENT if argument else replies.OK

    async def _on_noop(self, _argument: str) -> Reply:
        return replies.OK

    async def _on_help(self, _argument: str) -> Reply:
        return Reply(214, "2.0.0", "See RFC 5321")

    async def _on_vrfy(self, argument: str) -> Reply:
        return replies.CANNOT_VERIFY if argument else replies.BAD_ARGUMENT

    async def _on_expn(self, _argument: str) -> Reply:
        return replies.NOT_IMPLEMENTED

    async def _on_auth(self, _argument: str) -> Reply:
        return replies.NOT_IMPLEMENTED  # mail from elsewhere comes without; submission is another server's

    async def _on_xclient(self, argument: str) -> Reply:
        if not self._may_name:
            return replies.NOT_UNDERSTOOD
        named = proxy.parse_xclient(argument)
        if named is None or self._sender is not None:
            return replies.BAD_ARGUMENT if named is None else replies.NESTED_MAIL
        self._reset()
        self._xclient = proxy.joined(self._xclient, named)
        if named.ip is not None:
            self._uncount()
            refused = self._refused_by_limit() if named.ip else None
            if refused is not None:
                return refused
        self._accepted = self._refused = self._wrong = 0  # of another client
        self._helo, self._is_extended = self._xclient.helo or "", self._xclient.protocol == "ESMTP"
        return Reply(220, "", f"{self.hostname} ESMTP")

    async def _on_xforward(self, argument: str) -> Reply:
        if not self._may_name:
            return replies.NOT_UNDERSTOOD
        named = proxy.parse_xforward(argument)
        if named is None or self._sender is not None:
            return replies.BAD_ARGUMENT if named is None else replies.NESTED_MAIL
        self._xforward = proxy.joined(self._xforward, named)
        if named.ident:
            log.info("forwarded", client_ip=self._peer()[0], ident=named.ident)
        return replies.OK

    async def _on_quit(self, _argument: str) -> Reply:
        self._say(line(replies.BYE))
        raise _Leave

    # --- pieces -------------------------------------------------------------------------------------------------------

    def _peer(self) -> tuple[str, int]:
        """Who is at the other end of the connection; behind a PROXY header whom that names."""
        if self._proxied is not None:
            return self._proxied
        peer = self.session.peer if self.session is not None else None
        ip = str(peer[0]).partition("%")[0] if peer else "0.0.0.0"  # noqa: S104 - unknown, not a bind
        return ip.removeprefix("::ffff:"), int(peer[1]) if peer else 0

    def _client(self) -> Client:
        ip, port = self._peer()
        is_utf8 = self._sender is not None and "SMTPUTF8" in self._sender.parameters
        word = ("UTF8SMTP" if is_utf8 else "ESMTP") if self._is_extended else "SMTP"
        client = Client(ip, port, self._helo, f"{word}S" if self._tls_words else word, self._tls_words)
        if not self._may_name:
            return client
        # what XCLIENT says of HELO holds until the client says EHLO again, which is the true one's
        return proxy.as_named(client, self._xclient._replace(helo=None, protocol=None), self._xforward)

    def _envelope(self, manner: tuple[str, ...]) -> Envelope:
        assert self._sender is not None
        return Envelope(
            queue_id=new_queue_id(),
            client=self._client(),
            reverse_path=self._sender.address,
            recipients=tuple(self._recipients),
            received_at=time.time(),
            hostname=self.hostname,
            is_8bitmime=self._sender.parameters.get("BODY", "").upper() == "8BITMIME",
            is_smtputf8="SMTPUTF8" in self._sender.parameters,
            manner=manner,
        )


def _ended(content: bytes) -> bytes:
    """Chunks need not end with a line end, messages do."""
    return content if content.endswith(b"\r\n") or not content else content + b"\r\n"


def _describe_tls(transport: Any) -> str:
    found = transport.get_extra_info("ssl_object") if transport is not None else None
    cipher = found.cipher() if found is not None else None
    return f"{cipher[1]} {cipher[0]}" if cipher else "TLS"
