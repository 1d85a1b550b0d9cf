"""Arguments of HELO, EHLO, MAIL and RCPT (RFC 5321 §4.1, 6531), read strictly: what is odd is refused, not guessed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address

from gateway.mail.domain import to_a_label

MAX_LINE = 2048  # RFC 5321 §4.5.3.1.4 says 512; SMTPUTF8 and DSN parameters lengthen it (RFC 6531 §3.4, 3461 §4)
_MAX_PATH = 254  # RFC 5321 §4.5.3.1.3, with its erratum
_MAX_LOCAL = 64  # §4.5.3.1.1, in octets; refused only far beyond, as real senders use more
_PATH = re.compile(r'<(?:@[^:<>\s"]{1,250}:(?!>))?((?>(?:"(?>(?:[^"\\]|\\.)*)"|[^<>"])*))>(?:\s+(.*))?\Z')
_DOT_STRING = re.compile(r"[^\s\x00-\x20\x7f()<>@,;:\\\"\[\]]+")
_QUOTED_STRING = re.compile(r'"(?:[^"\\\x00-\x1f\x7f]|\\[\x20-\x7e])*"')
_ADDRESS_LITERAL = re.compile(r"\[(?:(IPv6:)([0-9a-f:.]{2,45})|([0-9]{1,3}(?:\.[0-9]{1,3}){3}))\]", re.IGNORECASE)
_PARAMETER = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([^\s=\x00-\x1f\x7f]+))?")
_BDAT = re.compile(r"([0-9]{1,20})(\s+LAST)?", re.IGNORECASE)
_HELO = re.compile(r"[^\s\x00-\x20\x7f<>()@\"']{1,255}")


@dataclass(frozen=True, slots=True)
class Path:
    """A reverse- or forward-path and its parameters."""

    address: str  # domain lower-case A-label; "" for <>
    local: str
    domain: str
    parameters: dict[str, str]  # names upper-case; "" for one without a value


def parse_helo(argument: str) -> str | None:
    """The client's name; None when it is none."""
    name = argument.strip()
    return name if _HELO.fullmatch(name) else None


def parse_path(argument: str, keyword: str) -> Path | None:
    """ "FROM:<a@b> SIZE=1" or "TO:<a@b>"; None when it is not one. A source route is dropped (RFC 5321 §4.1.1.3)."""
    if argument[: len(keyword) + 1].upper() != f"{keyword}:":
        return None
    match = _PATH.match(argument[len(keyword) + 1 :].strip())
    if match is None:
        return None
    parameters = _parameters(match[2] or "")
    if parameters is None:
        return None
    text = match[1]
    if text == "":
        return Path("", "", "", parameters)
    if text.lower() == "postmaster" and keyword == "TO":
        return Path("postmaster", "postmaster", "", parameters)
    local, at, domain = text.rpartition("@")
    domain = _domain(domain)
    if not (at and domain and _is_local(local)) or len(text.encode("utf-8", "replace")) > _MAX_PATH + _MAX_LOCAL:
        return None
    return Path(f"{local}@{domain}", local, domain, parameters)


def parse_bdat(argument: str) -> tuple[int, bool] | None:
    """ "1000" or "1000 LAST" (RFC 3030 §2): octets, and whether they end the message; None when it is neither."""
    match = _BDAT.fullmatch(argument)
    return (int(match[1]), bool(match[2])) if match else None


def is_relay_trick(path: Path) -> bool:
    """A local part that asks a server behind us to send on: user%other@ours, other!user@ours, "a@b"@ours."""
    return any(mark in path.local for mark in "%!@")


def _parameters(text: str) -> dict[str, str] | None:
    found: dict[str, str] = {}
    for word in text.split():
        match = _PARAMETER.fullmatch(word)
        if match is None or match[1].upper() in found:
            return None
        found[match[1].upper()] = match[2] or ""
    return found


def _is_local(local: str) -> bool:
    return (
        0 < len(local.encode("utf-8", "surrogateescape")) <= _MAX_LOCAL * 4
        and not any("\ud800" <= char <= "\udfff" for char in local)
        and (_DOT_STRING.fullmatch(local) is not None or _QUOTED_STRING.fullmatch(local) is not None)
    )


def _is_address_literal(text: str) -> bool:
    """RFC 5321 §4.1.3, without its tags for address families to come."""
    match = _ADDRESS_LITERAL.fullmatch(text)
    try:
        return match is not None and ip_address(match[2] or match[3]).version == (6 if match[1] else 4)
    except ValueError:
        return False


def _domain(text: str) -> str:
    if text.startswith("["):
        return text.lower() if _is_address_literal(text) else ""
    if not text or text.startswith((".", "-")) or ".." in text or any(char in text for char in " /\\:;,()<>"):
        return ""
    domain = to_a_label(text)
    is_short = len(domain) < 64 or all(len(label) < 64 for label in domain.split("."))  # RFC 1035 §2.3.4
    return domain if is_short else ""
