"""HTML parts by their tags (Plugin::HTMLEval, ::HTTPSMismatch, ::URIEval), read once a message from the source.

One pass of a regular expression whose every attempt ends at the next "<": linear on any text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from html import unescape

from gateway.auth.organisation import organisational_domain
from gateway.mail.domain import to_a_label
from gateway.rules.evals.facts import Facts, compares, is_between
from gateway.rules.regex import compile_confirming, parse_literal, search

Function = Callable[..., bool]
_MAX_SOURCE = 1 << 20
_MAX_TAGS = 20_000
_TAG = re.compile(
    r"""<(?P<end>/?)(?P<name>[A-Za-z][^\s<>/"']{0,60})(?P<attributes>(?:[^<>"']++|"[^"<]*+"|'[^'<]*+'|["'])*+)>"""
    r"|<!--|<!(?P<declared>[^<>]{0,2000})>"
)
_ATTRIBUTE = re.compile(r"""([a-zA-Z-]{1,40})\s*=\s*(?:"([^"<]*)"|'([^'<]*)'|([^\s"'<>]+))""")
_SILENT = re.compile(r"</(?:script|style)", re.IGNORECASE)
_ELEMENTS = frozenset(
    """a abbr acronym address area b base bdo big blockquote body br button caption cite code col colgroup dd del dfn
    div dl dt em fieldset form h1 h2 h3 h4 h5 h6 head hr html i img input ins kbd label legend li link map meta noscript
    object ol optgroup option p param pre q samp script select small span strong style sub sup table tbody td textarea
    tfoot th thead title tr tt ul var applet basefont center dir font frame frameset iframe isindex menu noframes s
    strike u nobr x-sigsep x-tab !doctype""".split()
)
_SPACING = frozenset(
    "br div li th td dt dd p hr blockquote pre embed listing plaintext xmp title h1 h2 h3 h4 h5 h6".split()
)
_LETTER = re.compile(r"[^\s!-/:-@\[-`{-~]")
_FACE = re.compile(r"""\s*["'.]?[a-z ][a-z -]*+[a-z]?\d?["']?(?:,\s*["']?[a-z][a-z -]*+\d?["']?)*;?""", re.IGNORECASE)
_HTTPS = re.compile(r"https://([^\s/:?#]{1,255})", re.IGNORECASE)
_HTTP_HOST = re.compile(r"https?://([^/:?#\s]{1,255})", re.IGNORECASE)
_NUMERIC = re.compile(r"https?:/*(?:[^@/]{1,200}@)?\d+\.\d+\.\d+\.\d+", re.IGNORECASE)
_ADDRESS = re.compile(r"[0-9.]+|\[.*\]")


@dataclass(slots=True)
class Source:
    """What one part's source says."""

    length: int = 0
    shown: int = 0  # characters of the rendered text that are no white space
    names: dict[str, int] = field(default_factory=dict)  # tag -> how many are open at the end
    tags: int = 0
    elements: int = 0
    closed_extra: int = 0
    obfuscated: int = 0
    image_area: int = 0
    max_size: int = 3
    tests: set[str] = field(default_factory=set)
    texts: dict[str, list[str]] = field(default_factory=lambda: {"anchor": [], "title": [], "comment": []})
    links: list[tuple[str, str]] = field(default_factory=list)  # href, what is shown for it


def _sources(facts: Facts) -> list[Source]:
    return facts.once(
        "html", lambda one: [_read(part.text or "", part.html.text) for part in one.leaves() if part.html]
    )


def _read(text: str, rendered: str) -> Source:
    source = Source(length=len(text), shown=len("".join(rendered.split())))
    source.tests.add("html")
    reader = _Reader(source)
    for tag, between in _tokens(text[:_MAX_SOURCE], source):
        reader.text(between)
        if tag is not None:
            reader.tag(tag)
    return source


def _tokens(text: str, source: Source) -> Iterator[tuple[re.Match[str] | None, str]]:
    """Tags with the text before each; comments are kept aside, scripts and styles passed over."""
    position = start = 0
    for _ in range(_MAX_TAGS):
        match = _TAG.search(text, position)
        if match is None:
            break
        between = text[start : match.start()]
        position = match.end()
        if match["name"] is None and match["declared"] is None:
            end = text.find("-->", position)
            position = len(text) if end < 0 else end + 3
            source.texts["comment"].append(text[match.start() : position])
            yield None, between
        else:
            yield match, between
            if match["name"] and not match["end"] and match["name"].lower() in ("script", "style"):
                closing = _SILENT.search(text, position)
                position = len(text) if closing is None else closing.start()
        start = position
    yield None, text[start:]


class _Reader:
    """Follows one source."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._before = ""  # the last character of text, if only tags within a line followed it
        self._anchor: list[str] | None = None
        self._href = ""
        self._title: list[str] | None = None
        self._base = 3

    def text(self, text: str) -> None:
        """Text between two tags."""
        if not text:
            return
        if self._before and _LETTER.match(text):
            self._source.obfuscated += 1
        self._before = text[-1] if _LETTER.match(text[-1]) else ""
        for kept in (self._anchor, self._title):
            if kept is not None:
                kept.append(unescape(text))

    def tag(self, match: re.Match[str]) -> None:
        """One tag or declaration."""
        source = self._source
        if match["name"] is None:
            if match["declared"].lower().startswith("doctype"):
                source.tags, source.elements = source.tags + 1, source.elements + 1
                source.names["!doctype"] = 0
            return
        name, is_end = match["name"].lower(), bool(match["end"])
        source.tags += 1
        source.elements += name in _ELEMENTS
        open_now = source.names.get(name, 0) + (-1 if is_end else 1)
        source.closed_extra += open_now < 0
        source.names[name] = max(0, open_now)
        if name in _SPACING:
            self._before = ""
        if is_end:
            self._close(name)
        elif name in _LOOKED_AT:
            self._open(name, _attributes(match["attributes"]))

    def _close(self, name: str) -> None:
        if name == "a" and self._anchor is not None:
            shown = "".join(self._anchor)
            self._source.texts["anchor"].append(shown)
            self._source.links.append((self._href, shown))
            self._anchor = None
        elif name == "title" and self._title is not None:
            self._source.texts["title"].append("".join(self._title))
            self._title = None

    def _open(self, name: str, attributes: dict[str, str]) -> None:
        if name == "a":
            self._close("a")
            self._anchor, self._href = [], attributes.get("href", "")
        elif name == "title":
            self._title = []
        elif name == "img":
            self._image(attributes)
        elif name in ("font", "basefont", "big"):
            self._font(name, attributes)
        elif name == "form" and "mailto:" in attributes.get("action", "").lower():
            self._source.tests.add("form_action_mailto")
        elif name in ("object", "embed"):
            self._source.tests.add("embeds")
        elif name == "iframe" and attributes.get("src", "").strip():
            self._source.tests.add("iframe_src")

    def _image(self, attributes: dict[str, str]) -> None:
        if self._anchor is not None:
            self._anchor.append("<img>\n")
        if "width" in attributes and "height" in attributes:
            # a screen of 800 x 600 for percentages, 200 where nothing usable is said
            self._source.image_area += _pixels(attributes["width"], 8) * _pixels(attributes["height"], 6)

    def _font(self, name: str, attributes: dict[str, str]) -> None:
        match = re.match(r"\s*([+-]?)(\d{1,4})", attributes.get("size", ""))
        size = 4 if name == "big" else 0
        if match:
            size = int(match[2]) if not match[1] else self._base + int(match[1] + match[2])
        if name == "basefont":
            self._base = size or self._base
            return
        self._source.max_size = max(self._source.max_size, size)
        if name == "font" and "face" in attributes and not _FACE.fullmatch(attributes["face"]):
            self._source.tests.add("font_face_bad")


_LOOKED_AT = frozenset("a title img font basefont big form object embed iframe".split())


def _attributes(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, double, single, bare in _ATTRIBUTE.findall(text[:10_000]):
        found.setdefault(name.lower(), unescape(double or single or bare))
    return found


def _pixels(text: str, percent: int) -> int:
    match = re.fullmatch(r"(\d{1,6})(%)?", text, re.ASCII)
    return (int(match[1]) * (percent if match[2] else 1) if match else 0) or 200


# --- numbers by SpamAssassin's name ---------------------------------------------------------------------------------


def _ratio(count: int, of: int) -> float:
    return count / of if of else 0.0


def _non_element(source: Source) -> float:
    return _ratio(sum(1 for name in source.names if name not in _ELEMENTS), len(source.names))


_NUMBERS: Mapping[str, Callable[[Source], float]] = {
    "length": lambda source: source.length,
    "max_size": lambda source: source.max_size,
    "image_area": lambda source: source.image_area,
    "closed_extra_ratio": lambda source: _ratio(source.closed_extra, source.tags),
    "bad_tag_ratio": lambda source: _ratio(source.tags - source.elements, source.tags),
    "non_element_ratio": _non_element,
    "obfuscation_ratio": lambda source: _ratio(source.obfuscated, source.tags),
}
TESTS = frozenset(("html", "embeds", "font_face_bad", "form_action_mailto"))
NUMBERS = frozenset(_NUMBERS)
TEXTS = frozenset(("anchor", "title", "comment"))


def in_range(facts: Facts, what: str, low: str, high: str = "inf") -> bool:
    """low < number <= high."""
    return any(is_between(_NUMBERS[what](source), low, high) for source in _sources(facts))


def evaluates(facts: Facts, what: str, comparison: str) -> bool:
    """A number compared: "< 384"."""
    return any(compares(_NUMBERS[what](source), comparison) for source in _sources(facts))


def test(facts: Facts, what: str) -> bool:
    """One of TESTS."""
    return any(what in source.tests for source in _sources(facts))


def tag_exists(facts: Facts, name: str) -> bool:
    """The tag is there, opened or closed."""
    return any(name.lower() in source.names for source in _sources(facts))


def tag_balance(facts: Facts, name: str, comparison: str) -> bool:
    """Tags of this name still open at the end, where there is one."""
    counts = [source.names[name.lower()] for source in _sources(facts) if name.lower() in source.names]
    return any(compares(count, comparison) for count in counts)


def image_only(facts: Facts, low: str, high: str) -> bool:
    """There is an image, and the source is this long."""
    return any("img" in source.names and is_between(source.length, low, high) for source in _sources(facts))


def image_ratio(facts: Facts, low: str, high: str) -> bool:
    """Characters of text by the area of images."""
    sources = [source for source in _sources(facts) if source.image_area]
    return any(is_between(source.shown / source.image_area, low, high) for source in sources)


def text_match(facts: Facts, what: str, pattern: str) -> bool:
    """The pattern matches one of the texts (TEXTS)."""
    return any(_matches(pattern, text) for source in _sources(facts) for text in source.texts[what])


def text_not_match(facts: Facts, what: str, pattern: str) -> bool:
    """It does not match one of them."""
    return any(not _matches(pattern, text) for source in _sources(facts) for text in source.texts[what])


def _matches(pattern: str, text: str) -> bool:
    escaped = re.sub(r"(?<!\\)((?:\\\\)*)/", r"\1\\/", pattern)
    return search(compile_confirming(parse_literal(f"/{escaped}/")), text.encode("utf-8", "replace")) is not None


def title_to_subject(facts: Facts, ratio: str) -> bool:
    """The title is so many times as long as the subject."""
    length = len(facts.mail.message.subject)
    titles = [title for source in _sources(facts) for title in source.texts["title"]]
    return bool(length) and any(len(title) / length > float(ratio) for title in titles)


def frame_with_source(facts: Facts) -> bool:
    """An iframe that loads something."""
    return any("iframe_src" in source.tests for source in _sources(facts))


def https_over_address(facts: Facts) -> bool:
    """A link to an address literal that shows an https URL of another kind."""
    links = [link for source in _sources(facts) for link in source.links]
    return any(
        _NUMERIC.match(href) and "https:" in shown.lower() and not _NUMERIC.match(shown) for href, shown in links
    )


def https_over_other(facts: Facts, low: str = "1", high: str = "undef") -> bool:
    """A link that shows an https URL of another domain, in HTML with so many links."""
    for source in _sources(facts):
        links = [(domain, shown) for href, shown in source.links if (domain := _registered(_HTTP_HOST.match(href)))]
        is_other = any(_shows_other(domain, shown) for domain, shown in links)
        if is_other and len(links) >= float(low) and (high == "undef" or len(links) < float(high)):
            return True
    return False


def _shows_other(domain: str, shown: str) -> bool:
    other = _registered(_HTTPS.search(shown))
    return bool(other) and other != domain


def _registered(match: re.Match[str] | None) -> str:
    host = to_a_label(match[1]) if match else ""
    return "" if not host or _ADDRESS.fullmatch(host) else organisational_domain(host)


FUNCTIONS: Mapping[str, Function] = {
    "html_range": in_range,
    "html_eval": evaluates,
    "html_test": test,
    "html_tag_exists": tag_exists,
    "html_tag_balance": tag_balance,
    "html_image_only": image_only,
    "html_image_ratio": image_ratio,
    "html_text_match": text_match,
    "html_text_not_match": text_not_match,
    "html_title_subject_ratio": title_to_subject,
    "check_iframe_src": frame_with_source,
    "check_https_ip_mismatch": https_over_address,
    "check_https_http_mismatch": https_over_other,
}
