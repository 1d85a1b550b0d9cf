"""The body as text and by its MIME parts (Plugin::BodyEval, ::MIMEEval), and the classifier's bands (Plugin::Bayes)."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Mapping

from gateway.mail.parameter import parameter, parse_parameters
from gateway.rules.evals.facts import Facts, is_between, is_from_to
from gateway.types import Part

Function = Callable[..., bool]
_MAX_RAW = 1 << 20  # of one part's encoded bytes that are looked at
# Encoded, though it need not be: a character, or a run of blanks that does not end a line (at most one look at each)
_QP_NEEDLESS = re.compile(
    rb"=(?:(?<!=20=)(?<!=09=)(?:09|20)(?>(?:=(?:09|20))*)(?![ \t]*+\r?$)"
    rb"|3[0-9ABCEF]|2[1-9A-F]|[456][0-9A-F]|7[0-9A-E])",
    re.MULTILINE,
)
_BAD_ISO = re.compile(r"iso-\S+-\S+\b(?<!iso-8859-\d)(?<!iso-8859-\d\d)", re.IGNORECASE)
_GOOD_ISO = re.compile(r"iso-(?:8859-\d{1,2}|2022-(?:jp|kr))\b")
_ASCII = ("us-ascii", "ascii", "ansi_x3.4-1968", "iso-ir-6", "iso646-us", "us", "ibm367", "cp367", "csascii")
_SHOUTING = re.compile(r"[\w-]*(?:koi|jp|jis|euc|gb|big5|isoir|cp1251|windows-1251|georgianps|pt154|tis)[\w-]*")
_ENTITY = re.compile(rb"&#x[0-9A-F]{4};")
_NOT_ASCII = re.compile(rb"[\x00\x80-\xff]|\r(?!\n)")
_BASE64_LINES = re.compile(rb"(?:[A-Za-z0-9+/=]{60,76} ){2}")
_SHOUTING_FROM = 200
_UPPER, _LOWER = string.ascii_uppercase.encode(), (string.ascii_lowercase + string.digits).encode()
_FIELD_START = re.compile(rb"[!-9;-~]+:")
_PART_HEAD = re.compile(rb"(?>(?:[!-9;-~]++[ \t]*:[^\n]*\n(?>(?:[ \t][^\n]*\n)*))*)")
_MAX_PARTS = 1000
_EPILOGUE = re.compile(rb"[^\s.]")
_WORD_SIGN = re.compile(r"\w")


# --- MIME -----------------------------------------------------------------------------------------------------------


def mime(facts: Facts, what: str) -> bool:
    """One of the facts below, by SpamAssassin's name. Raises KeyError for another."""
    return bool(facts.once("mime", _mime)[what])


def _mime(facts: Facts) -> dict[str, float]:
    parts = facts.mail.message.parts
    found: dict[str, float] = dict.fromkeys(MIME_FACTS, 0.0)
    for part in parts:
        _count_part(part, found)
    defects = facts.mail.message.defects
    found["mime_missing_boundary"] = float("MIME_BOUNDARY_UNCLOSED" in defects or "MIME_BOUNDARY_MISSING" in defects)
    quoted = [_quoted(part) for part in facts.leaves() if part.encoding == "quoted-printable"]
    if any(size for _, size, _ in quoted):
        found["mime_qp_count"] = sum(needless for needless, _, _ in quoted)
        found["mime_qp_ratio"] = found["mime_qp_count"] / sum(size for _, size, _ in quoted)
    found["mime_qp_long_line"] = float(any(is_long for _, _, is_long in quoted))
    found["mime_ascii_text_illegal"] = float(any(_is_illegal_text(part) for part in facts.leaves()))
    return found


MIME_FACTS = """mime_base64_count mime_base64_encoded_text mime_body_html_count mime_body_text_count
    mime_missing_boundary mime_multipart_alternative mime_qp_count mime_qp_long_line mime_qp_ratio mime_attachment
    mime_ascii_text_illegal mime_bad_iso_charset mime_faraway_charset mimepart_limit_exceeded""".split()


