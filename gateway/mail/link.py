"""URLs: those that stand bare in a text, and the host one leads to."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from urllib.parse import unquote

from gateway.mail.domain import to_a_label

MAX_URL = 4096
# A run of characters that no mail reader ends a link at; ZWNJ stays, as Persian paths hold it.
_BARE = re.compile(
    r"""(?:https?|ftp)://[^\s<>"'`{}|\\^\[\]،؛«»]{2,4000}|(?<![\w@./-])www\.[^\s<>"'`{}|\\^\[\]،؛«»]{3,4000}""",
    re.IGNORECASE,
)
_TRAILING = ".,;:!?)*_~…؟،؛»"
_HOST = re.compile(r"^[a-z][a-z0-9+.-]*:/{0,3}([^/?#\\]*)", re.IGNORECASE)


def find_links(text: str) -> Iterator[str]:
    """Bare URLs in order; "www." ones get their scheme."""
    if "://" not in text and "www." not in text.lower():
        return
    for match in _BARE.finditer(text):
        url = _trim(match[0])
        if len(url) > 6:
            yield url if "://" in url[:10] else f"http://{url}"


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
