"""A small real DNS server for tests: UDP and TCP on one free port of 127.0.0.1, zones as in tests/fakes.py.

    with DnsServer({"example.org": {"A": ["192.0.2.1"]}}, {"slow.example.org": Slow(0.2)}) as server:
        resolver = CachingResolver([server.address], timeout_s=1.0)

Behaviours, for each name ("*" for all others):

    "silent"           never answers                      Slow(s)           answers late
    "truncate"         TC alone over UDP, whole over TCP  "truncate-only"   and over TCP the connection ends
    "wrong-id"         another id                         "wrong-question"  the answer to another question
    "wrong-then-right" both, and then the true answer     "garbage"         bytes that are no DNS, thirty times
    "lame"             a referral to others               "no-edns"         FORMERR to what has EDNS
    "too-much"         4,000 records over TCP             "authentic"       the AD bit, if it was asked for

A zone that is "servfail" or "refused" instead of a dict answers with that code; "*.example" stands for every name below
example that is not there, as in a zone file. `queries` tells what came in. `behaviours` and `zones` may be changed while it
runs. `python -m tests.dns_server` serves in a process of its own (see `apart`).
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
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

    def answer(self, packet: bytes, protocol: str) -> list[bytes]:
        """The packets that are sent back; none for silence."""
        try:
            request = DNSRecord.parse(packet)
        except DNSError:
            return []
        name = str(request.q.qname).rstrip(".").lower()
        rdtype = QTYPE[request.q.qtype]
        self.queries.append((name, rdtype, protocol))
        behaviour = self.behaviours.get(name, self.behaviours.get("*"))
        if behaviour == "silent" or (behaviour == "truncate-only" and protocol == "tcp"):
            return []
        if behaviour == "garbage":
            return [b"\xff" * 40] * 30
        if isinstance(behaviour, Slow):
            time.sleep(behaviour.seconds)
        return self._packets(request, name, rdtype, str(behaviour), protocol)

    def _packets(self, request: DNSRecord, name: str, rdtype: str, behaviour: str, protocol: str) -> list[bytes]:
        reply = request.reply()
        reply.header.ad = 0  # dnslib copies the question's
        if behaviour in ("truncate", "truncate-only", "too-much") and protocol == "udp":
            reply.header.tc = 1
        elif behaviour == "too-much":
            record = b"\xc0\x0c\0\1\0\1\0\0\1\0\0\4\xc0\0\2\1"
            head = reply.pack()
            answers = (4000).to_bytes(2, "big") + b"\0\0\0\0"
            return [head[:6] + answers + head[12 : 12 + len(name) + 6] + record * 4000]
        elif behaviour == "lame":
            reply.header.ra = reply.header.aa = 0
            reply.add_auth(RR("example", QTYPE.NS, rdata=NS("ns.elsewhere.example"), ttl=3600))
        elif behaviour == "no-edns" and request.header.ar:
            reply.header.rcode = 1
        else:
            self._fill(reply, name, rdtype)
        if behaviour == "authentic" and request.header.ad:
            reply.header.ad = 1
        return _spoilt(reply, behaviour)

    def _fill(self, reply: DNSRecord, name: str, rdtype: str) -> None:
        for _ in range(8):
            entry = self.zones.get(name)
            if entry is None and not any(other.endswith("." + name) for other in self.zones):
                entry = self._wildcard(name)
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

    def _wildcard(self, name: str) -> Mapping[str, Any] | str | None:
        """RFC 4592."""
        while name:
            name = name.partition(".")[2]
            if f"*.{name}" in self.zones or name in self.zones:
                return self.zones.get(f"*.{name}")
        return None


def _spoilt(reply: DNSRecord, behaviour: str) -> list[bytes]:
    """As a forger would send it, who knows either the id or the question."""
    right = reply.pack()
    wrong_id = (reply.header.id ^ 1).to_bytes(2, "big") + right[2:]
    wrong_question = right[:13] + bytes((right[13] ^ 1,)) + right[14:]
    return {
        "wrong-id": [wrong_id],
        "wrong-question": [wrong_question],
        "wrong-then-right": [wrong_id, wrong_question, right],
    }.get(behaviour, [right])


@contextlib.contextmanager
def apart(zones: Zones, behaviours: Mapping[str, str | float] | None = None) -> Iterator[str]:
    """host:port of a server in a process of its own, whose CPU is not ours. A behaviour that is a number is Slow."""
    root = Path(__file__).parent.parent
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.dns_server"],
        cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ,
    )  # fmt: skip
    assert process.stdin and process.stdout
    try:
        process.stdin.write(json.dumps([zones, behaviours or {}]) + "\n")
        process.stdin.flush()
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def _serve() -> None:
    zones, said = json.loads(sys.stdin.readline())
    behaviours = {name: Slow(one) if isinstance(one, int | float) else one for name, one in said.items()}
    with DnsServer(zones, behaviours) as server:
        print(server.address, flush=True)
        sys.stdin.read()


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
        for reply in self.server.dns.answer(packet, "udp"):
            with contextlib.suppress(OSError):  # the server was stopped while a slow answer was due
                server_socket.sendto(reply, self.client_address)


class _TcpHandler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        self.request.settimeout(2.0)
        with contextlib.suppress(OSError):
            while (head := self._read(2)) and (packet := self._read(int.from_bytes(head, "big"))):
                replies = self.server.dns.answer(packet, "tcp")
                if not replies:
                    return
                for reply in replies:
                    self.request.sendall(len(reply).to_bytes(2, "big") + reply)

    def _read(self, size: int) -> bytes:
        content = b""
        while len(content) < size:
            piece = self.request.recv(size - len(content), socket.MSG_WAITALL)
            if not piece:
                return b""
            content += piece
        return content


if __name__ == "__main__":
    _serve()