def _count_part(part: Part, found: dict[str, float]) -> None:
    found["mime_multipart_alternative"] += part.content_type == "multipart/alternative"
    found["mime_body_html_count"] += part.content_type == "text/html"
    found["mime_body_text_count"] += part.content_type.startswith("text/") and part.content_type != "text/html"
    found["mime_base64_count"] += part.encoding == "base64"
    found["mime_qp_count"] += part.encoding == "quoted-printable"
    found["mime_attachment"] += part.disposition == "attachment"
    is_ascii = not part.charset or part.charset in _ASCII
    is_hidden_text = part.content_type.startswith("text/") and part.encoding == "base64" and is_ascii
    found["mime_base64_encoded_text"] += is_hidden_text and not part.disposition
    found["mime_bad_iso_charset"] += _BAD_ISO.search(part.charset) is not None and not _GOOD_ISO.search(part.charset)


def _quoted(part: Part) -> tuple[int, int, bool]:
    """Needlessly encoded bytes, bytes in all, and whether a line is longer than RFC 5322 wants."""
    raw = part.raw[:_MAX_RAW]
    needless = sum(map(len, _QP_NEEDLESS.findall(raw))) // 3
    return needless, len(raw), any(len(line.rstrip(b"\r")) > 78 for line in raw.split(b"\n"))


def _is_illegal_text(part: Part) -> bool:
    is_plain = part.content_type == "text/plain" and part.charset in ("", "us-ascii")
    return is_plain and _NOT_ASCII.search(part.raw[:_MAX_RAW]) is not None


def quoted_ratio(facts: Facts, low: str) -> bool:
    """The share of needlessly encoded bytes in quoted-printable parts."""
    return facts.once("mime", _mime)["mime_qp_ratio"] >= float(low)


def has_html(facts: Facts) -> bool:
    """There is a text/html part."""
    return any(part.content_type == "text/html" for part in facts.mail.message.parts)


def html_only(facts: Facts) -> bool:
    """There is HTML and no other text."""
    kinds = [part.content_type for part in facts.mail.message.parts if part.content_type.startswith("text/")]
    return bool(kinds) and all(kind == "text/html" for kind in kinds)


def parse_flag(facts: Facts, what: str) -> bool:
    """What is odd about the structure, by SpamAssassin's name. Raises KeyError for another."""
    if what in DEFECTS:
        return bool(DEFECTS[what] & frozenset(facts.mail.message.defects))
    return facts.once("structure", _structure)[what]


DEFECTS: Mapping[str, frozenset[str]] = {
    "missing_head_body_separator": frozenset(("BODY_MISSING", "HEADER_UNENDED")),
    "truncated_header": frozenset(("HEADER_TOO_MANY_FIELDS",)),
}
STRUCTURE = ("missing_mime_headers", "missing_mime_head_body_separator", "mime_epilogue_exists")


def _structure(facts: Facts) -> dict[str, bool]:
    """How the parts of the outermost multipart are written."""
    found = dict.fromkeys(STRUCTURE, False)
    message = facts.mail.message
    boundary = parameter(parse_parameters(facts.header("Content-Type"))[1], "boundary")[0].encode("utf-8", "replace")
    if not boundary or not message.parts or not message.parts[0].content_type.startswith("multipart/"):
        return found
    body = b"\n" + message.raw[message.body_offset : message.body_offset + _MAX_RAW].replace(b"\r\n", b"\n")
    for piece in body.split(b"\n--" + boundary, _MAX_PARTS)[1:]:
        rest, _, part = piece.partition(b"\n")
        if rest.strip() == b"--":
            found["mime_epilogue_exists"] = _EPILOGUE.search(part) is not None
            break
        if not rest.strip():
            _note_part(part + b"\n", found)
    return found


def _note_part(part: bytes, found: dict[str, bool]) -> None:
    head = _PART_HEAD.match(part)
    behind = head.end() if head else 0
    if part and not _FIELD_START.match(part):
        found["missing_mime_headers"] = True
    if part[behind : behind + 1] not in (b"\n", b""):
        found["missing_mime_head_body_separator"] = True


def unicode_ratio(facts: Facts, low: str) -> bool:
    """Characters written as &#xHHHH; in plain text, for each other one."""
    return facts.once("entities", _entity_ratio) >= float(low)


