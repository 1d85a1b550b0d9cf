"""Who the client is, told to a server behind us: XCLIENT and XFORWARD (Postfix's XCLIENT_README and XFORWARD_README),
and the PROXY header, versions 1 and 2 (HAProxy's proxy-protocol.txt, 2.x).

XCLIENT and XFORWARD are used where the server offers them, which Postfix and Dovecot do to clients they trust only.
XCLIENT makes the server treat the client as its own; XFORWARD tells its log. Values are xtext (RFC 3461 §4). No I/O.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Collection, Mapping

from gateway.types import Client

_MAX_COMMAND = 510  # bytes without CRLF (RFC 5321 §4.5.3.1.4)
_MAX_NAME = 255
_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_LOCAL, _PROXY = 0x20, 0x21  # version 2, and the command
_TCP4, _TCP6 = 0x11, 0x21

Endpoint = tuple[str, int]


def xclient(client: Client, offered: str) -> str:
    """The command, with what of it is offered; "" when the address is not."""
    known = _attributes(client)
    names = [name for name in ("NAME", "ADDR", "PORT", "PROTO", "HELO") if name in offered.upper().split()]
    return f"XCLIENT {_written(known, names)}" if "ADDR" in names else ""


def xforward(client: Client, queue_id: str, offered: str) -> list[str]:
    """The commands, each within the limit of a line."""
    known = _attributes(client) | {"IDENT": queue_id, "SOURCE": "REMOTE"}
    lines: list[str] = []
    words = offered.upper().split()
    for names in (("NAME", "ADDR", "PORT"), ("PROTO", "HELO", "IDENT", "SOURCE")):
        written = _written(known, [name for name in names if name in words])
        if written:
            lines.append(f"XFORWARD {written}")
    return lines


def _attributes(client: Client) -> dict[str, str]:
    proto = "ESMTP" if "ESMTP" in client.protocol or client.protocol.startswith(("UTF8", "LMTP")) else "SMTP"
    return {
        "NAME": client.name,
        "ADDR": f"IPV6:{client.ip}" if ":" in client.ip else client.ip,
        "PORT": str(client.port) if client.port else "",
        "PROTO": proto,
        "HELO": client.helo,
    }


def _written(known: Mapping[str, str], names: Collection[str]) -> str:
    words = [f"{name}={_xtext(known[name])}" for name in names]
    while len(" ".join(words)) > _MAX_COMMAND - len("XFORWARD "):  # a name of hundreds of odd characters
        longest = max(range(len(words)), key=lambda index: len(words[index]))
        words[longest] = f"{words[longest].partition('=')[0]}=[UNAVAILABLE]"
    return " ".join(words)


def _xtext(value: str) -> str:
    """ "[UNAVAILABLE]" for what is not known."""
    if not 0 < len(value) <= _MAX_NAME:
        return "[UNAVAILABLE]"
    coded = value.encode("utf-8", "replace")
    return "".join(chr(byte) if 0x21 <= byte <= 0x7E and byte not in b"+=" else f"+{byte:02X}" for byte in coded)


def proxy_header(version: str, client: Client | None, own: Endpoint, destination: Endpoint) -> bytes:
    """The header that begins a connection; with no client it says that the connection is our own.

    Args:
        version: "v1" or "v2".
        own: our address and port: in version 1 we are the client then, as Postfix does not take UNKNOWN.
        destination: the server's.
    """
    if client is None and version == "v2":
        return _SIGNATURE + struct.pack(">BBH", _LOCAL, 0, 0)
    client = client or Client(*own)
    source, target = ipaddress.ip_address(client.ip), ipaddress.ip_address(destination[0])
    if source.version != target.version:  # both of one family: IPv4 addresses as mapped ones
        source, target = _as_ipv6(source), _as_ipv6(target)
    if version == "v1":
        return f"PROXY TCP{source.version} {source} {target} {client.port} {destination[1]}\r\n".encode("ascii")
    body = source.packed + target.packed + struct.pack(">HH", client.port, destination[1])
    family = _TCP4 if source.version == 4 else _TCP6
    return _SIGNATURE + struct.pack(">BBH", _PROXY, family, len(body)) + body


def _as_ipv6(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> ipaddress.IPv6Address:
    return address if address.version == 6 else ipaddress.IPv6Address(b"\0" * 10 + b"\xff\xff" + address.packed)
