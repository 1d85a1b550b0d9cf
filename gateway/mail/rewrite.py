"""Content with something taken out of its body, for judging what would have been without it. Never sent anywhere.

Texts are edited as they were decoded and encoded again as they came. What cannot be edited and read back (nested
encoded messages, uuencoded files in a text, texts beyond MAX_TEXT) gives None. Linear.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable, Iterator
from html import unescape
from typing import NamedTuple

from gateway.mail import parse
from gateway.mail.charset import codec_of
from gateway.mail.link import find_links
from gateway.types import Message, Part

MAX_TEXT = 400_000  # characters of one part
_ADDRESS = re.compile(
    r"""\s(?:href|src|action|formaction|background)\s{0,20}=\s{0,20}("[^"]*"|'[^']*'|[^\s>"']+)""", re.IGNORECASE
)
_PARAGRAPH_END = re.compile(r"\n[ \t\r]*\n")
_SENTENCE_END = re.compile(r"(?<=[.!?؟:])\s+|\n")
_BLOCK = re.compile(
    r"/?(?:address|article|blockquote|br|center|div|dd|dt|footer|form|h[1-6r]|header|li|ol|p|pre|section|t[dhr]|table|ul)\b"
)
_FEW_PARAGRAPHS = 3  # up to so many, sentences are passages of their own


class Passage(NamedTuple):
    """Some words of a text that stand by themselves."""

    text: str  # white space made one
    spans: tuple[tuple[int, int], ...]  # where they stand in Part.text


def key(text: str) -> str:
    """The letters and digits: what is the same in two forms of one text."""
    return "".join(filter(str.isalnum, text.casefold()))


def edit_texts(message: Message, edit: Callable[[Part, str], str]) -> bytes | None:
    """The content with each text part as `edit` makes it; None where nothing changes, or that cannot be written."""
    content, made, done, position = message.raw, [], 0, message.body_offset
    for part in message.parts:
        start = _find(part, content, position)
        if start is None:
            return None
        position = start + len(part.raw)
        if part.text is None:
            continue
        edited = edit(part, part.text) if len(part.text) <= MAX_TEXT else part.text
        if edited != part.text:
            made += [content[done:start], _encoded(edited, part, b"\r\n" if b"\r\n" in content[:4096] else b"\n")]
            done = position
    if not made:
        return None
    made.append(content[done:])
    written = b"".join(made)
    return written if [*map(_form, parse(written).parts)] == [*map(_form, message.parts)] else None


def without_part(message: Message, path: str) -> bytes | None:
    """The content without this part of a multipart; None where it is none, or its bounds are not plain."""
    content, position = message.raw, message.body_offset
    for part in message.parts:
        start = _find(part, content, position)
        if start is None:
            return None
        if part.path != path:
            position = start + len(part.raw)
            continue
        head = content.find(part.fields[0].raw, position) if part.fields else -1
        delimiter = content.rfind(b"\n", 0, max(0, head - 1)) + 1
        end = start + len(part.raw)
        following = content.find(b"--", end, end + 4)
        if part.depth == 0 or head < 0 or following < 0 or not content.startswith(b"--", delimiter):
            return None
        written = content[:delimiter] + content[following:]
        return written if len(parse(written).parts) == len(message.parts) - 1 else None
    return None


def without_links(part: Part, text: str, is_gone: Callable[[str], bool]) -> str:
    """The text without these URLs: what showed them stays, but leads nowhere."""
    if part.html is not None:
        text = _ADDRESS.sub(lambda found: "" if is_gone(unescape(found[1].strip("\"'")).strip()) else found[0], text)
    gone = {url for url in find_links(text) if is_gone(url)}
    for url in sorted(gone, key=len, reverse=True)[:200]:
        bare = url.removeprefix("http://")
        text = text.replace(url, "").replace(bare, "") if len(bare) > 4 else text
    return text


def without_passages(part: Part, text: str, is_gone: Callable[[Passage], bool]) -> str:
    """The text without these passages."""
    spans = [span for one in passages(part) if is_gone(one) for span in one.spans]
    return _cut(text, spans)


