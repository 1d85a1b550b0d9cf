"""A message's HTML written anew so that it is safe to look at: no script, no style, nothing fetched, no link that leads
away.

Of the tokens only those are taken that are known, and what is written is a few constant tags and escaped text: there
is no attribute of the message's, no raw text, no foreign element in it, so nothing that a browser could read otherwise
than it was meant. The result stands in a sandboxed frame under its own content security policy: without the rewriting
no script would run and no request leave (Chromium opens an idle connection for a frame in it). Linear in the message;
tree builders are not (50,000 nested elements took one 36 s).
"""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from markupsafe import Markup

from gateway.mail.html import Token, followed, tokenize
from gateway.mail.link import MAX_URL, host_of
from gateway.types import Message
from gateway.web.evidence import Evidence, Mark

STYLE = (
    "body{font:15px/1.5 system-ui,'Noto Sans','Noto Sans Arabic',sans-serif;margin:.8rem;overflow-wrap:anywhere;"
    "color:#1b1f24;background:#fff}"
    "pre{white-space:pre-wrap;font:inherit;margin:0}table{border-spacing:0}td,th{vertical-align:top;padding:0 .2rem}"
    ".link{text-decoration:underline dotted}.to{color:#5b6570;font-size:.85em}"
    ".picture{border:1px dashed #5b6570;color:#5b6570;padding:0 .3rem;font-size:.85em}"
    ".control{background:#b3261e;color:#fff;font:.8em monospace}"
    "mark{background:#ffe89c;color:inherit}sup{font-size:.7em;line-height:0}"
    ".notes{border-block-start:1px solid #d8dee4;margin-block-start:1.5rem;font-size:.85em;color:#414a54}"
)
_STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
HEADERS = {
    "Content-Security-Policy": (
        f"sandbox; default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action 'none'; base-uri 'none'; "
        "frame-ancestors 'self'"
    ),
    "X-Frame-Options": "SAMEORIGIN",
    "X-DNS-Prefetch-Control": "off",
}

MAX_TEXT = 400_000  # characters of HTML, or of text, that are looked at
_MAX_DEPTH = 100
_MAX_SEARCH = 64  # open elements that an end tag looks through
_MAX_TARGET = 100  # characters of an address beside its link; the list of links has all
_MAX_ALTERNATIVE = 500
_INLINE = frozenset("abbr b cite code del em font i ins q s small span strike strong sub sup u".split())
_BLOCK = frozenset(
    "blockquote caption center dd div dl dt h1 h2 h3 h4 h5 h6 li ol p pre table tbody td tfoot th thead tr ul".split()
)
_AS_DIV = frozenset(
    "address article aside body details dir dialog fieldset figure figcaption footer form header legend main menu nav "
    "option section select summary textarea xmp listing plaintext".split()
)
_DROPPED = frozenset("script style title template iframe noembed noframes".split())  # with what is in them
_CELL = frozenset(("td", "th"))
_TABLE = frozenset("table tbody td tfoot th thead tr caption".split())
# start tag -> (open elements it ends, elements it does not look beyond); HTML §13.1.2.4
_ENDS = {
    "li": (frozenset(("li",)), frozenset(("ul", "ol", "table", "td"))),
    "dt": (frozenset(("dt", "dd")), frozenset(("dl", "table", "td"))),
    "dd": (frozenset(("dt", "dd")), frozenset(("dl", "table", "td"))),
    "td": (_CELL, frozenset(("tr", "table"))),
    "th": (_CELL, frozenset(("tr", "table"))),
    "tr": (frozenset(("tr",)), frozenset(("table",))),
    **dict.fromkeys(("tbody", "thead", "tfoot"), (frozenset(("tbody", "thead", "tfoot")), frozenset(("table",)))),
}
_ENDS_P = _BLOCK - _TABLE | {"table"}
_P = (frozenset(("p",)), frozenset("table td th div blockquote li center".split()))
_SAFE_VALUES = {
    "dir": re.compile("ltr|rtl|auto", re.IGNORECASE),
    "align": re.compile("left|right|center", re.IGNORECASE),
    "colspan": re.compile("[0-9]{1,2}"),
    "rowspan": re.compile("[0-9]{1,2}"),
}
_TINY = re.compile(r"\s*[01](?:px)?\s*")
_AUTHORITY = re.compile(r"([a-z][a-z0-9+.-]*:[/\\]*(?:[^/?#\\@]*@)?)([^/?#\\:]*)", re.IGNORECASE)
# what turns the reading direction, and what no screen shows: neither is obeyed
_CONTROL = re.compile("[\u202d\u202e\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f-\\x9f]")


