"""Structures that readers resolve differently: an attacker chooses the reader that is fooled (CVE-2024-28054)."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.types import Finding, MailObject

_WORDS = {
    "MIME_BOUNDARY_AMBIGUOUS": "a multipart names two boundaries",
    "MIME_BOUNDARY_MISSING": "a multipart without its boundary",
    "MIME_DUPLICATE_FIELD": "two Content-* fields that say different things",
    "MIME_ENCODING_UNKNOWN": "an unknown Content-Transfer-Encoding",
    "MIME_TYPE_MALFORMED": "a Content-Type that is none",
    "MIME_TOO_DEEP": "parts nested too deep to be honest",
    "MIME_TOO_MANY_PARTS": "too many parts to be honest",
    "MIME_PART_AFTER_END": "a part behind the end of its multipart",
    "MESSAGE_HAS_NUL": "NUL characters",
    "HEADER_MALFORMED": "header lines that are no fields",
    "HEADER_TOO_MANY_FIELDS": "too many header fields to be honest",
}

# What the parser did not look at to its end: a message so made wants something not to be seen
_CUT = {
    "HEADER_TOO_LONG": "more header than anybody reads",
    "HEADER_FIELD_TOO_LONG": "a header field of more than 64 KiB",
    "HEADER_TOO_MANY_ADDRESSES": "too many addresses in a field",
    "HTML_TOO_LONG": "more HTML than was read",
    "HTML_TOO_DEEP": "HTML elements nested too deep",
    "HTML_TOO_MANY_LINKS": "more links in the HTML than were read",
    "HTML_ATTRIBUTE_TOO_LONG": "an HTML attribute longer than was read",
    "MESSAGE_TOO_MANY_LINKS": "more links than were read",
    "MIME_TEXT_TOO_LONG": "more text than was read",
    "MIME_TOO_MANY_BOUNDARIES": "too many lines that look like boundaries",
    "MIME_TOO_MANY_CHARSETS": "too many texts in no known charset",
}


class Mime:
    """See the module."""

    name = "mime"
    findings = (*_WORDS, "MESSAGE_CUT_SHORT", "MIME_TWO_FILENAMES")

    def check(self, mail: MailObject) -> Iterator[Finding]:
        """The parser's defects that matter."""
        for defect in mail.message.defects:
            if defect in _WORDS:
                yield Finding(defect, (_WORDS[defect],))
        cut = tuple(_CUT[defect] for defect in mail.message.defects if defect in _CUT)
        if cut:
            yield Finding("MESSAGE_CUT_SHORT", cut)
        for part in mail.message.parts:
            if part.other_filename:
                yield Finding(
                    "MIME_TWO_FILENAMES", (f"a part is called {part.filename[:60]!r} and {part.other_filename[:60]!r}",)
                )
                return
