"""HTML parts by their tags (Plugin::HTMLEval, ::HTTPSMismatch, ::URIEval), read once a message from the source.

Every regular expression's attempt ends at the next "<" or at a fixed length: linear on any text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from html import unescape
from itertools import islice

from gateway.auth.organisation import organisational_domain
from gateway.mail.domain import to_a_label
from gateway.mail.html import render
from gateway.rules.evals.facts import Facts, compares, is_between, matches
from gateway.rules.text import decoded_text, is_html_file
from gateway.types import Html, Part

Function = Callable[..., bool]
_MAX_SOURCE = 1 << 20
_MAX_TEXTS = 2000
_INSIDE = r"""(?>(?:[^<>"']++|"[^"<]*+"|'[^'<]*+'|["'])*)"""
_TAG = re.compile(rf"""<(/?)([A-Za-z][^\s<>/"']{{0,60}})({_INSIDE})>""")
_ANCHOR = re.compile(rf"<a(?=[\s/>])({_INSIDE})>|</a(?=[\s/>])", re.IGNORECASE)
_IMAGE = re.compile(rf"<img(?=[\s/>]){_INSIDE}>", re.IGNORECASE)
_TITLE = re.compile(r"<title[^<>]{0,200}>([^<]*)", re.IGNORECASE)
_ATTRIBUTE = re.compile(r"""([a-zA-Z-]{1,40})\s*=\s*(?:"([^"<]*)"|'([^'<]*)'|([^\s"'<>]+))""")
_UNSEEN = re.compile(r"<!--|<(script|style|xmp|iframe|textarea)(?=[\s/>])[^<>]*>", re.IGNORECASE)
_ELEMENTS = frozenset(
    """a abbr acronym address area b base bdo big blockquote body br button caption cite code col colgroup dd del dfn
    div dl dt em fieldset form h1 h2 h3 h4 h5 h6 head hr html i img input ins kbd label legend li link map meta noscript
    object ol optgroup option p param pre q samp script select small span strong style sub sup table tbody td textarea
    tfoot th thead title tr tt ul var applet basefont center dir font frame frameset iframe isindex menu noframes s
    strike u nobr x-sigsep x-tab !doctype""".split()
)
_SPACING = "br|div|li|t[hd]|d[td]|p|hr|blockquote|pre|embed|listing|plaintext|xmp|title|h[1-6]"
_LETTER = re.compile(r"[^\s!-/:-@\[-`{-~]")
_TAGS_IN_LINE = re.compile(
    rf"<(?!/?(?:{_SPACING})[\s/>])[^<>]*+>(?>(?:<(?!/?(?:{_SPACING})[\s/>])[^<>]*+>)*)(?={_LETTER.pattern})",
    re.IGNORECASE,
)
_FACE = re.compile(r"""\s*["'.]?[a-z ][a-z -]*[a-z]\d?["']?(?:,\s*["']?[a-z][a-z -]*[a-z]\d?["']?)*;?""", re.IGNORECASE)
_HTTPS = re.compile(r"https://([^\s/:?#]{1,255})", re.IGNORECASE)
_HTTP_HOST = re.compile(r"https?://([^/:?#\s]{1,255})", re.IGNORECASE)
_NUMERIC = re.compile(r"https?:/*(?:[^@/]{1,200}@)?\d+\.\d+\.\d+\.\d+", re.IGNORECASE)
_ADDRESS = re.compile(r"[0-9.]+|\[.*\]")


@dataclass
class Source:
    """What one part's source says."""

    text: str  # without comments, scripts and styles
    length: int  # with them
    shown: int  # characters of the rendered text, hidden or not, that are no white space
    comments: list[str]
    names: dict[str, int] = field(default_factory=dict)  # tag -> how many are open at the end
    tags: int = 0
    elements: int = 0
    closed_extra: int = 0
    image_area: int = 0
    max_size: int = 3
    tests: set[str] = field(default_factory=set)

    @cached_property
    def torn_words(self) -> int:
        """Words with tags in them."""
        starts = (match.start() for match in _TAGS_IN_LINE.finditer(self.text))
        return sum(1 for start in starts if start and _LETTER.match(self.text, start - 1))

    @cached_property
    def titles(self) -> list[str]:
        """What stands in <title>."""
        return [unescape(one) for one in _TITLE.findall(self.text)[:_MAX_TEXTS]]

    @cached_property
    def links(self) -> list[tuple[str, str]]:
        """Where each anchor leads, and what is shown for it; a picture is "<img>"."""
        marks = list(islice(_ANCHOR.finditer(self.text), _MAX_TEXTS))
        ends = [*(mark.start() for mark in marks[1:]), len(self.text)]
        return [
            (_attributes(mark[1]).get("href", ""), _shown(self.text[mark.end() : end]))
            for mark, end in zip(marks, ends, strict=False)
            if mark[1] is not None
        ]

    def texts(self, what: str) -> list[str]:
        """What one of TEXTS says. Raises KeyError for another."""
        if what == "anchor":
            return [shown for _, shown in self.links]
        return {"comment": self.comments, "title": self.titles}[what]


def _shown(source: str) -> str:
    return unescape(_TAG.sub("", _IMAGE.sub("&lt;img&gt;\n", source)))


def _sources(facts: Facts) -> list[Source]:
    return facts.once("html", _read_all)


def has_html(facts: Facts) -> bool:
    """Whether there is any, be it in a file."""
    return any(part.html is not None or is_html_file(part) for part in facts.mail.message.parts)


def _read_all(facts: Facts) -> list[Source]:
    return [_read(part.text or "", part.html) for part in map(_with_html, facts.leaves()) if part.html]


def _with_html(part: Part) -> Part:
    if part.html is not None or not is_html_file(part):
        return part
    text = decoded_text(part)
    return replace(part, text=text, html=render(text))


def _read(text: str, rendered: Html) -> Source:
    clean, comments = _without_unseen(text[:_MAX_SOURCE])
    shown = sum(len(word) for some in (rendered.text, rendered.hidden_text) for word in some.split())
    source = Source(clean, len(text), shown, comments)
    source.tests.add("html")
    if "<!doctype" in text[:2000].lower():
        source.tags, source.elements, source.names = 1, 1, {"!doctype": 0}
    _count(source)
    return source


def _without_unseen(text: str) -> tuple[str, list[str]]:
    """Without comments and what stands between <script> and </script>, and the like, whose tags stay; the comments.

    What has no end reaches to the end of the text.
    """
    kept, comments, position, lower = [], [], 0, ""
    while (match := _UNSEEN.search(text, position)) is not None:
        if match[1] is None:
            end = text.find("-->", match.end())
            end = len(text) if end < 0 else end + 3
            kept.append(text[position : match.start()])
            comments.append(text[match.start() : end])
        else:
            lower = lower or text.lower()
            end = lower.find(f"</{match[1].lower()}", match.end())
            end = len(text) if end < 0 else end
            kept.append(text[position : match.end()])
        position = end
    return "".join([*kept, text[position:]]), comments[:_MAX_TEXTS]


def _count(source: Source) -> None:
    """Every tag, in order: this is the loop that costs."""
    names, elements, closed_extra = source.names, 0, 0
    found = _TAG.findall(source.text)
    for end, written, attributes in found:
        name = written.lower()
        elements += name in _ELEMENTS
        count = names.get(name, 0)
        if not end:
            names[name] = count + 1
            if name in _LOOKED_AT:
                _LOOKED_AT[name](source, _attributes(attributes))
        elif count:
            names[name] = count - 1
        else:
            names[name] = 0
            closed_extra += 1
    source.tags += len(found)
    source.elements += elements
    source.closed_extra = closed_extra


# --- tags that say something ----------------------------------------------------------------------------------------


def _image(source: Source, attributes: dict[str, str]) -> None:
    if "width" in attributes and "height" in attributes:  # a screen of 800 x 600 for percentages
        source.image_area += _pixels(attributes["width"], 8) * _pixels(attributes["height"], 6)


def _font(source: Source, attributes: dict[str, str]) -> None:
    match = re.match(r"\s*([+-]?)(\d{1,4})", attributes.get("size", ""))
    if match:
        source.max_size = max(source.max_size, int(match[2]) if not match[1] else 3 + int(match[1] + match[2]))
    if "face" in attributes and not _FACE.fullmatch(attributes["face"]):
        source.tests.add("font_face_bad")


def _form(source: Source, attributes: dict[str, str]) -> None:
    if "mailto:" in attributes.get("action", "").lower():
        source.tests.add("form_action_mailto")


def _frame(source: Source, attributes: dict[str, str]) -> None:
    if attributes.get("src", "").strip():
        source.tests.add("iframe_src")


def _embed(source: Source, _: dict[str, str]) -> None:
    source.tests.add("embeds")


_LOOKED_AT: Mapping[str, Callable[[Source, dict[str, str]], None]] = {
    "img": _image,
    "font": _font,
    "form": _form,
    "iframe": _frame,
    "object": _embed,
    "embed": _embed,
}


def _attributes(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, double, single, bare in _ATTRIBUTE.findall(text[:10_000]):
        found.setdefault(name.lower(), unescape(double or single or bare))
    return found


def _pixels(text: str, percent: int) -> int:
    """200 where nothing usable is said."""
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
    "obfuscation_ratio": lambda source: _ratio(source.torn_words, source.tags),
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
    return any(matches(pattern, text) for source in _sources(facts) for text in source.texts(what))


def text_not_match(facts: Facts, what: str, pattern: str) -> bool:
    """It does not match one of them."""
    return any(not matches(pattern, text) for source in _sources(facts) for text in source.texts(what))


def title_to_subject(facts: Facts, ratio: str) -> bool:
    """The title is so many times as long as the subject."""
    length = len(facts.mail.message.subject)
    titles = [title for source in _sources(facts) for title in source.texts("title")]
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
