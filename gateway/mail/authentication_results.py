"""Authentication-Results (RFC 8601): written from our results, and read far enough to know whose it is.

Reasons go into comments, cut to what RFC 5322 allows there. Reading uses the authres library; what it cannot read
still gives its authserv-id, so that a malformed forgery is removed as well.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from gateway.types import AuthResult

_REASON = 160
_COMMENT_UNSAFE = re.compile(r"[^\x20-\x7e]|[()\\;]")
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`{|}~@:/-]+")
_COMMENT = re.compile(r"\([^()]*\)")
_AUTHSERV_ID = re.compile(r'\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;()"]+))')


def write(authserv_id: str, results: Sequence[AuthResult]) -> str:
    """The field's value on one line, unfolded."""
    if not results:
        return f"{authserv_id}; none"
    return "; ".join((authserv_id, *(_entry(result) for result in results)))


def authserv_id_of(value: str) -> str:
    """Lower-case authserv-id of a field's value, "" when there is none. Never raises."""
    text = value[:2000]
    for _ in range(8):  # comments may nest
        shorter = _COMMENT.sub(" ", text)
        if shorter == text:
            break
        text = shorter
    match = _AUTHSERV_ID.match(text)
    if match is None:
        return ""
    return (re.sub(r"\\(.)", r"\1", match[1]) if match[1] is not None else match[2]).strip().rstrip(".").lower()


def read(value: str) -> tuple[tuple[str, str], ...]:
    """(method, result) pairs of a field's value; () when it cannot be read. Never raises."""
    import authres

    try:
        header = authres.AuthenticationResultsHeader.parse_value(re.sub(r"[\r\n]+", "", value[:20_000]))
    except (authres.AuthResError, ValueError, IndexError, RecursionError, AttributeError, TypeError):
        return ()
    return tuple((str(one.method), str(one.result)) for one in header.results)


def _entry(result: AuthResult) -> str:
    words = [f"{result.method}={result.result}"]
    if result.method == "dmarc" and result.policy:
        words.append(f"(p={result.policy})")
    reason = _COMMENT_UNSAFE.sub("", result.reason)[:_REASON].strip()
    if reason:
        words.append(f"({reason})")
    words += [f"{name}={_value(value)}" for name, value in _properties(result) if value]
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
    clean = "".join(char for char in text if char.isprintable())[:255]
    if _TOKEN.fullmatch(clean):
        return clean
    return '"' + clean.replace("\\", "\\\\").replace('"', '\\"') + '"'
