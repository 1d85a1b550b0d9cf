"""Who the client is, as proxies before us say: the PROXY header, versions 1 and 2 (HAProxy's proxy-protocol.txt),
XCLIENT and XFORWARD (Postfix's XCLIENT_README and XFORWARD_README); believed of [smtp] trusted_proxies alone.

A PROXY header stands before everything else, so it is never guessed at: [smtp] proxy_protocol says that trusted proxies
begin with one, and a connection of theirs without one is closed. One that names nobody (LOCAL, UNKNOWN, a family that
is no TCP) leaves the proxy itself as the client. Parsers have no I/O and take a bounded number of bytes; TLVs are read
over.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from typing import NamedTuple

from gateway.listeners.command import parse_helo
from gateway.types import Client

HEADER_S = 5.0  # a header may take so long; the specification asks for at least 3
_V1_MAX = 107  # bytes, with CRLF
_V2_MAX = 4096  # bytes behind the first 16; addresses take 36, the rest are TLVs
_V1 = re.compile(
    rb"PROXY (?:TCP([46]) ([0-9A-Fa-f:.]{2,39}) ([0-9A-Fa-f:.]{2,39}) ([0-9]{1,5}) ([0-9]{1,5})|UNKNOWN.*)"
)
_V1_START = b"PROXY "
_V2_START = b"\r\n\r\n\0\r\nQUIT\n"
_TCP4, _TCP6 = 0x11, 0x21
_ATTRIBUTE = re.compile(r"([A-Za-z]{1,20})=((?:[!-*,-<>-~]|\+[0-9A-Fa-f]{2}){1,765})")  # xtext, RFC 3461 §4
_UNKNOWN = ("[UNAVAILABLE]", "[TEMPUNAVAIL]")
_XCLIENT = ("NAME", "ADDR", "PORT", "PROTO", "HELO", "LOGIN", "DESTADDR", "DESTPORT")
_XFORWARD = ("NAME", "ADDR", "PORT", "PROTO", "HELO", "IDENT", "SOURCE")
WORDS = (f"XCLIENT {' '.join(_XCLIENT)}", f"XFORWARD {' '.join(_XFORWARD)}")  # in the answer to EHLO

Endpoint = tuple[str, int]  # address, port


class ProxyError(Exception):
    """What came is no PROXY header; the words say why, "" where nothing came."""


class Named(NamedTuple):
    """What a proxy said of a client; None is what it did not say, "" or 0 what it says nobody knows."""

    ip: str | None = None
    port: int | None = None
    helo: str | None = None
    protocol: str | None = None  # SMTP or ESMTP
    ident: str | None = None  # the proxy's id of the message


NOBODY = Named()


class Proxies:
    """Whose word is taken."""

    def __init__(self, networks: Iterable[str]) -> None:
        self._networks = [ipaddress.ip_network(one, strict=False) for one in networks]

    def __contains__(self, ip: str) -> bool:
        if not self._networks:
            return False
        try:
            address = ipaddress.ip_address(ip)
        except ValueError:
            return False
        return any(address in network for network in self._networks)


async def read_header(buffer: bytearray, more: Callable[[], Awaitable[bool]]) -> Endpoint | None:
    """Take the PROXY header off the buffer; `more` adds to it, False at the end. Raises ProxyError."""
    while (found := parse_header(bytes(buffer[: 16 + _V2_MAX]))) is None:
        if not await more():
            raise ProxyError("the connection ended within it" if buffer else "")  # "": a check whether we are there
    endpoint, size = found
    del buffer[:size]
    return endpoint


def parse_header(start: bytes) -> tuple[Endpoint | None, int] | None:
    """The client, None when nobody is named, and the header's length; None for a header that goes on.

    Raises ProxyError, at the first byte that cannot be one's.
    """
    if start.startswith(_V2_START):
        return _parse_v2(start)
    if start.startswith(_V1_START):
        return _parse_v1(start)
    if _V1_START.startswith(start) or _V2_START.startswith(start):
        return None
    raise ProxyError("it does not begin with one")


def _parse_v1(start: bytes) -> tuple[Endpoint | None, int] | None:
    end = start.find(b"\r\n", 0, _V1_MAX)
    if end < 0:
        if len(start) >= _V1_MAX:
            raise ProxyError("version 1: too long")
        return None
    match = _V1.fullmatch(start[:end])
    if match is None:
        raise ProxyError("version 1: cannot be read")
    if match[1] is None:
        return None, end + 2
    version = int(match[1])
    source = _address(match[2].decode("ascii"), version)
    _address(match[3].decode("ascii"), version)
    port = int(match[4])
    if not port < 65_536 > int(match[5]):
        raise ProxyError("version 1: no port")
    return (source, port), end + 2


def _parse_v2(start: bytes) -> tuple[Endpoint | None, int] | None:
    if len(start) < 16:
        return None
    version, command, family = start[12] >> 4, start[12] & 0xF, start[13]
    length = int.from_bytes(start[14:16], "big")
    if version != 2 or command > 1:
        raise ProxyError("version 2: unknown version or command")
    if length > _V2_MAX:
        raise ProxyError("version 2: too long")
    if len(start) < 16 + length:
        return None
    size = {_TCP4: 4, _TCP6: 16}.get(family)
    if command == 0 or size is None:
        return None, 16 + length
    if length < 2 * size + 4:
        raise ProxyError("version 2: too short for its addresses")
    packed = start[16 : 16 + size]
    port = int.from_bytes(start[16 + 2 * size : 18 + 2 * size], "big")
    return (_plain(str(ipaddress.ip_address(packed))), port), 16 + length


def _address(text: str, version: int) -> str:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise ProxyError("version 1: no address") from None
    if address.version != version:
        raise ProxyError("version 1: an address of the other family")
    return _plain(str(address))


def _plain(ip: str) -> str:
    """An IPv4 address that is mapped into IPv6 as IPv4."""
    address = ipaddress.ip_address(ip)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


# --- XCLIENT, XFORWARD ------------------------------------------------------------------------------------------------


def parse_xclient(argument: str) -> Named | None:
    """None for what cannot be read."""
    return _parse(argument, _XCLIENT)


def parse_xforward(argument: str) -> Named | None:
    """None for what cannot be read."""
    return _parse(argument, _XFORWARD)


def joined(before: Named, said: Named) -> Named:
    """What was said before, and what is said now: an attribute holds until it is said again."""
    return before._replace(**{name: value for name, value in said._asdict().items() if value is not None})


def as_named(client: Client, *said: Named) -> Client:
    """The client that is meant; what comes later counts more. Without an address it is the proxy itself."""
    for one in said:
        if one.ip:
            client = replace(client, ip=one.ip, port=one.port or 0)
        if one.helo is not None:
            client = replace(client, helo=one.helo)
        if one.protocol:
            client = replace(client, protocol=one.protocol)
    return client


def _parse(argument: str, known: tuple[str, ...]) -> Named | None:
    found: dict[str, str] = {}
    for word in argument.split():
        match = _ATTRIBUTE.fullmatch(word)
        if match is None or match[1].upper() not in known or match[1].upper() in found:
            return None
        value = "" if match[2].upper() in _UNKNOWN else _decoded(match[2])
        if value is None:
            return None
        found[match[1].upper()] = value
    ip, port = _ip(found.get("ADDR")), found.get("PORT")
    is_port = not port or (port.isascii() and port.isdecimal() and len(port) <= 5 and int(port) < 65_536)
    if not found or (found.get("ADDR") and not ip) or not is_port:
        return None
    proto, helo = found.get("PROTO"), found.get("HELO")
    return Named(
        ip,
        None if port is None else int(port or 0),
        None if helo is None else parse_helo(helo) or "",
        None if proto is None else "ESMTP" if proto.upper() == "ESMTP" else "SMTP",
        found.get("IDENT"),
    )


def _decoded(xtext: str) -> str | None:
    """None for what has controls in it, is too long or is no UTF-8."""
    try:
        text = re.sub(rb"\+([0-9A-Fa-f]{2})", lambda match: bytes((int(match[1], 16),)), xtext.encode("ascii")).decode(
            "utf-8"
        )
    except UnicodeDecodeError:
        return None
    return text if len(text) <= 255 and text.isprintable() else None


def _ip(text: str | None) -> str | None:
    """None when it was not said, "" for what is no address."""
    if text is None:
        return None
    is_six = text[:5].upper() == "IPV6:"
    try:
        address = ipaddress.ip_address(text[5:] if is_six else text)
    except ValueError:
        return ""
    return _plain(str(address)) if is_six == (address.version == 6) and "%" not in text else ""
