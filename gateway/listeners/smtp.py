"""The SMTP listener (RFC 5321), on aiosmtpd's transport and TLS; the only file that knows aiosmtpd.

What aiosmtpd 1.4.6 does differently from what a gateway needs is replaced here: its command loop (faults of ours are
451, limits are per connection, command lines end in CRLF only), DATA (read in blocks; only <CRLF>.<CRLF> ends it), and
the end of a connection (a message in our hands is finished, whatever the client does). Bare CR or LF in a message
become line ends, so that none is ever sent on (RFC 5321 §2.3.8): one message in, one message out. Extensions:
PIPELINING, SIZE, 8BITMIME, SMTPUTF8, STARTTLS, ENHANCEDSTATUSCODES. No AUTH, no VRFY, no version in the greeting.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, cast

import structlog
from aiosmtpd.smtp import SMTP, TLSSetupException
from prometheus_client import Counter, Gauge

from gateway.config.settings import Smtp
from gateway.errors import ConfigError
from gateway.listeners import reply as replies
from gateway.listeners.command import MAX_LINE, Path, is_relay_trick, parse_helo, parse_path
from gateway.listeners.reply import line, new_queue_id
from gateway.mail.edit import to_crlf
from gateway.types import Client, Envelope, Outcome, Recipient, Reply

CONNECTIONS = Counter("darban_smtp_connections_total", "Connections by how they began.", ["result"])
OPEN = Gauge("darban_smtp_open_connections", "Connections open now.", multiprocess_mode="livesum")
REPLIES = Counter("darban_smtp_replies_total", "Replies by command and code.", ["command", "code"])

_MAX_ERRORS = 20
_BLOCK = 1 << 16
_DRAIN = 2  # a message too large is read to its end up to so many times the limit, then the connection is closed
_LINGER_S = 5.0
_COMMANDS = frozenset("HELO EHLO MAIL RCPT DATA RSET NOOP QUIT VRFY STARTTLS HELP EXPN".split())

log = structlog.get_logger("darban.smtp")


class Service(Protocol):
    """What a listener needs (service.Gateway)."""

    def admit(self, client: Client, reverse_path: str) -> Reply | None:
        """At MAIL: None to go on."""

    async def screen(self, client: Client, reverse_path: str, recipient: Recipient) -> Reply | None:
        """None to accept the recipient."""

    async def receive(self, envelope: Envelope, content: bytes) -> Outcome:
        """Judge and act; the outcome's reply is the answer to DATA."""


class Server:
    """The listening sockets and their sessions."""

    def __init__(self, settings: Smtp, hostname: str, service: Service) -> None:
        self.settings = settings
        self.hostname = hostname
        self.service = service
        self.tls = tls_context(settings)
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


async def serve(settings: Smtp, hostname: str, service: Service, sockets: Sequence[socket.socket]) -> Server:
    """Serve on these sockets. Raises ConfigError when the certificate cannot be used."""
    server = Server(settings, hostname, service)
    await server.start(sockets)
    return server


def bind(listen: str) -> socket.socket:
    """A listening socket at "host:port" that other listener processes share (SO_REUSEPORT)."""
    host, _, port = listen.rpartition(":")
    host = host.strip("[]")
    door = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    door.bind((host, int(port)))
    return door


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


class _Input:
    """Bytes from the client, as command lines or as a message. Holds a block, or the message it is reading."""

    def __init__(self, read: Callable[[int], Awaitable[bytes]]) -> None:
        self._read = read
        self._buffer = bytearray()

    def discard(self) -> None:
        """Forget what came before TLS (RFC 3207 §4.2)."""
        self._buffer.clear()

    async def line(self) -> bytes | None:
        """One command line without its CRLF; None at the end of the connection. Raises ValueError when too long."""
        searched = 0
        while (end := self._buffer.find(b"\r\n", searched)) < 0:
            searched = max(0, len(self._buffer) - 1)
            if len(self._buffer) > _BLOCK:
                self._buffer.clear()
                raise ValueError("line too long")
            if not await self._more():
                return None
        found = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        if len(found) > MAX_LINE:
            raise ValueError("line too long")
        return found

    async def message(self, limit: int) -> bytes | None:
        """The message up to <CRLF>.<CRLF>, dots unstuffed; None when it exceeds the limit (and was drained).

        Raises ConnectionResetError when the client goes away, or sends far more than the limit.
        """
        while not self._buffer.startswith(b".\r\n"):
            if len(self._buffer) >= 3:
                break
            await self._more_or_reset()
        else:
            del self._buffer[:3]
            return b""
        searched, dropped = 0, 0
        while (end := self._buffer.find(b"\r\n.\r\n", searched)) < 0:
            if len(self._buffer) + dropped > limit * _DRAIN + _BLOCK:
                raise ConnectionResetError("message far too large")
            if dropped or len(self._buffer) > limit + _BLOCK:
                dropped += len(self._buffer) - 4
                del self._buffer[:-4]
            searched = max(0, len(self._buffer) - 4)
            await self._more_or_reset()
        content = bytes(self._buffer[: end + 2])
        del self._buffer[: end + 5]
        if dropped or len(content) > limit:
            return None
        return content.replace(b"\r\n.", b"\r\n").removeprefix(b".")

    async def _more(self) -> bool:
        block = await self._read(_BLOCK)
        self._buffer += block
        return bool(block)

    async def _more_or_reset(self) -> None:
        if not await self._more():
            raise ConnectionResetError("the client went away in the middle of a message")


