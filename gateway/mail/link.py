"""URLs: those that stand bare in a text, and the host one leads to."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from heapq import merge
from urllib.parse import unquote

from gateway.mail.domain import to_a_label

MAX_URL = 4096
_SHORT_URL = 300  # characters that are worth remembering
# A run of characters that no mail reader ends a link at; ZWNJ stays, as Persian paths hold it.
_RUN = re.compile(
    r"""(?:[a-z]{3,5}://(?:[^\s<>"/\[\]@]{0,64}@)?\[[0-9a-f:.]{2,45}\])?[^\s<>"'`{}|\\^\[\]،؛«»“”\u2028]{0,4000}""",
    re.IGNORECASE,
)
_SCHEMES = ("http", "https", "ftp")
# Not part of a link at its end: punctuation of the sentence, and invisible joiners and direction marks
_TRAILING = frozenset(".,;:!?)*_~…؟’\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u2066\u2067\u2068\u2069\ufeff")
_WWW = re.compile(r"www\.")
_SHOUTED_WWW = re.compile(r"www\.", re.IGNORECASE)
_HOST = re.compile(r"[a-z][a-z0-9+.-]*:([/\\]*)([^/?#\\]*)", re.IGNORECASE)
_HOST_END = re.compile(r"[/?#\\@]")


def find_links(text: str) -> Iterator[str]:
    """Bare URLs in order; "www." ones get their scheme. Lazy, linear."""
    has_scheme, has_www = "://" in text, "ww." in text or "WW." in text
    if not has_scheme and not has_www:
        return iter(())
    if has_scheme and has_www:
        return _links_at(merge(_after_schemes(text), _after_www(text)), text)
    return _links_at(_after_schemes(text) if has_scheme else _after_www(text), text)


def _links_at(starts: Iterable[int], text: str) -> Iterator[str]:
    end = 0
    for start in starts:
        match = _RUN.match(text, start) if start >= end else None
        if match is None:
            continue
        end = match.end()
        url = _trim(match[0])
        scheme, separator, rest = url.partition("://")
        if separator and len(scheme) <= 5:
            if rest:
                yield url
        elif len(url) > 6:
            yield f"http://{url}"


def _after_schemes(text: str) -> Iterator[int]:
    """Where "http://", "https://" and "ftp://" begin."""
    position = text.find("://")
    while position >= 0:
        before = text[position - 5 if position > 5 else 0 : position].lower()
        if before.endswith(_SCHEMES):
            yield position - (5 if before == "https" else 4 if before.endswith("http") else 3)
        position = text.find("://", position + 3)


def _after_www(text: str) -> Iterator[int]:
    """Where a "www." begins a word."""
    pattern = _SHOUTED_WWW if "WWW." in text or "Www." in text else _WWW
    for match in pattern.finditer(text):
        position = match.start()
        if position == 0 or not (text[position - 1].isalnum() or text[position - 1] in "@./-_"):
            yield position


def _trim(url: str) -> str:
    """Without the punctuation of the sentence around it; a closing bracket stays when the URL opened it."""
    end = len(url)
    surplus = url.count(")") - url.count("(")
    while end and url[end - 1] in _TRAILING:
        if url[end - 1] == ")":
            if surplus <= 0:
                break
            surplus -= 1
        end -= 1
    return url[:end]


def host_of(url: str) -> str:
    """Lower-case A-label of the host, an address in the form it is written in; "" for URLs without one.

    Read as browsers do (WHATWG URL): backslashes are slashes, and http needs none of them.
    """
    return _host_of_short(url) if len(url) <= _SHORT_URL else _host_of(url)


def _host_of(url: str) -> str:
    match = _HOST.match(url[:MAX_URL].strip())
    if match is None:
        return ""
    if len(match[1]) < 2 and match[0].partition(":")[0].lower() not in _SCHEMES:
        return ""  # mailto:, tel:, data:, javascript: ...
    authority = match[2].rpartition("@")[2].lower()
    if authority.startswith("["):
        return authority.partition("]")[0] + "]"
    host = authority.partition(":")[0]
    if "%" in host:
        host = _HOST_END.split(unquote(host), maxsplit=1)[0].lower()
    host = host.strip().strip(".")
    return to_a_label(host) or host


_host_of_short = lru_cache(maxsize=8192)(_host_of)
