"""A message's HTML made safe to look at: no script, no style that hides, nothing fetched, no link that leads away.

The result is shown in a sandboxed frame under its own content security policy; either alone would hold.
"""

from __future__ import annotations

import html

import nh3

from gateway.mail import parse
from gateway.types import Message

HEADERS = {
    "Content-Security-Policy": "sandbox; default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'self'",
    "X-Frame-Options": "SAMEORIGIN",
}
_MAX_CHARS = 1_000_000
_TAGS = set(
    "a abbr b blockquote br caption center code dd div dl dt em font h1 h2 h3 h4 h5 h6 hr i li ol p pre q s small span "
    "strike strong sub sup table tbody td tfoot th thead tr u ul img".split()
)
_DROPPED = {"script", "style", "template", "title", "noscript"}
_STYLE = "body{font:15px/1.5 system-ui,'Noto Sans','Noto Sans Arabic',sans-serif;margin:.8rem;overflow-wrap:anywhere}"
_MARKS = "a{text-decoration:underline dotted}img{border:1px dashed #888}pre{white-space:pre-wrap}"


def page(content: bytes) -> str:
    """The message as a whole page: its HTML part if it has one, else its text."""
    message = parse(content)
    source = next((part.text for part in message.parts if part.html is not None and part.text), None)
    body = _clean(source) if source else _plain(message)
    return (
        f'<!doctype html><html><head><meta charset="utf-8"><style>{_STYLE}{_MARKS}</style></head>'
        f'<body dir="auto">{body}</body></html>'
    )


def _plain(message: Message) -> str:
    return f'<pre dir="auto">{html.escape(message.text[:_MAX_CHARS])}</pre>'


def _clean(source: str) -> str:
    """No address survives: links are listed beside the frame, an image keeps its alternative text only."""
    return nh3.clean(
        source[:_MAX_CHARS],
        tags=_TAGS,
        clean_content_tags=_DROPPED,
        attributes={"*": {"dir", "lang", "align"}, "img": {"alt"}, "td": {"colspan", "rowspan"}},
        link_rel=None,
    )