class _Leave(Exception):
    """The session is over."""


class Session(SMTP):
    """One connection."""

    line_length_limit = _BLOCK  # of the stream reader: what it buffers before it stops the client

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
        self._input = _Input(self._read_block)
        self._helo = ""
        self._is_extended = False
        self._errors = 0
        self._is_waiting = False
        self._is_secure = False
        self._tls_words = ""
        self._sender: Path | None = None
        self._recipients: list[Recipient] = []

    # --- connection ---------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client, or TLS on top of one."""
        is_first = self._original_transport is None
        super().connection_made(transport)
        self._input.discard()
        self._helo, self._is_extended = "", False
        self._is_secure = not is_first
        if is_first:
            self._server.sessions.add(self)
            OPEN.inc()

    def connection_lost(self, error: Exception | None) -> None:
        """aiosmtpd cancels the command loop here; a message in our hands is shielded from that."""
        self._forget()
        super().connection_lost(error)

    def _forget(self) -> None:
        if self in self._server.sessions:
            self._server.sessions.discard(self)
            OPEN.dec()

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
        if self.transport is not None and self._writer is not None:
            self._writer.write(line(replies.SHUTTING_DOWN))
        self.cut()

    def cut(self) -> None:
        """Close the connection; a client that does not read what was said loses it after a moment."""
        if self.transport is not None:
            transport = cast(asyncio.WriteTransport, self.transport)
            if self._timeout_handle is not None:
                self._timeout_handle.cancel()  # it would speak to a closed connection
            transport.close()
            self.loop.call_later(_LINGER_S, transport.abort)

    def _timeout_cb(self) -> None:
        if self.transport is not None:
            self._writer.write(line(replies.TIMED_OUT))
            self.cut()

    async def _read_block(self, size: int) -> bytes:
        self._is_waiting = True
        block: bytes = await self._reader.read(size)
        self._is_waiting = False
        self._reset_timeout()
        return block

    # --- the command loop -------------------------------------------------------------------------------------------

    async def _handle_client(self) -> None:
        """Until the client leaves. The outermost handler: whatever goes wrong here is 451 and a log line."""
        server = self._server
        if server.is_stopping or len(server.sessions) > server.settings.max_connections:
            CONNECTIONS.labels("refused").inc()
            self._writer.write(line(replies.SHUTTING_DOWN if server.is_stopping else replies.TOO_BUSY))
            self.cut()
            return
        CONNECTIONS.labels("accepted").inc()
        self._writer.write(f"220 {self.hostname} ESMTP\r\n".encode())
        with contextlib.suppress(_Leave, ConnectionError, asyncio.IncompleteReadError):
            while self.transport is not None:
                await self._one_command()
        self.cut()

    async def _one_command(self) -> None:
        command = "?"
        try:
            try:
                raw = await self._input.line()
            except ValueError:
                await self._answer(command, replies.LINE_TOO_LONG)
                return
            if raw is None:
                raise _Leave
            word, _, argument = raw.partition(b" ")
            command = word.decode("ascii", "replace").upper()
            command = command if command in _COMMANDS and b"\n" not in raw and b"\r" not in raw else "?"
            handler = getattr(self, f"_on_{command.lower()}", None) if command != "?" else None
            text = argument.decode("utf-8", "surrogateescape").strip()
            await self._answer(command, await handler(text) if handler is not None else replies.NOT_UNDERSTOOD)
        except (_Leave, ConnectionError, asyncio.CancelledError):
            raise
        except Exception as error:
            log.error("session fault", command=command, exc_info=error)
            if command != "RCPT":  # the others of a pipelined transaction would be refused for our fault
                self._reset()
            await self._answer(command, replies.OUR_FAULT)

    async def _answer(self, command: str, reply: Reply) -> None:
        REPLIES.labels(command, str(reply.code)).inc()
        self._writer.write(line(reply))
        await self._writer.drain()
        if reply.code >= 500:
            self._errors += 1
        if self._errors >= _MAX_ERRORS:
            self._writer.write(line(replies.TOO_MANY_ERRORS))
            raise _Leave
        if self._server.is_stopping and self._sender is None and reply.code != 421:
            self._writer.write(line(replies.SHUTTING_DOWN))
            raise _Leave
        if reply.code == 421:
            raise _Leave

    def _reset(self) -> None:
        self._sender, self._recipients = None, []

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
        words = [self.hostname, "PIPELINING", f"SIZE {self.data_size_limit}", "8BITMIME", "SMTPUTF8"]
        if self._server.tls is not None and self._tls_protocol is None:
            words.append("STARTTLS")
        self._writer.write("".join(f"250-{word}\r\n" for word in words).encode())
        return Reply(250, "", "ENHANCEDSTATUSCODES")

    async def _on_starttls(self, argument: str) -> Reply:
        if argument:
            return replies.BAD_ARGUMENT
        if self._server.tls is None or self._tls_protocol is not None:
            return replies.NO_TLS
        self._reset()
        with contextlib.suppress(TLSSetupException):
            await super().smtp_STARTTLS("")  # answers 220; connection_made() discards what was sent in the clear
        if not self._is_secure:
            log.info("TLS failed", client_ip=self._peer()[0])
            self._forget()  # of a handshake that failed asyncio never says connection_lost
            raise _Leave
        self._tls_words = _describe_tls(self.transport)
        return await self._next_after_tls()

    async def _next_after_tls(self) -> Reply:
        """STARTTLS has no reply under TLS: go on with the next command at once."""
        raw = await self._input.line()
        if raw is None:
            raise _Leave
        word, _, argument = raw.partition(b" ")
        if word.upper() not in (b"EHLO", b"HELO"):
            return replies.SAY_HELLO_FIRST if word.upper() != b"QUIT" else await self._on_quit("")
        text = argument.decode("utf-8", "surrogateescape")
        return await (self._on_ehlo(text) if word.upper() == b"EHLO" else self._on_helo(text))

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
        deferred = self._server.service.admit(self._client(), path.address)
        if deferred is not None:
            return deferred
        self._sender = path
        return replies.SENDER_OK

    def _check_parameters(self, path: Path) -> Reply | None:
        if path.parameters and not self._is_extended:
            return replies.UNKNOWN_PARAMETER
        for name, value in path.parameters.items():
            if name == "SIZE" and value.isdecimal() and len(value) <= 20:  # RFC 1870 §4: 20 digits
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
        if is_relay_trick(path):
            return replies.NO_RELAY_TRICKS
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
        if self._sender is None:
            return replies.NEED_MAIL
        if not self._recipients:
            return replies.NO_RECIPIENTS
        self._writer.write(line(replies.GO_AHEAD))
        limit = self._server.settings.max_message_size
        try:
            async with asyncio.timeout(self._server.settings.data_timeout_s):
                content = await self._input.message(limit)
        except TimeoutError:
            return replies.TIMED_OUT
        envelope = self._envelope()
        self._reset()
        if content is None:
            return replies.TOO_LARGE
        return await self._receive(envelope, to_crlf(content))

    async def _receive(self, envelope: Envelope, content: bytes) -> Reply:
        """In our hands: it is judged and acted on to the end, also when the client goes away meanwhile."""
        if self._timeout_handle is not None:
            self._timeout_handle.cancel()  # now the client waits for us
        task = asyncio.ensure_future(self._server.service.receive(envelope, content))
        self._server.accepting.add(task)
        task.add_done_callback(self._server.accepting.discard)
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

    async def _on_quit(self, _argument: str) -> Reply:
        self._writer.write(line(replies.BYE))
        await self._writer.drain()
        raise _Leave

    # --- pieces -------------------------------------------------------------------------------------------------------

    def _peer(self) -> tuple[str, int]:
        peer = self.session.peer if self.session is not None else None
        ip = str(peer[0]).partition("%")[0] if peer else "0.0.0.0"  # noqa: S104 - unknown, not a bind
        return ip.removeprefix("::ffff:"), int(peer[1]) if peer else 0

    def _client(self) -> Client:
        ip, port = self._peer()
        is_utf8 = self._sender is not None and "SMTPUTF8" in self._sender.parameters
        word = ("UTF8SMTP" if is_utf8 else "ESMTP") if self._is_extended else "SMTP"
        return Client(ip, port, self._helo, f"{word}S" if self._tls_words else word, self._tls_words)

    def _envelope(self) -> Envelope:
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
        )


def _describe_tls(transport: Any) -> str:
    found = transport.get_extra_info("ssl_object") if transport is not None else None
    cipher = found.cipher() if found is not None else None
    return f"{cipher[1]} {cipher[0]}" if cipher else "TLS"
