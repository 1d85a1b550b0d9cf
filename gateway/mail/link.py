"""URLs: those that stand bare in a text, and the host one leads to."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from urllib.parse import unquote

from gateway.mail.domain import to_a_label

MAX_URL = 4096
# A run of characters that no mail reader ends a link at; ZWNJ stays, as Persian paths hold it.
_RUN = re.compile(r"""[^\s<>"'`{}|\\^\[\]،؛«»]{5,4000}""")
_SCHEMES = ("http", "https", "ftp")
_TRAILING = ".,;:!?)*_~…؟،؛»"
_HOST = re.compile(r"^[a-z][a-z0-9+.-]*:/{0,3}([^/?#\\]*)", re.IGNORECASE)


def find_links(text: str) -> Iterator[str]:
    """Bare URLs in order; "www." ones get their scheme."""
    end = 0
    for start in sorted((*_after_schemes(text), *_after_www(text))):
        match = _RUN.match(text, start) if start >= end else None
        if match is None:
            continue
        end = match.end()
        url = _trim(match[0])
        if len(url) > 6:
            yield url if "://" in url[:10] else f"http://{url}"


def _after_schemes(text: str) -> Iterator[int]:
    """Where "http://", "https://" and "ftp://" begin."""
    position = text.find("://")
    while position >= 0:
        before = text[max(0, position - 5) : position].lower()
        scheme = next((name for name in reversed(_SCHEMES) if before.endswith(name)), None)
        scheme = "https" if before.endswith("https") else scheme
        if scheme is not None:
            yield position - len(scheme)
        position = text.find("://", position + 3)


def _after_www(text: str) -> Iterator[int]:
    """Where a "www." begins a word."""
    lower = text.lower() if "WWW." in text or "Www." in text else text
    position = lower.find("www.")
    while position >= 0:
        if position == 0 or not (text[position - 1].isalnum() or text[position - 1] in "@./-_"):
            yield position
        position = lower.find("www.", position + 4)


def _trim(url: str) -> str:
    """Without the punctuation of the sentence around it; a closing bracket stays when the URL opened it."""
    while url and url[-1] in _TRAILING:
        if url[-1] == ")" and url.count("(") >= url.count(")"):
            break
        url = url[:-1]
    return url


@lru_cache(maxsize=8192)
def host_of(url: str) -> str:
    """Lower-case A-label (or the address as written) of the host; "" for URLs without one."""
    match = _HOST.match(url[:MAX_URL].strip())
    if match is None or url[:7].lower() in ("mailto:", "javascr") or url[:5].lower() in ("data:", "cid:"):
        return ""
    authority = match[1].rpartition("@")[2]
    if authority.startswith("["):
        return authority.partition("]")[0] + "]"
    host = authority.partition(":")[0]
    if "%" in host:
        host = unquote(host)
    host = host.replace("。", ".").replace("．", ".").strip(".")
    return to_a_label(host) or host.lower()