class _Piece(NamedTuple):
    """A tag of ours, or text of the message's (`tag` is None)."""

    tag: str | None
    text: str  # as evidence is looked for in it; a block's tag is a line end


def view(message: Message, evidence: Evidence, picture: str) -> Markup:
    """The HTML parts in their order, or the text of a message without any; `picture`: the word for one."""
    pages = [part.text for part in message.parts if part.html is not None and part.text]
    if not pages:
        return Markup("<pre>{}</pre>").format(text(message.text, evidence))
    writer, room = _Writer(picture), MAX_TEXT
    for page in pages:
        writer.write_page(page[:room])
        room -= len(page[:room])
    return _marked(writer.pieces, evidence)


def is_cut(message: Message) -> bool:
    """Whether the view is only the message's beginning."""
    pages = [len(part.text) for part in message.parts if part.html is not None and part.text]
    return (sum(pages) or len(message.text)) > MAX_TEXT


def text(plain: str, evidence: Evidence) -> Markup:
    """A text with its marks."""
    return _marked([_Piece(None, plain[:MAX_TEXT])], evidence)


def target(url: str) -> str:
    """An address as it is, but for its host, which is shown as the DNS knows it: no letter looks like another."""
    found = _AUTHORITY.match(url[:MAX_URL])
    if found is None or found[2].isascii():
        return url
    return f"{found[1]}{host_of(url)}{url[found.end() :]}"


class _Writer:
    """The state of one writing."""

    def __init__(self, picture: str) -> None:
        self.pieces: list[_Piece] = []
        self._picture = picture
        self._open: list[str] = []
        self._dropped, self._depth = "", 0  # in which element nothing is taken, and how deep in its like
        self._is_in_noscript = self._is_noscript_next = False
        self._link: tuple[str, int] | None = None  # where it leads, the first of its pieces
        self._base = ""

    def write_page(self, source: str) -> None:
        """One page, closed behind itself."""
        self._read(tokenize(source))
        self._end_link()
        self._close(0)
        self._dropped, self._is_noscript_next, self._base = "", False, ""

    def _read(self, tokens: Iterable[Token]) -> None:
        for token in tokens:
            if token.kind == "text":
                self._text(token.value)
            elif self._dropped:
                if token.value == self._dropped:
                    self._depth += 1 if token.kind == "start" else -1
                    self._dropped = self._dropped if self._depth else ""
            elif token.kind == "start":
                self._start(token.value, dict(token.attributes))
            else:
                self._end(token.value)

    def _text(self, data: str) -> None:
        if self._is_noscript_next:  # it comes as one text; mail readers run no scripts and show it
            self._is_noscript_next = False
            if not self._is_in_noscript:  # there is no second level (HTML §4.12.2)
                self._is_in_noscript = True
                self._read(tokenize(data))
                self._is_in_noscript = False
        elif not self._dropped:
            self.pieces.append(_Piece(None, data))

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        if tag in _DROPPED:
            self._dropped, self._depth = tag, 1
        elif tag == "noscript":
            self._is_noscript_next = True
        elif tag == "a":
            self._end_link()
            self._begin_link(attributes.get("href", ""))
        elif tag in ("img", "image", "input"):
            self._image(tag, attributes)
        elif tag in ("br", "hr"):
            self.pieces.append(_Piece(f"<{tag}>", "\n"))
        elif tag == "base":
            self._base = self._base or attributes.get("href", "")
        elif tag in _INLINE or tag in _BLOCK or tag in _AS_DIV:
            self._element("div" if tag in _AS_DIV else tag, attributes)

    def _element(self, tag: str, attributes: dict[str, str]) -> None:
        for ended, bounds in [*([_P] if tag in _ENDS_P else []), *([_ENDS[tag]] if tag in _ENDS else [])]:
            self._close_to(ended, bounds)
        gap = "\n" if tag in _BLOCK else ""
        if len(self._open) >= _MAX_DEPTH:
            self.pieces.append(_Piece("<br>" if gap else "", gap))
            return
        self._open.append(tag)
        safe = "".join(
            f' {name}="{value.lower()}"'
            for name, value in attributes.items()
            if name in _SAFE_VALUES and _SAFE_VALUES[name].fullmatch(value)
        )
        self.pieces.append(_Piece(f"<{tag}{safe}>", gap))

    def _end(self, tag: str) -> None:
        if tag == "noscript":
            self._is_noscript_next = False
        elif tag == "a":
            self._end_link()
        else:
            tag = "div" if tag in _AS_DIV else tag
            self._close_to(frozenset((tag,)), frozenset() if tag in _TABLE else _CELL | {"table"})

    def _close_to(self, ended: frozenset[str], bounds: frozenset[str]) -> None:
        """End the innermost of these and what is in it, unless one of the bounds lies between."""
        for index in range(len(self._open) - 1, max(-1, len(self._open) - 1 - _MAX_SEARCH), -1):
            if self._open[index] in ended:
                self._close(index)
                return
            if self._open[index] in bounds:
                return

    def _close(self, depth: int) -> None:
        while len(self._open) > depth:
            tag = self._open.pop()
            self.pieces.append(_Piece(f"</{tag}>", "\n" if tag in _BLOCK else ""))

    def _begin_link(self, url: str) -> None:
        clean = "".join(url[:MAX_URL].split())
        if clean and not clean.startswith("#"):
            self._link = (followed(clean, self._base) if self._base else clean, len(self.pieces))

    def _end_link(self) -> None:
        """Say where it leads, unless its words do."""
        if self._link is None:
            return
        (url, first), self._link = self._link, None
        said = "".join(piece.text for piece in self.pieces[first:] if piece.tag is None)
        for index in range(first, len(self.pieces)):  # spans of their own: elements in them may end where they like
            if self.pieces[index].tag is None and self.pieces[index].text.strip():
                self.pieces[index] = self.pieces[index]._replace(tag=_IN_LINK)
        shown = target(url)
        if "".join(said.split()).rstrip("/") not in (shown.rstrip("/"), shown.partition("://")[2].rstrip("/")):
            cut = shown if len(shown) <= _MAX_TARGET else f"{shown[:_MAX_TARGET]}…"
            self.pieces += [_Piece(' <bdi class="to" dir="ltr">[→ ', "\n"), _Piece(None, cut), _Piece("]</bdi>", "\n")]

    def _image(self, tag: str, attributes: dict[str, str]) -> None:
        if tag == "input":
            if attributes.get("type", "text").lower() in ("hidden", "image"):
                return
            begins, said = "", attributes.get("value", "") or "…"
        elif any(_TINY.fullmatch(attributes.get(name, "")[:20]) for name in ("width", "height")):
            return
        else:
            begins, said = f"{html.escape(self._picture)} ", attributes.get("alt", "")
        box = f'<span class="picture">{begins}'
        self.pieces += [_Piece(box, " "), _Piece(None, said[:_MAX_ALTERNATIVE]), _Piece("</span>", " ")]


