"""Questions to nameservers over UDP and TCP, from one event loop, without waiting in any thread.

Each question has a socket and a port of its own, and an id that cannot be guessed (RFC 5452 §9). Nameservers are asked
in turn and then once more; an answer that comes late to an earlier try still counts. What says that it cannot tell
(SERVFAIL, REFUSED, a lame server) is followed by the next one at once; a truncated answer is fetched over TCP; a packet
with another id, question or form is not an answer.

The breaker: when nothing at all came to SILENT_BEFORE_PROBE questions in a row, the root is asked for, which every
resolver knows without asking anybody (names whose own servers are silent prove nothing). When that is not answered
either, questions are answered "timeout" at once until a probe, each PROBE_S, is answered.

Limits: timeout_s a question in all; three nameservers; ACTIVE_MAX questions at once: one more ends the oldest, which is
the likeliest to wait in vain.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
from collections.abc import Sequence
from pathlib import Path

import structlog

from gateway.net.dns_wire import MAX_BYTES, Reply, read_reply, write_query
from gateway.types import DnsAnswer

SILENT_BEFORE_PROBE = 5
PROBE_S = 5.0
ACTIVE_MAX = 256
SERVERS_MAX = 3  # as resolv.conf(5)
_SILENT_BEFORE_LAST = 3  # tries after which a nameserver is asked last for a while
_LAST_FOR_S = 10.0
_PACKETS_MAX = 16  # on one socket that answer nothing; more is a flood
_RESOLV_CONF = Path("/etc/resolv.conf")

Endpoint = tuple[str, int]

log = structlog.get_logger("darban.dns")
_SILENCE = Reply(DnsAnswer("timeout"))


class Nameservers:
    """Asks them. Use it from one loop; `close` ends what waits."""

    def __init__(self, endpoints: Sequence[Endpoint], timeout_s: float) -> None:
        self._servers = [_Server(endpoint) for endpoint in endpoints[:SERVERS_MAX]]
        self._timeout_s = timeout_s
        self._active: dict[_Exchange, None] = {}  # oldest first
        self._silent = 0  # questions in a row to which nothing came
        self._probing: asyncio.Task[None] | None = None
        self.is_down = False

    def __str__(self) -> str:
        return ", ".join(str(server) for server in self._servers)

    async def ask(self, name: str, rdtype: str) -> Reply:
        """One question of a canonical name. Never raises; "timeout" when nothing came."""
        if self.is_down:
            return _SILENCE
        reply = await self._ask(name, rdtype)
        if reply is _SILENCE:
            self._silent += 1
            if self._silent >= SILENT_BEFORE_PROBE and self._probing is None:
                self._probing = asyncio.create_task(self._probe())
        return reply

    async def is_answering(self) -> bool:
        """Whether anything answers for the root now, whatever the breaker says."""
        return await self._ask("", "NS") is not _SILENCE

    def close(self) -> None:
        """Those who wait hear "timeout"."""
        if self._probing is not None:
            self._probing.cancel()
        for exchange in list(self._active):
            exchange.stop()

    async def _ask(self, name: str, rdtype: str) -> Reply:
        if len(self._active) >= ACTIVE_MAX:
            oldest = next(iter(self._active))
            del self._active[oldest]
            oldest.stop()
        exchange = _Exchange(name, rdtype, self._timeout_s)
        self._active[exchange] = None
        try:
            reply = await exchange.run(self._in_order(exchange.began_at))
        finally:
            self._active.pop(exchange, None)
            exchange.close()
        if exchange.was_answered:
            self._silent = 0
        return reply

    def _in_order(self, now: float) -> list[_Server]:
        """Those that were silent of late behind the others."""
        if len(self._servers) == 1:
            return self._servers
        return sorted(self._servers, key=lambda server: server.is_last(now))

    async def _probe(self) -> None:
        """Until something answers. A task of its own: no message waits for it."""
        try:
            while await self._ask("", "NS") is _SILENCE:
                if not self.is_down:
                    self.is_down = True
                    log.error("no nameserver answers: the DNS is left out until one does", nameservers=str(self))
                await asyncio.sleep(PROBE_S)
            if self.is_down:
                log.warning("a nameserver answers again", nameservers=str(self))
            self.is_down = False
            self._silent = 0
        finally:
            self._probing = None


class _Server:
    """One nameserver, and how it answered of late."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.family = socket.AF_INET6 if ":" in endpoint[0] else socket.AF_INET
        self._silent = 0
        self._last_until = 0.0

    def __str__(self) -> str:
        host, port = self.endpoint
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def is_last(self, now: float) -> bool:
        return now < self._last_until

    def answered(self) -> None:
        self._silent = 0
        self._last_until = 0.0

    def was_silent(self, now: float) -> None:
        self._silent += 1
        if self._silent >= _SILENT_BEFORE_LAST:
            self._last_until = now + _LAST_FOR_S


