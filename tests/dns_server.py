"""A small real DNS server for tests: UDP and TCP on one free port of 127.0.0.1, zones as in tests/fakes.py.

    with DnsServer({"example.org": {"A": ["192.0.2.1"]}}, {"slow.example.org": Slow(0.2)}) as server:
        resolver = CachingResolver([server.address], timeout_s=1.0)

Behaviours, for each name: "silent" never answers, "truncate" answers over UDP with the TC bit alone, Slow(s) answers late.
A zone that is "servfail" or "refused" instead of a dict answers with that code. `queries` tells what came in.
"""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dnslib import AAAA, CNAME, MX, NS, PTR, QTYPE, RR, SOA, TXT, A, DNSError, DNSRecord

from tests.fakes import Zones

_CODES = {"nxdomain": 3, "servfail": 2, "refused": 5}


@dataclass(frozen=True)
class Slow:
    """Answers after so many seconds."""

    seconds: float


class DnsServer:
    """Starts when it is entered, stops when it is left."""

    def __init__(
        self,
        zones: Zones,
        behaviours: Mapping[str, str | Slow] | None = None,
        *,
        ttl_s: int = 300,
        negative_ttl_s: int = 30,
    ) -> None:
        self.zones = zones
        self.behaviours = dict(behaviours or {})
        self.ttl_s = ttl_s
        self.negative_ttl_s = negative_ttl_s
        self.queries: list[tuple[str, str, str]] = []  # name, type, "udp" or "tcp"
        self.port = 0
        self._servers: list[socketserver.BaseServer] = []

    @property
    def address(self) -> str:
        """host:port, as [dns] nameservers takes it."""
        return f"127.0.0.1:{self.port}"

    def __enter__(self) -> DnsServer:
        for _ in range(20):
            udp = _Udp(("127.0.0.1", 0), _UdpHandler)
            try:
                tcp = _Tcp(udp.server_address, _TcpHandler)
            except OSError:  # the port is taken for TCP
                udp.server_close()
                continue
            self.port = udp.server_address[1]
            break
        for server in (udp, tcp):
            server.dns = self
            threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
            self._servers.append(server)
        return self

    def __exit__(self, *_: object) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def answer(self, packet: bytes, protocol: str) -> bytes | None:
        """The reply's bytes; None for silence."""
        try:
            request = DNSRecord.parse(packet)
        except DNSError:
            return None
        name = str(request.q.qname).rstrip(".").lower()
        rdtype = QTYPE[request.q.qtype]
        self.queries.append((name, rdtype, protocol))
        behaviour = self.behaviours.get(name)
        if behaviour == "silent":
            return None
        if isinstance(behaviour, Slow):
            time.sleep(behaviour.seconds)
        reply = request.reply()
        if behaviour == "truncate" and protocol == "udp":
            reply.header.tc = 1
        else:
            self._fill(reply, name, rdtype)
        return reply.pack()

    def _fill(self, reply: DNSRecord, name: str, rdtype: str) -> None:
        for _ in range(8):
            entry = self.zones.get(name)
            if entry is None or isinstance(entry, str):
                below = entry is None and any(other.endswith("." + name) for other in self.zones)
                reply.header.rcode = 0 if below or entry == "nodata" else _CODES[entry or "nxdomain"]
                break
            for record in entry.get(rdtype, ()):
                reply.add_answer(RR(name, getattr(QTYPE, rdtype), rdata=_rdata(rdtype, record), ttl=self.ttl_s))
            if "CNAME" not in entry or rdtype == "CNAME":
                break
            alias = str(entry["CNAME"][0]).rstrip(".")
            reply.add_answer(RR(name, QTYPE.CNAME, rdata=CNAME(alias), ttl=self.ttl_s))
            name = alias.lower()
        if reply.header.rcode in (0, 3) and not any(rr.rtype == getattr(QTYPE, rdtype) for rr in reply.rr):
            times = (1, 3600, 600, 86400, self.negative_ttl_s)
            reply.add_auth(RR("example", QTYPE.SOA, rdata=SOA("ns.example", "host.example", times), ttl=3600))


def _rdata(rdtype: str, record: str | bytes) -> Any:
    if rdtype == "TXT":
        content = record.encode() if isinstance(record, str) else record
        return TXT([content[start : start + 255] for start in range(0, len(content), 255)] or [b""])
    text = str(record)
    if rdtype == "MX":
        preference, _, exchange = text.partition(" ")
        return MX(exchange, int(preference))
    return {"A": A, "AAAA": AAAA, "PTR": PTR, "NS": NS, "CNAME": CNAME}[rdtype](text)


class _Udp(socketserver.ThreadingUDPServer):
    daemon_threads = True
    dns: DnsServer


class _Tcp(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    dns: DnsServer


class _UdpHandler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        packet, server_socket = self.request
        reply = self.server.dns.answer(packet, "udp")
        if reply is not None:
            with contextlib.suppress(OSError):  # the server was stopped while a slow answer was due
                server_socket.sendto(reply, self.client_address)


class _TcpHandler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        self.request.settimeout(2.0)
        with contextlib.suppress(OSError):
            while (head := self._read(2)) and (packet := self._read(int.from_bytes(head, "big"))):
                reply = self.server.dns.answer(packet, "tcp")
                if reply is None:
                    return
                self.request.sendall(len(reply).to_bytes(2, "big") + reply)

    def _read(self, size: int) -> bytes:
        content = b""
        while len(content) < size:
            piece = self.request.recv(size - len(content), socket.MSG_WAITALL)
            if not piece:
                return b""
            content += piece
        return content
