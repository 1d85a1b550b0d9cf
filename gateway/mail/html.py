"""HTML -> what a reader sees, what is hidden from him, and where it leads.

One pass over the tokens of turbohtml's tokenizer (linear on hostile input, where tree builders are not: measured on
50,000 nested elements and 50,000 attributes), with a stack of open elements. Implied end tags are followed as far as
they decide what is hidden. Nothing is drawn or fetched; conditional comments stay comments. Limits: MAX_CHARACTERS,
MAX_TOKENS, MAX_DEPTH, MAX_LINKS; what is cut short stands in the defects.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import islice
from typing import Literal, NamedTuple
from urllib.parse import urljoin

import turbohtml

from gateway.mail.link import MAX_URL
from gateway.mail.style import MAX_STYLE, SHORT_STYLE, is_unreadable, parse_color, parse_style
from gateway.types import Html, Link

MAX_CHARACTERS = 1 << 21
MAX_TOKENS = 300_000
MAX_DEPTH = 256
MAX_LINKS = 2000
_MAX_SEARCH = 64  # open elements that one tag looks through

_Source = Literal["anchor", "image", "form", "text", "other"]
_TEXT, _START, _END = turbohtml.TokenType.TEXT, turbohtml.TokenType.START_TAG, turbohtml.TokenType.END_TAG
_BREAK = "\0"  # a line end that is shown; the text itself holds no NUL, and its own line ends are blanks

_BLOCK = frozenset(
    "address article aside blockquote body br caption center dd dir div dl dt fieldset footer form h1 h2 h3 h4 h5 h6 "
    "header hr legend li main menu nav ol option p pre section select table tbody textarea tfoot thead tr ul".split()
)
# What elements put between words in the text as rules see it, at their beginning and at their end
_FLOW = {
    **dict.fromkeys(("br", "div"), _BREAK),
    **dict.fromkeys("li th td dt dd embed h1 h2 h3 h4 h5 h6".split(), " "),
    **dict.fromkeys("p hr blockquote pre listing plaintext xmp title".split(), _BREAK * 2),
}
_CELL = frozenset(("td", "th"))
_VOID = frozenset("area base br col embed hr img input link meta param source track wbr".split())
_NOT_TEXT = frozenset("script style title template object iframe noembed noframes".split())  # neither shown nor hidden
# start tag -> (open elements it closes, elements it does not look beyond); HTML §13.1.2.4
_CELLS, _TABLE = ("td", "th"), ("table",)
_CLOSES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "li": (("li",), ("ul", "ol", "menu", "table", "td")),
    "dt": (("dt", "dd"), ("dl", "table", "td")),
    "dd": (("dt", "dd"), ("dl", "table", "td")),
    "option": (("option",), ("select", "table")),
    "td": (_CELLS, ("tr", *_TABLE)),
    "th": (_CELLS, ("tr", *_TABLE)),
    "tr": (("tr",), _TABLE),
    "tbody": (("tbody", "thead", "tfoot"), _TABLE),
    "body": (("head",), ("body",)),
    "a": (("a",), ("table", "td")),
}
_CLOSES_P = _BLOCK - {
    "br",
    "option",
    "select",
    "textarea",
    "tbody",
    "thead",
    "tfoot",
    "tr",
    "body",
    "caption",
    "legend",
}
_P = (("p",), ("table", "td", "th", "div", "blockquote", "li", "body", "center", "form", "button"))
# an end tag does not close what lies beyond one of these
_SCOPE = frozenset(("table", "td", "th", "caption"))
_IN_TABLE = frozenset("table td th tr tbody thead tfoot caption body html".split())
_SPECIAL = (
    frozenset("address article aside blockquote center div dl fieldset form li ol p pre section ul".split()) | _SCOPE
)

_CODE = frozenset(("script", "style"))
_UNUSUAL_TEXT = _NOT_TEXT | {"noscript"}
_NOSCRIPT = "noscript, read"  # such an element's name on the stack once its content was read


class _Element(NamedTuple):
    """What is known of a tag: looked up once for each start and end tag."""

    gap: str = ""  # what stands in the text for its beginning
    end_gap: str = ""  # and for its end
    flow: str = ""  # what stands in the text for it as rules see it
    is_void: bool = False
    implied: tuple[tuple[tuple[str, ...], frozenset[str]], ...] = ()  # (elements it closes, what it looks beyond not)
    bounds: frozenset[str] = _SPECIAL  # what its end tag does not look beyond


def _element(tag: str) -> _Element:
    implied = ((_P,) if tag in _CLOSES_P else ()) + ((_CLOSES[tag],) if tag in _CLOSES else ())
    return _Element(
        gap=_BREAK if tag in _BLOCK else " " if tag in _CELL else "",
        end_gap=_BREAK if tag in _BLOCK else "",
        flow=_FLOW.get(tag, ""),
        is_void=tag in _VOID,
        implied=tuple((closed, frozenset(("", *bounds))) for closed, bounds in implied),
        bounds=(
            frozenset()
            if tag == "table"
            else _IN_TABLE
            if tag in ("tr", "tbody")
            else _SCOPE
            if tag in _SPECIAL
            else _SPECIAL
        ),
    )


_ELEMENTS = {tag: _element(tag) for tag in _BLOCK | _CELL | _VOID | _SPECIAL | _CLOSES.keys() | _FLOW.keys()}
_OTHER = _Element()

_LINKS: dict[str, _Source] = {
    "src": "image",
    "background": "image",
    "poster": "image",
    "action": "form",
    "formaction": "form",
}
_LINKING = frozenset(("href", "srcset", "alt", *_LINKS))
_LOOKING = frozenset(("style", "background", "bgcolor", "color", "text", "hidden"))
# The attributes of usual mail that neither link, hide, colour nor run: passed over first
_PLAIN = frozenset(
    "class width height align valign border cellspacing cellpadding size face target dir id name type role lang value "
    "colspan rowspan rel title clear bordercolor xmlns aria-hidden aria-label tabindex cite nowrap hspace vspace shape "
    "link vlink alink method leftmargin topmargin marginheight marginwidth".split()
)
_IMAGE_TAGS = frozenset(("img", "input", "image", "v:fill", "v:imagedata", "v:image"))
_REFRESH = re.compile(r"url\s*=\s*['\"]?([^'\"]+)", re.IGNORECASE)
_HAS_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]{0,30}:")
_CODE_URL = re.compile(r"(?:javascript|vbscript):", re.IGNORECASE)
_MAX_COLOR = 64


class _Look(NamedTuple):
    """How text in an element looks; children inherit it."""

    is_removed: bool = False  # no child can undo it
    is_invisible: bool = False
    is_tiny: bool = False
    color: str = "000000"  # see style.parse_color; "" unknown
    background: str = "ffffff"

    def is_hidden(self) -> bool:
        return self.is_removed or self.is_invisible or self.is_tiny or is_unreadable(self.color, self.background)


class _Scope(NamedTuple):
    """An element's look, and where its text goes. Elements that change nothing share their parent's."""

    look: _Look
    sink: list[str]
    styled: dict[str, _Scope]  # of children with this style attribute and no other that counts


class Token(NamedTuple):
    """A start tag, an end tag, or text whose entities are decoded."""

    kind: Literal["start", "end", "text"]
    value: str  # the lower-case name of the element, or the text
    attributes: tuple[tuple[str, str], ...] = ()


def tokenize(text: str) -> Iterator[Token]:
    """What a page is made of, comments left out, within the limits of `render`. Linear; never raises."""
    for token in islice(turbohtml.tokenize(text[:MAX_CHARACTERS].replace("\0", "")), MAX_TOKENS):
        if token.type is _TEXT:
            yield Token("text", token.data or "")
        elif token.type is _START:
            yield Token("start", token.tag or "", tuple(token.attrs or ()))
        elif token.type is _END:
            yield Token("end", token.tag or "")


def render(text: str) -> Html:
    """What the HTML shows, hides and leads to. Never raises."""
    walk = _Walk()
    within = text[:MAX_CHARACTERS].replace("&nbsp;", " ")
    tokens = turbohtml.tokenize(within.replace("\0", "") if "\0" in within else within)
    walk.read(islice(tokens, MAX_TOKENS))
    is_cut = walk.is_cut or len(text) > MAX_CHARACTERS or next(iter(tokens), None) is not None
    defects = (
        ("HTML_TOO_LONG", is_cut),
        ("HTML_TOO_DEEP", walk.is_too_deep),
        ("HTML_TOO_MANY_LINKS", walk.has_too_many_links),
        ("HTML_ATTRIBUTE_TOO_LONG", walk.has_long_attribute),
    )
    tags = dict(Counter(walk.seen))
    return Html(
        text=_tidy(walk.shown),
        hidden_text=_tidy(walk.hidden),
        flow=_flowing(walk.flow),
        links=tuple(walk.followed_links()),
        schemeless=tuple(walk.schemeless),
        tags=tags,
        image_count=tags.get("img", 0),
        has_script=walk.has_script or "script" in tags,
        has_form="form" in tags,
        defects=tuple(name for name, is_so in defects if is_so),
    )


class _Walk:
    """The state of one rendering."""

    def __init__(self) -> None:
        self.shown: list[str] = []
        self.hidden: list[str] = []
        self.flow: list[str] = []
        self.links: list[tuple[str, _Source, list[str]]] = []  # url as written, source, pieces of visible text
        self.schemeless: list[str] = []
        self.seen: list[str] = []  # the start tags
        self.open: list[str] = [""]  # element names; `scopes` runs beside it
        self.scopes: list[_Scope] = [_Scope(_Look(), self.shown, {})]
        self.anchor: list[str] | None = None
        self.base = ""
        self.unpushed = 0  # open elements beyond MAX_DEPTH
        self.is_too_deep = self.is_cut = self.has_too_many_links = self.has_long_attribute = False
        self.has_script = self.is_in_noscript = False

    def read(self, tokens: Iterable[turbohtml.Token]) -> None:  # noqa: C901, PLR0912
        """Take all tokens. In place: half of an HTML message's cost is here, a call for each tag costs a tenth more."""
        names, scopes, shown, flow, seen = self.open, self.scopes, self.shown, self.flow, self.seen
        for token in tokens:
            kind = token.type
            if kind is _TEXT:
                if names[-1] in _UNUSUAL_TEXT:
                    self._unusual_text(names[-1], token.data or "")
                    continue
                data, sink = token.data or "", scopes[-1][1]
                flow.append(data)
                sink.append(data)
                if self.anchor is not None and sink is shown:
                    self.anchor.append(data)
            elif kind is _START:
                tag = token.tag or ""
                seen.append(tag)
                gap, _, flow_gap, is_void, implied, _ = _ELEMENTS.get(tag, _OTHER)
                if flow_gap:
                    flow.append(flow_gap)
                for closed, bounds in implied:
                    if names[-1] not in bounds:
                        self._close(closed, bounds)
                scope = scopes[-1]
                if gap:
                    scope[1].append(gap)
                attributes = token.attrs
                if attributes:
                    scope = self._attributes(tag, attributes, scope, is_void)
                if is_void:
                    continue
                if len(names) <= MAX_DEPTH:
                    names.append(tag)
                    scopes.append(scope)
                else:
                    self.is_too_deep = True
                    self.unpushed += 1
            elif kind is _END:
                tag = token.tag or ""
                _, end_gap, flow_gap, _, _, bounds = _ELEMENTS.get(tag, _OTHER)
                if flow_gap:
                    flow.append(flow_gap)
                if tag == names[-1] and scopes[-1][1] is shown and not self.unpushed:
                    names.pop()
                    scopes.pop()
                elif not self._unusual_end(tag, bounds):
                    continue
                if end_gap:
                    scopes[-1][1].append(end_gap)
                elif tag == "a":
                    self.anchor = None

    def followed_links(self) -> Iterator[Link]:
        """The links as a client would follow them; <base> counts for all (HTML §4.2.3)."""
        for url, source, pieces in self.links:
            if url.startswith("//"):
                self.schemeless.append(url)
                target = f"http:{url}"
            else:
                target = followed(url, self.base) if self.base else url
            yield Link(target, " ".join("".join(pieces).split()), source)

    # --- tokens

    def _noscript(self, data: str) -> None:
        """The tokenizer takes its content as one text, as a browser does; mail readers run no scripts and show it."""
        self.open[-1] = _NOSCRIPT
        if not self.is_in_noscript:  # there is no second level (HTML §4.12.2)
            self.is_in_noscript = True
            tokens = turbohtml.tokenize(data)
            self.read(islice(tokens, MAX_TOKENS))
            self.is_cut = self.is_cut or next(iter(tokens), None) is not None
            self.is_in_noscript = False
        self.scopes[-1].sink.append(_BREAK)

    def _unusual_text(self, name: str, data: str) -> None:
        if name == "noscript":
            self._noscript(data)
        elif name not in _CODE:
            self.flow.append(data)

    def _unusual_end(self, tag: str, bounds: frozenset[str]) -> bool:
        """Close what is not simply on top; False when nothing open is meant."""
        if self.unpushed and tag not in _VOID:
            self.unpushed -= 1
            return False
        self._close((_NOSCRIPT if tag == "noscript" else tag,), bounds)
        return True

    # --- the stack

    def _close(self, closed: tuple[str, ...], bounds: frozenset[str]) -> None:
        names = self.open
        for index in range(len(names) - 1, max(0, len(names) - _MAX_SEARCH), -1):
            if names[index] in closed:
                self._pop(index)
                return
            if names[index] in bounds:
                return

    def _scope(self, tag: str, values: dict[str, str], above: _Scope) -> _Scope:
        style = values.get("style", "")
        if len(style) > MAX_STYLE:
            style, self.has_long_attribute = style[:MAX_STYLE], True
        look = (_look_of_short if len(style) <= SHORT_STYLE else _look)(
            above.look,
            style,
            values.get("color" if tag == "font" else "text" if tag == "body" else "", "")[:_MAX_COLOR],
            values.get("bgcolor", "")[:_MAX_COLOR],
            bool(values.get("background")),
            tag == "a" and "href" in values,
            "hidden" in values,
        )
        if look == above.look:
            return above
        return _Scope(look, self.hidden if look.is_hidden() else self.shown, {})

    def _pop(self, index: int) -> None:
        was_hidden = self.scopes[-1].sink is self.hidden
        del self.open[index:], self.scopes[index:]
        if was_hidden and self.scopes[-1].sink is self.shown:
            self.hidden.append(_BREAK)

    # --- links

    def _attributes(self, tag: str, attributes: list[tuple[str, str]], above: _Scope, is_void: bool) -> _Scope:
        """Take a start tag's attributes; the scope of what stands in the element."""
        values = {name: value for name, value in attributes if name not in _PLAIN}
        if not values:
            return above
        style = values.get("style", "")
        if style and len(values) == 1:
            return self._styled(tag, values, above, is_void)
        self._code_and_links(tag, values)
        if "url(" in style:
            self._pictures(style)
        if is_void:
            return above
        # a link looks otherwise of itself only where its text could not be read (_look)
        if _LOOKING.isdisjoint(values) and (tag != "a" or above.sink is self.shown):
            return above
        return self._scope(tag, values, above)

    def _styled(self, tag: str, values: dict[str, str], above: _Scope, is_void: bool) -> _Scope:
        """As _attributes, where only the style counts. One that names pictures is not remembered: each names them."""
        style = values["style"]
        if style in above.styled:
            return above.styled[style]
        if "url(" in style:
            self._pictures(style)
        if is_void:
            return above
        scope = self._scope(tag, values, above)
        if "url(" not in style:
            above.styled[style] = scope
        return scope

    def _pictures(self, style: str) -> None:
        for url in parse_style(style).urls:
            self._add(url, "image")

    def _code_and_links(self, tag: str, values: dict[str, str]) -> None:
        for name in values:
            if name[:2] == "on" and len(name) > 4:  # the shortest is "oncut"
                self.has_script = True
        if tag == "base":
            self.base = self.base or values.get("href", "")
        elif tag == "meta":
            if values.get("http-equiv", "").lower() == "refresh":
                match = _REFRESH.search(values.get("content", "")[:MAX_URL])
                self._add(match[1] if match else "", "other")
        elif not _LINKING.isdisjoint(values):
            self._links(tag, values)

    def _links(self, tag: str, values: dict[str, str]) -> None:
        if "href" in values:
            pieces = self._add(values["href"], "anchor" if tag in ("a", "area") else "other")
            self.anchor = pieces if tag == "a" else self.anchor
        for name, value in values.items():
            if name in _LINKS:
                self._add(value, _LINKS[name] if name != "src" or tag in _IMAGE_TAGS else "other")
        if tag == "img" and self.anchor is not None and values.get("alt"):
            self.anchor.append(f" {values['alt']} ")
        if "srcset" in values:
            self._add(values["srcset"].strip().partition(" ")[0], "image")

    def _add(self, url: str, source: _Source) -> list[str] | None:
        clean = "".join(url[:MAX_URL].split())
        if not clean or clean.startswith("#"):
            return None
        if len(url) > MAX_URL and clean[:5].lower() != "data:":
            self.has_long_attribute = True
        if len(self.links) >= MAX_LINKS:
            self.has_too_many_links = True
            return None
        if clean[0] in "jJvV" and _CODE_URL.match(clean):
            self.has_script = True
        pieces: list[str] = []
        self.links.append((clean, source, pieces))
        return pieces