class _Exchange:
    """One question's way: its sockets, and what came on them."""

    def __init__(self, name: str, rdtype: str, timeout_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._name = name
        self._rdtype = rdtype
        self._number = secrets.randbits(16)
        self._sockets: dict[_Server, socket.socket] = {}
        self._packets: dict[_Server, int] = {}
        self._plain: set[_Server] = set()
        self._arrived: list[tuple[_Server, Reply | None]] = []  # None: nobody listens there
        self._waiter: asyncio.Future[None] | None = None
        self._stopped = False
        self._timeout_s = timeout_s
        self.began_at = self._loop.time()
        self._deadline = self.began_at + timeout_s
        self.was_answered = False

    async def run(self, servers: Sequence[_Server]) -> Reply:
        """The first good answer; what the last one could not tell; _SILENCE."""
        best = _SILENCE
        asked = list(servers)
        for is_second in (False, True):
            share_s = self._timeout_s / (len(servers) + 1)
            wait_s = share_s / max(1, len(asked)) if is_second else share_s
            for server in tuple(asked):
                if server not in asked:  # answered meanwhile, to an earlier try
                    continue
                is_last = is_second and server is asked[-1]
                reply = await self._try(server, self._deadline if is_last else self._loop.time() + wait_s, asked)
                if reply is not None and reply.answer.status in ("noerror", "nodata", "nxdomain"):
                    return reply
                best = reply or best
                if self._stopped or self._loop.time() >= self._deadline:
                    return best
        return best

    def stop(self) -> None:
        """Give up now."""
        self._stopped = True
        self._wake()

    def close(self) -> None:
        """Close what is open."""
        for one in self._sockets.values():
            self._loop.remove_reader(one.fileno())
            one.close()
        self._sockets.clear()

    async def _try(self, server: _Server, until: float, asked: list[_Server]) -> Reply | None:
        """Send, and wait for an answer of any server asked so far; None when none came. `asked` loses who answered."""
        if not self._send(server):
            asked.remove(server)
            return None
        while await self._arrival(until):
            source, reply = self._arrived.pop(0)
            if reply is not None:
                source.answered()
                self.was_answered = True
                if reply.is_truncated:
                    reply = await self._over_tcp(source)
                elif reply.is_unsure_of_edns and self._send_plainly(source):
                    continue
            if source in asked:
                asked.remove(source)
            if reply is not None and not reply.is_lame:
                return reply
            if reply is not None:
                return Reply(DnsAnswer("servfail"))
            if source is server:
                return None
        server.was_silent(self._loop.time())
        return None

    def _send(self, server: _Server, *, has_edns: bool = True) -> bool:
        """Whether the packet left."""
        packet = write_query(self._number, self._name, self._rdtype, has_edns=has_edns)
        try:
            return self._socket(server).send(packet) == len(packet)
        except OSError:
            return False

    def _send_plainly(self, server: _Server) -> bool:
        """Without EDNS, once."""
        is_first = server not in self._plain
        self._plain.add(server)
        return is_first and self._send(server, has_edns=False)

    def _socket(self, server: _Server) -> socket.socket:
        known = self._sockets.get(server)
        if known is not None:
            return known
        fresh = socket.socket(server.family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            fresh.connect(server.endpoint)  # the kernel drops what others send, and tells of a closed port
        except OSError:
            fresh.close()
            raise
        self._sockets[server] = fresh
        self._loop.add_reader(fresh.fileno(), self._readable, server, fresh)
        return fresh

    def _readable(self, server: _Server, source: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError):
            try:
                reply = read_reply(source.recv(65_535), self._number, self._name, self._rdtype)
            except ConnectionError:
                self._arrived.append((server, None))
                self._wake()
                return
            if reply is not None:
                self._arrived.append((server, reply))
                self._wake()
                return
            self._packets[server] = self._packets.get(server, 0) + 1
            if self._packets[server] >= _PACKETS_MAX:
                self._loop.remove_reader(source.fileno())

    async def _arrival(self, until: float) -> bool:
        """Wait for something to arrive; False when the time is over."""
        if self._arrived:
            return True
        if self._stopped:
            return False
        self._waiter = self._loop.create_future()
        timer = self._loop.call_at(until, self._wake)
        await self._waiter
        timer.cancel()
        if not self._arrived:  # a busy loop hears of the time before it hears of what came in time
            for server, source in self._sockets.items():
                self._readable(server, source)
        return bool(self._arrived)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _over_tcp(self, server: _Server) -> Reply | None:
        """RFC 7766: the same question on a connection; None when that does not come."""
        try:
            async with asyncio.timeout_at(self._deadline):
                return await self._dialogue(server)
        except (OSError, TimeoutError):
            return None

    async def _dialogue(self, server: _Server) -> Reply | None:
        packet = write_query(self._number, self._name, self._rdtype)
        with socket.socket(server.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as connection:
            await self._loop.sock_connect(connection, server.endpoint)
            await self._loop.sock_sendall(connection, len(packet).to_bytes(2, "big") + packet)
            size = int.from_bytes(await self._exactly(connection, 2), "big")
            if size > MAX_BYTES:
                return Reply(DnsAnswer("servfail"))
            return read_reply(await self._exactly(connection, size), self._number, self._name, self._rdtype)

    async def _exactly(self, connection: socket.socket, size: int) -> bytes:
        content = b""
        while len(content) < size:
            piece = await self._loop.sock_recv(connection, size - len(content))
            if not piece:
                raise ConnectionError("closed before the end")
            content += piece
        return content


def system_nameservers(path: Path = _RESOLV_CONF) -> list[Endpoint]:
    """Those of resolv.conf(5); this machine's own where it names none."""
    try:
        lines = path.read_text("ascii", "replace").splitlines()
    except OSError:
        lines = []
    words = [line.split() for line in lines]
    named = [word[1] for word in words if len(word) > 1 and word[0] == "nameserver"]
    return [(one, 53) for one in named if _is_address(one)] or [("127.0.0.1", 53)]


def _is_address(text: str) -> bool:
    family = socket.AF_INET6 if ":" in text else socket.AF_INET
    try:
        socket.inet_pton(family, text.partition("%")[0])
    except OSError:
        return False
    return True