_IN_LINK = "a link's words"  # no tag: its text is shown as that of a link


def _marked(pieces: Sequence[_Piece], evidence: Evidence) -> Markup:
    """All pieces, each text with the marks that fall into it; a mark may run through several."""
    marks = list(evidence.marks("".join(piece.text for piece in pieces)))
    written: list[str] = []
    offset = first = 0
    for piece in pieces:
        end = offset + len(piece.text)
        if piece.tag is None or piece.tag is _IN_LINK:
            while first < len(marks) and marks[first].end <= offset:
                first += 1
            shown = "".join(_split(piece.text, offset, marks, first))
            written.append(f'<span class="link">{shown}</span>' if piece.tag is _IN_LINK else shown)
        else:
            written.append(piece.tag)
        offset = end
    return Markup("".join(written))  # noqa: S704  constant tags and escaped text


def _split(words: str, offset: int, marks: Sequence[Mark], first: int) -> Iterator[str]:
    """One text, which begins at the offset of all."""
    at = 0
    for number in range(first, len(marks)):
        mark = marks[number]
        if mark.start >= offset + len(words):
            break
        start, end = max(0, mark.start - offset), min(len(words), mark.end - offset)
        yield _escaped(words[at:start])
        is_whole = mark.end <= offset + len(words)
        yield f"<mark>{_escaped(words[start:end])}{f'<sup>[{mark.number}]</sup>' if is_whole else ''}</mark>"
        at = end
    yield _escaped(words[at:])


def _escaped(words: str) -> str:
    return _CONTROL.sub(lambda found: f'<span class="control">[U+{ord(found[0]):04X}]</span>', html.escape(words))