def without_hidden(part: Part, text: str) -> str:
    """The text of an HTML part without what its reader does not see."""
    if part.html is None:
        return text
    hidden, shown = key(part.html.hidden_text), key(part.html.text)

    def is_hidden(words: str) -> bool:
        letters = key(unescape(words))
        return len(letters) > 2 and letters in hidden and letters not in shown

    return _cut(text, [(start, end) for start, end, _ in _words_of(text) if is_hidden(text[start:end])])


def passages(part: Part) -> list[Passage]:
    """Paragraphs, or sentences where there are few; of HTML what stands in one block."""
    text = part.text or ""
    if len(text) > MAX_TEXT:
        return []
    if part.html is not None:
        return [*_blocks(text)]
    found = [*_pieces(text, _PARAGRAPH_END, 0, len(text))]
    if len(found) <= _FEW_PARAGRAPHS:
        found = [one for start, end in found for one in _pieces(text, _SENTENCE_END, start, end)]
    return [Passage(" ".join(text[start:end].split()), ((start, end),)) for start, end in found]


# --- where things stand ---------------------------------------------------------------------------------------------


def _find(part: Part, content: bytes, position: int) -> int | None:
    """Where the part's body begins; its fields stand before it."""
    if part.depth and part.fields:
        found = content.find(part.fields[-1].raw, position)
        if found < 0:
            return None
        position = found + len(part.fields[-1].raw)
    found = content.find(part.raw, position)
    return found if found >= 0 else None


def _pieces(text: str, between: re.Pattern[str], start: int, end: int) -> Iterator[tuple[int, int]]:
    """What stands between; none that is blank."""
    for found in between.finditer(text, start, end):
        if text[start : found.start()].strip():
            yield start, found.start()
        start = found.end()
    if text[start:end].strip():
        yield start, end


def _blocks(source: str) -> Iterator[Passage]:
    spans: list[tuple[int, int]] = []
    last = 0
    for start, end, block in _words_of(source):
        if block != last and spans:
            yield _passage(source, spans)
            spans = []
        spans.append((start, end))
        last = block
    if spans:
        yield _passage(source, spans)


def _passage(source: str, spans: list[tuple[int, int]]) -> Passage:
    return Passage(" ".join(unescape(" ".join(source[start:end] for start, end in spans)).split()), tuple(spans))


def _words_of(source: str) -> Iterator[tuple[int, int, int]]:
    """Start and end of what is no markup and not blank, and the number of its block."""
    block, position, is_code = 0, 0, False
    while position < len(source):
        start = source.find("<", position)
        start = len(source) if start < 0 else start
        if not is_code and source[position:start].strip():
            yield position, start, block
        is_comment = source.startswith("<!--", start)
        end = source.find("-->" if is_comment else ">", start)
        if end < 0:
            return
        name = source[start + 1 : start + 20].lower()
        is_code = name.startswith(("style", "script", "title")) or (is_code and not name.startswith("/"))
        block += not is_comment and _BLOCK.match(name) is not None
        position = end + (3 if is_comment else 1)


def _cut(text: str, spans: list[tuple[int, int]]) -> str:
    kept, position = [], 0
    for start, end in sorted(spans):
        kept.append(text[position:start])
        position = end
    return "".join((*kept, text[position:]))


def _form(part: Part) -> tuple[str, str, str]:
    return part.path, part.content_type, part.filename


def _encoded(text: str, part: Part, line_end: bytes) -> bytes:
    codec = codec_of(part.charset) or "utf-8"
    content = text.encode(codec, "xmlcharrefreplace" if part.html is not None else "replace")
    content = content.replace(b"\n", line_end) if codec != "utf-16" else content
    if part.encoding == "base64":
        whole = binascii.b2a_base64(content, newline=False)
        return line_end.join(whole[at : at + 76] for at in range(0, len(whole), 76))
    if part.encoding == "quoted-printable":
        quoted = binascii.b2a_qp(content, istext=True)
        return quoted.replace(b"\r\n", b"\n").replace(b"\n", line_end)
    return content
