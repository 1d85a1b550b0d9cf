"""Authentication-Results (RFC 8601): written from our results, and read far enough to know whose it is.

Reasons go into comments, cut to what RFC 5322 allows there. Reading uses the authres library; what it cannot read
still gives its authserv-id, so that a malformed forgery is removed as well. Linear; never raises.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from gateway.mail.domain import to_a_label
from gateway.mail.header import decode_words
from gateway.types import AuthResult

_REASON = 160  # characters
_VALUE = 255
_MAX_READ = 20_000
_COMMENT_UNSAFE = re.compile(r"[^\x20-\x7e]|[()\\;]")
# what needs no quotes: a token (RFC 2045 §5.1), or a mailbox or domain behind an "@"
_BARE = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`{|}~-]+|[A-Za-z0-9!#$%&'*+.^_`{|}~-]*@[A-Za-z0-9.-]*[A-Za-z0-9]")
_NAME = re.compile(r"[^A-Za-z0-9._-]+")
_COMMENT_BOUND = re.compile(r"\\.|[()]", re.DOTALL)
_AUTHSERV_ID = re.compile(r'"((?:[^"\\]++|\\.)*+)"|"?([^\s;()"]+)', re.DOTALL)
_VERSION = re.compile(r"/[0-9]+$")


def write(authserv_id: str, results: Sequence[AuthResult]) -> str:
    """The field's value on one line, unfolded."""
    if not results:
        return f"{authserv_id}; none"
    return "; ".join((authserv_id, *(_entry(result) for result in results)))


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
    name = re.sub(r"\\(.)", r"\1", match[1]) if match[1] is not None else match[2]
    name = _VERSION.sub("", name.strip()).strip().rstrip(".").lower()
    return to_a_label(name) or name


def parse(value: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    """(authserv-id, ((method, result), ...)) of a field's value; no results when it cannot be read."""
    return authserv_id_of(value), _results(value)


def _results(value: str) -> tuple[tuple[str, str], ...]:
    import authres

    try:
        header = authres.AuthenticationResultsHeader.parse_value(re.sub(r"[\r\n]+", "", value[:_MAX_READ]))
    except (authres.AuthResError, ValueError, IndexError, RecursionError, AttributeError, TypeError):
        return ()
    return tuple((str(one.method), str(one.result)) for one in header.results)


def _behind_comments(text: str) -> int:
    """Where the first word begins; comments may nest, and one that is never closed is none."""
    position = len(text) - len(text.lstrip())
    while text.startswith("(", position):
        depth = 0
        for match in _COMMENT_BOUND.finditer(text, position):
            depth += {"(": 1, ")": -1}.get(match[0], 0)
            if depth == 0:
                break
        else:
            return position + 1
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
    clean = "".join(char if char.isascii() else "?" for char in text[:_VALUE] if char.isprintable())
    if _BARE.fullmatch(clean):
        return clean
    return '"' + clean.replace("\\", "\\\\").replace('"', '\\"') + '"'