def _entity_ratio(facts: Facts) -> float:
    written = normal = 0
    for part in facts.leaves():
        if part.content_type == "text/plain" and part.encoding in ("7bit", "8bit"):
            raw = part.raw[:_MAX_RAW]
            count = len(_ENTITY.findall(raw))
            written += count
            normal += len(raw) - 8 * count
    return written / normal if normal else 0.0


def text_to_html_ratio(facts: Facts, low: str, high: str) -> bool:
    """The plain alternative's encoded size by the HTML's."""
    return is_from_to(facts.once("alternatives", _alternative_ratio), low, high)


def _alternative_ratio(facts: Facts) -> float:
    is_alternative = any(part.content_type == "multipart/alternative" for part in facts.mail.message.parts)
    sizes = {part.content_type: len(part.raw) for part in facts.leaves() if part.disposition != "attachment"}
    text, html = sizes.get("text/plain"), sizes.get("text/html")
    return text / html if is_alternative and text is not None and html else 1.0


def odd_alternative(facts: Facts) -> bool:
    """An alternative that is no text."""
    parts = facts.mail.message.parts
    containers = {part.path for part in parts if part.content_type == "multipart/alternative"}
    allowed = ("multipart/related", "application/rtf")
    inside = [part.content_type for part in parts if _parent(part.path) in containers]
    return any(not kind.startswith("text/") and kind not in allowed for kind in inside)


def _parent(path: str) -> str:
    return path.rpartition(".")[0]


def base64_line(facts: Facts, low: str, high: str = "inf") -> bool:
    """The longest line of base64, its line end included."""
    return float(low) <= facts.once("base64 line", _longest_base64) <= float(high)


def _longest_base64(facts: Facts) -> int:
    lengths = [
        len(line.rstrip(b"\r")) + 1
        for part in facts.leaves()
        if part.encoding == "base64" and part.content_type != "application/ics"
        for line in part.raw[:_MAX_RAW].split(b"\n")
        if line
    ]
    return max(lengths, default=0)


# --- text -----------------------------------------------------------------------------------------------------------


def body_length(facts: Facts, most: str) -> bool:
    """Bytes behind the header, a line end counted as one: at most these."""
    message = facts.mail.message
    size, limit = len(message.raw) - message.body_offset, float(most)
    return size <= limit or (size <= 2 * limit and size - message.raw.count(b"\r\n", message.body_offset) <= limit)


def capitals(facts: Facts, low: str, high: str) -> bool:
    """Capitals among the letters and digits of 200 characters of text or more, percent."""
    return is_between(facts.once("capitals", _capital_share), low, high)


def _capital_share(facts: Facts) -> float:
    if any(_SHOUTING.fullmatch(part.charset) for part in facts.mail.message.parts if part.charset):
        return 0.0
    lines = [line for line in facts.paragraphs() if b" " in line.strip() and not _BASE64_LINES.match(line)]
    text = b"".join(lines)
    if len(text) < _SHOUTING_FROM:
        return 0.0
    upper = len(text) - len(text.translate(None, _UPPER))
    lower = len(text) - len(text.translate(None, _LOWER))
    return 100 * upper / (upper + lower) if upper + lower else 0.0


def blank_lines(facts: Facts, low: str, high: str, at_least: str = "1") -> bool:
    """Empty lines, percent, in text of this many lines or more."""
    lines = [line for part in facts.leaves() if part.text for line in part.text[:_MAX_RAW].split("\n")]
    if len(lines) < max(1.0, float(at_least)):
        return False
    share = 100 * sum(1 for line in lines if not line.strip()) / len(lines)
    return share <= float(high) and (share > float(low) or float(low) == 0)


def spaced_words(facts: Facts, low: str, high: str) -> bool:
    """Blanks by other characters in the paragraph that has most, percent."""
    most, limit = -1, (101 if float(high) >= 100 else float(high))
    for paragraph in facts.paragraphs():
        if len(paragraph) > 5:
            most = max(most, _blank_share(paragraph))
            if most >= limit:
                return False
    return float(low) <= most