def _look(
    above: _Look,
    style_text: str,
    color_text: str = "",
    bgcolor: str = "",
    has_picture: bool = False,
    is_link: bool = False,
    is_hidden: bool = False,
) -> _Look:
    """How an element with these attributes looks inside."""
    style = parse_style(style_text)
    background = style.background
    if background is None:
        background = "" if has_picture else None
        named = parse_color(bgcolor) if bgcolor else None
        background = named if named and named != "transparent" else background
    color = style.color
    if color is None and color_text:
        color = parse_color(color_text)
    if color is None and is_link and is_unreadable(above.color, above.background):
        color = ""  # a link has a colour of its own
    return _Look(
        above.is_removed or style.hides or is_hidden,
        above.is_invisible if style.is_invisible is None else style.is_invisible,
        above.is_tiny if style.is_tiny is None else style.is_tiny,
        above.color if color is None else color,
        above.background if background is None else background,
    )


_look_of_short = lru_cache(maxsize=2048)(_look)  # most messages repeat a few styles


def followed(url: str, base: str) -> str:
    """Where a link of a page with this <base> leads. Never raises."""
    if _HAS_SCHEME.match(url):
        return url
    try:
        return urljoin(base, url)
    except ValueError:
        return url


def _flowing(pieces: list[str]) -> str:
    """No blanks beside a line end; curly quotes straight, as rules are written for them."""
    lines = "".join(pieces).replace("\n", " ").split(_BREAK)
    text = "\n".join([line.strip(" \t\r\f\v") for line in lines])
    return text if text.isascii() else text.replace("\u201c", '"').replace("\u201d", '"')


def _tidy(pieces: list[str]) -> str:
    """White space as it is shown: runs are one blank, empty lines none."""
    lines = "".join(pieces).split(_BREAK)
    return "\n".join([" ".join(words) for line in lines if (words := line.split())])
