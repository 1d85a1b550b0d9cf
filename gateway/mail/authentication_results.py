"""Authentication-Results (RFC 8601): written from our results, and read far enough to know whose it is.

Reasons go into comments, cut to what RFC 5322 allows there; whatever came from outside is quoted. Reading is strict
(resinfo.py), but what cannot be read still gives its authserv-id, so that a malformed forgery is removed as well: a
field is taken for ours when any reader might take it so (RFC 8601 §5), and for anybody's when it names nobody.
Linear; never raises. Limits: _MAX_READ characters of a field are looked at, as the authserv-id comes first.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from gateway.mail.domain import to_a_label
from gateway.mail.header import decode_words
from gateway.mail.resinfo import read
from gateway.types import AuthResult

_REASON = 160  # characters
_VALUE = 255
_MAX_READ = 20_000
_COMMENT_UNSAFE = re.compile(r"[^\x20-\x7e]|[()\\;]")
# what needs no quotes: a token (RFC 2045 §5.1), or a mailbox or domain behind an "@"
_BARE = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`{|}~-]+|[A-Za-z0-9!#$%&'*+.^_`{|}~-]*@[A-Za-z0-9.-]*[A-Za-z0-9]")
_NAME = re.compile(r"[^A-Za-z0-9._-]+")
_COMMENT_BOUND = re.compile(r"\\.|[()]", re.DOTALL)
_AUTHSERV_ID = re.compile(r'"((?>(?:[^"\\]++|\\.)*))"|"?([^\s;()"]+)', re.DOTALL)
_VERSION = re.compile(r"/[0-9]+$")
_SPACED_VERSION = re.compile(r"\s[0-9]+\s*$")
_TOKEN = re.compile(r'\\.|[();"]|[^\\();"]++|\\', re.DOTALL)


def write(authserv_id: str, results: Sequence[AuthResult]) -> str:
    """The field's value on one line, unfolded. The version is left out: it is 1 (RFC 8601 §2.2)."""
    name = _value(to_a_label(authserv_id) or authserv_id)
    if not results:
        return f"{name}; none"
    return "; ".join((name, *(_entry(result) for result in results)))


def may_be_of(value: str, hosts: Collection[str], domains: Collection[str] = ()) -> bool:
    """Might a reader take this field for one that these hosts, or hosts of these domains, have written?

    Args:
        hosts: names of servers, in any spelling.
        domains: names that stand for themselves and everything below them.
    """
    claimed = {authserv_id_of(value), _bare_id(value)}
    if any(not name or "=" in name for name in claimed):
        return True  # no authserv-id: some servers write such fields themselves
    named = {host.lower().rstrip(".") for host in hosts} | {to_a_label(host) for host in hosts}
    below = tuple(f".{domain.lower()}" for domain in domains)
    return bool(claimed & named) or any(f".{name}".endswith(below) for name in claimed)


def authserv_id_of(value: str) -> str:
    """Lower-case authserv-id of a field's value, "" when there is none.

    Comments before it, quotes, a version behind it and the final dot of a host name do not matter: what a lenient
    reader might take for a name is that name.
    """
    text = "".join(char for char in value[:_MAX_READ] if char.isprintable() or char.isspace())
    text = decode_words(text) if "=?" in text else text
    match = _AUTHSERV_ID.match(text, _behind_comments(text))
    if match is None:
        return ""
    return _normal(re.sub(r"\\(.)", r"\1", match[1]) if match[1] is not None else match[2])


def _bare_id(value: str) -> str:
    """The authserv-id for readers that drop all comments, quotes and white space first."""
    text = "".join(char for char in value[:_MAX_READ] if char.isprintable() or char.isspace())
    pieces, depth = [], 0
    for match in _TOKEN.finditer(text):
        depth = max(0, depth + {"(": 1, ")": -1}.get(match[0], 0))
        if match[0] == ";" and not depth:
            break
        if not depth and match[0] not in ("(", ")", '"'):
            pieces.append(match[0].removeprefix("\\"))
    return _normal("".join(_SPACED_VERSION.sub("", "".join(pieces)).split()))


def _normal(name: str) -> str:
    name = _VERSION.sub("", name.strip()).strip().rstrip(".").lower()
    return to_a_label(name) or name


def parse(value: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    """(authserv-id, ((method, result), ...)) of a field's value; no results when it cannot be read to its end."""
    return authserv_id_of(value), tuple((one.method, one.result) for one in read(value) or ())


def _behind_comments(text: str) -> int:
    """Where the first word begins; comments may nest. Behind everything where one is never closed."""
    position = len(text) - len(text.lstrip())
    while text.startswith("(", position):
        depth = 0
        for match in _COMMENT_BOUND.finditer(text, position):
            depth += {"(": 1, ")": -1}.get(match[0], 0)
            if depth == 0:
                break
        else:
            return len(text)
        position = match.end()
        position += len(text) - position - len(text[position:].lstrip())
    return position


def _entry(result: AuthResult) -> str:
    words = [f"{result.method}={_NAME.sub('', result.result) or 'none'}"]
    if result.method == "dmarc" and result.policy:
        words.append(f"(p={_COMMENT_UNSAFE.sub('', result.policy)[:20]})")
    reason = _COMMENT_UNSAFE.sub("", result.reason)[:_REASON].strip()
    if reason:
        words.append(f"({reason})")
    words += [f"{_NAME.sub('', name)}={_value(value)}" for name, value in _properties(result) if value]
    return " ".join(words)


def _properties(result: AuthResult) -> list[tuple[str, str]]:
    if result.method == "spf":
        named = [("smtp.helo" if result.identity == "helo" else "smtp.mailfrom", result.domain)]
    elif result.method == "dkim":
        named = [("header.d", result.domain), ("header.s", result.selector), ("header.i", result.identity)]
    elif result.method == "dmarc":
        named = [("header.from", result.domain)]
    elif result.method == "iprev":
        named = [("policy.iprev", result.identity)]
    else:
        named = []
    return named + list(result.properties)


def _value(text: str) -> str:
    """A value as RFC 8601 §2.2 takes it: bare, or a quoted string. ASCII only, as the next hop may know no SMTPUTF8."""
    clean = text[:_VALUE]
    if not (clean.isascii() and clean.isprintable()):
        clean = "".join(char if char.isascii() else "?" for char in clean if char.isprintable())
    if _BARE.fullmatch(clean):
        return clean
    return '"' + clean.replace("\\", "\\\\").replace('"', '\\"') + '"'