def _blank_share(text: bytes) -> int:
    blanks = text.count(b" ")
    others = len(text) - blanks
    return 100 if blanks > others or not others else 100 * blanks // others


def alternatives_differ(facts: Facts, low: str, high: str = "undef") -> bool:
    """Words of the HTML alternative that the plain one lacks, percent."""
    difference = facts.once("difference", _difference)[0]
    return (float(low) == 0 or difference > float(low)) and (high == "undef" or difference <= float(high))


def text_has_more_words(facts: Facts, ratio: str, html_words: str) -> bool:
    """Different words of the plain alternative by those of the HTML one, which has more than `html_words`."""
    _, html, text = facts.once("difference", _difference)
    return html > float(html_words) and text / html > float(ratio)


def _difference(facts: Facts) -> tuple[float, int, int]:
    """Percent that differs in the worst multipart/alternative; words of HTML and text in the last one."""
    most, html_words, text_words = 0.0, 0, 0
    parts = facts.mail.message.parts
    for container in [part for part in parts if part.content_type == "multipart/alternative"]:
        inside = [part for part in parts if part.path.startswith(container.path + ".")]
        html = Counter(word for part in inside if part.html for word in _words(part.html.flow))
        if not html and any(part.html.image_count for part in inside if part.html):
            html[""] = 1  # a picture says something that no text does
        if not html:
            continue
        text = Counter(word for part in inside if part.text and not part.html for word in _words(part.text))
        left = sum(1 for word, count in html.items() if count > text[word])
        most, html_words, text_words = max(most, 100 * left / len(html)), len(html), len(text)
    return most, html_words, text_words


def _words(text: str) -> list[str]:
    return [word for word in text[:_MAX_RAW].split() if word.isalnum() or _WORD_SIGN.search(word)]


def signature_ratio(facts: Facts, low: str, high: str = "1000000") -> bool:
    """The text's length by that of the signature behind the last "-- "."""
    text, signature = facts.once("signature", _signature)
    return float(low) <= (text / signature if signature else 1e6) <= float(high)


def text_length(facts: Facts, low: str, high: str = "inf") -> bool:
    """The first plain text's length before its signature."""
    return float(low) <= facts.once("signature", _signature)[0] <= float(high)


def signature_length(facts: Facts, low: str, high: str = "inf") -> bool:
    """The signature's length."""
    return float(low) <= facts.once("signature", _signature)[1] <= float(high)


def _signature(facts: Facts) -> tuple[int, int]:
    text = next((part.text for part in facts.leaves() if part.content_type == "text/plain" and part.text), "") or ""
    marks = [match for match in re.finditer(r"^-- ?\r?$", text, re.MULTILINE) if len(text) - match.end() > 4]
    return (marks[-1].start(), len(text) - marks[-1].end()) if marks else (len(text), 0)


def probability(facts: Facts, low: str, high: str) -> bool:
    """The classifier's probability of spam, from above `low` (0: from none) to `high`."""
    if facts.prediction is None:
        return False
    value = facts.prediction.probability
    return (float(low) == 0 or value > float(low)) and (high == "undef" or value <= float(high))


FUNCTIONS: Mapping[str, Function] = {
    "check_for_mime": mime,
    "check_for_mime_html": has_html,
    "check_for_mime_html_only": html_only,
    "check_msg_parse_flags": parse_flag,
    "check_for_ascii_text_illegal": lambda facts: mime(facts, "mime_ascii_text_illegal"),
    "check_abundant_unicode_ratio": unicode_ratio,
    "check_mime_multipart_ratio": text_to_html_ratio,
    "check_ma_non_text": odd_alternative,
    "check_base64_length": base64_line,
    "check_qp_ratio": quoted_ratio,
    "check_body_length": body_length,
    "check_for_uppercase": capitals,
    "check_blank_line_ratio": blank_lines,
    "tvd_vertical_words": spaced_words,
    "multipart_alternative_difference": alternatives_differ,
    "multipart_alternative_difference_count": text_has_more_words,
    "plaintext_body_sig_ratio": signature_ratio,
    "plaintext_body_length": text_length,
    "plaintext_sig_length": signature_length,
    "check_bayes": probability,
}
