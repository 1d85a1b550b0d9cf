"""The URL of a server behind us, with its options (docs/next-hops.md).

smtp://host:port · smtp+mx://domain[:port] · lmtp://host:port · lmtp+unix:/path, each with ?tls=...&proxy=... behind it.
A maildir:/path is no server and has no options.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast, get_args
from urllib.parse import parse_qsl, quote, unquote

from gateway.errors import ConfigError

TlsMode = Literal["none", "opportunistic", "required", "verify", "dane", "dane-only"]

FILES = ("ca", "cert", "key", "password_file")
_OPTIONS = ("tls", "name", *FILES, "user", "proxy")
_HOST = re.compile(r"\[[0-9A-Fa-f:.]+\]|[^\s\[\]:/@|?]+")
FORMS = "write smtp://host:port, smtp+mx://domain, lmtp://host:port, lmtp+unix:/path or maildir:/path"


@dataclass(frozen=True, slots=True)
class NextHopUrl:
    """What an admin wrote about one server."""

    shown: str  # without options: what logs and metrics call it
    is_lmtp: bool
    host: str  # "" for a unix socket; with is_mx the domain whose MX records are looked up
    port: int
    path: str = ""  # of a unix socket
    is_mx: bool = False
    tls: TlsMode = "opportunistic"
    name: str = ""  # the certificate's, where it is not the host's
    ca: str = ""  # PEM file of the authorities that are believed; the system's when empty
    cert: str = ""  # PEM files of the certificate we show, and its key
    key: str = ""
    user: str = ""
    password_file: str = ""
    proxy: Literal["", "v1", "v2"] = ""  # the PROXY header's version, when one is sent


def parse_next_hop(url: str) -> NextHopUrl:
    """Raises ConfigError for what is no server's URL, or for options that are unknown or contradict each other."""
    place, _, query = url.partition("?")
    scheme, _, rest = place.partition(":")
    where = f"next_hop {place}"
    if scheme == "lmtp+unix" and rest:
        found = {"shown": place, "is_lmtp": True, "host": "", "port": 0, "path": rest, "tls": "none"}
    elif scheme in ("smtp", "lmtp", "smtp+mx") and rest.startswith("//"):
        host, port = _host_port(rest[2:].rstrip("/"), 25 if scheme == "smtp+mx" else 0)
        if not host:
            raise ConfigError(f"{where}: {FORMS}")
        found = {"shown": place, "is_lmtp": scheme == "lmtp", "host": host, "port": port, "is_mx": scheme == "smtp+mx"}
    else:
        raise ConfigError(f"{where}: {FORMS}")
    options = dict(parse_qsl(query.replace("+", "%2B"), keep_blank_values=True))
    unknown = [name for name in options if name not in _OPTIONS]
    if unknown or bool(query) != bool(options):
        raise ConfigError(f"{where}: {unknown[0] if unknown else query}: unknown; there are {', '.join(_OPTIONS)}")
    one = NextHopUrl(**cast("dict[str, object]", found | options))  # type: ignore[arg-type]
    fault = _fault(one)
    if fault:
        raise ConfigError(f"{where}: {fault}")
    return one


def with_absolute_files(url: str, base: Path) -> str:
    """The URL with every path in it taken from `base`; what cannot be read as it is."""
    if url.startswith("maildir:"):
        return f"maildir:{base / url.removeprefix('maildir:')}"
    place, mark, query = url.partition("?")
    options = [option.partition("=") for option in query.split("&")] if mark else []
    written = [
        f"{name}={quote(str(base / unquote(value)))}" if name in FILES and value else f"{name}{equals}{value}"
        for name, equals, value in options
    ]
    return place + mark + "&".join(written)


def _host_port(text: str, default_port: int) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if (not colon or text.endswith("]")) and default_port:
        host, port = text, str(default_port)
    if not _HOST.fullmatch(host) or not (port.isascii() and port.isdecimal() and 0 < int(port) < 65_536):
        return "", 0
    return host.strip("[]"), int(port)


def _fault(one: NextHopUrl) -> str:
    """What is wrong with the options, and what to do."""
    if one.tls not in get_args(TlsMode):
        return f"tls={one.tls}: write one of {', '.join(get_args(TlsMode))}"
    if one.proxy not in ("", "v1", "v2"):
        return f"proxy={one.proxy}: write v1 or v2"
    if one.path and one.proxy:
        return "proxy: there are no addresses on a unix socket; leave it out"
    if bool(one.user) != bool(one.password_file):
        return "user and password_file go together; write both or none"
    if one.user and one.tls not in ("verify", "dane-only") and not one.path:
        return "user: the password would go to whoever answers; write tls=verify (or dane-only)"
    if one.key and not one.cert:
        return "key: cert is missing; a file with both may stand in cert alone"
    if (one.ca or one.name) and one.tls != "verify":
        return f"{'ca' if one.ca else 'name'}: nothing is verified with tls={one.tls}; write tls=verify"
    if one.tls == "verify" and one.path and not one.name:
        return "tls=verify: a unix socket has no name; write name=NAME"
    return ""
