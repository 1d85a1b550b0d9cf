"""Attachments that carry programs or hide what they are: by name and first bytes, nothing is opened."""

from __future__ import annotations

import re
from collections.abc import Iterator

from gateway.mail.encoding import decode_bytes
from gateway.types import Finding, MailObject, Part

_PROGRAMS = frozenset(
    "exe scr pif com bat cmd vbs vbe js jse wsf wsh hta msi msp cpl jar lnk ps1 psm1 reg inf scf url chm "
    "gadget apk dll iso img vhd vhdx xll one onepkg application appx msix vb ws msc sct library-ms search-ms".split()
)
_MACROS = frozenset("docm dotm xlsm xltm xlam pptm potm ppam ppsm sldm".split())
_DOCUMENTS = frozenset("pdf doc docx xls xlsx ppt pptx txt rtf jpg jpeg png gif zip mp3 mp4 csv odt ods".split())
_DIRECTION = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_OVERRIDE = re.compile("[\u202d\u202e]")
_RIGHT_TO_LEFT = re.compile("[\u202b\u2067]")  # an embedding or isolate: out of place where no letter is written so
_RIGHT_TO_LEFT_LETTER = re.compile("[\u05d0-\u05ea\u0620-\u064a\u066e-\u06d3\u0750-\u077f\ufb1d-\ufdfd\ufe70-\ufefc]")
_EXTENSION = re.compile(r"\.([a-z0-9-]{1,12})$")
_DOUBLE = re.compile(r"\.([a-z0-9]{2,5})[\s_.]*\.([a-z0-9-]{1,12})$")
_IGNORED_AT_THE_END = " .\t\r\n'\"\u200b\u200c\u200d\u2060\ufeff"
_HEAD = 64  # bytes: a DOS header, whose last field is never without a NUL
_ENCODED_HEAD = 4096  # what is decoded for it: blank lines may stand before the first byte
_SIGNATURES = (
    (b"MZ", "a Windows program"),
    (b"\x7fELF", "a Linux program"),
    (b"L\0\0\0\x01\x14\x02\0", "a Windows shortcut"),
)
# An internet shortcut is an INI file. One that only opens a page is a link; what names a file or share can run it.
_PAGE = re.compile(rb"^url=(https?://[\w.:-]+)", re.IGNORECASE | re.MULTILINE)
_SHARE = re.compile(rb"\\\\|=[ \t]*(?://|(?!https?:)[a-z][\w+.-]+:)|\0", re.IGNORECASE)


class Attachment:
    """See the module."""

    name = "attachment"
    findings = (
        "ATTACHMENT_EXECUTABLE",
        "ATTACHMENT_DOUBLE_EXTENSION",
        "ATTACHMENT_NAME_OVERRIDE",
        "ATTACHMENT_MACRO",
        "ATTACHMENT_HTML",
        "ATTACHMENT_DISGUISED",
        "ATTACHMENT_SHORTCUT",
    )

    def check(self, mail: MailObject) -> Iterator[Finding]:
        """One finding of a kind for each part."""
        for part in mail.message.parts:
            for name in filter(None, (part.filename, part.other_filename)):
                yield from _by_name(name, part)
            if part.text is None and not part.content_type.startswith(("multipart/", "message/")):
                yield from _by_content(part)


def dangers(part: Part) -> tuple[str, ...]:
    """What one part would be reported for, as names of findings."""
    names = [name for name in (part.filename, part.other_filename) if name]
    found = [*(one for name in names for one in _by_name(name, part)), *_by_content(part)]
    return tuple(dict.fromkeys(one.name for one in found))


def _by_name(filename: str, part: Part) -> Iterator[Finding]:
    shown = filename[:120]
    if _is_turned(filename):
        yield Finding(
            "ATTACHMENT_NAME_OVERRIDE", (f"the name {shown!r} turns its reading direction to hide its ending",)
        )
    extension = _extension(filename)
    if extension == "url" and (page := _only_page(part)):
        yield Finding("ATTACHMENT_SHORTCUT", (f"{shown} opens {page}",))
    elif extension in _PROGRAMS:
        yield Finding("ATTACHMENT_EXECUTABLE", (f"{shown} is a program (.{extension})",))
        double = _DOUBLE.search(_as_stored(filename))
        if double and double[1] in _DOCUMENTS:
            yield Finding("ATTACHMENT_DOUBLE_EXTENSION", (f"{shown} looks like .{double[1]} but is .{extension}",))
    elif extension in _MACROS:
        yield Finding("ATTACHMENT_MACRO", (f"{shown} can hold macros (.{extension})",))
    elif extension in ("html", "htm", "shtml", "xhtml", "svg", "mht", "mhtml"):
        yield Finding("ATTACHMENT_HTML", (f"{shown} opens in a browser (.{extension})",))


def _by_content(part: Part) -> Iterator[Finding]:
    head = decode_bytes(part.raw[:_ENCODED_HEAD], part.encoding)[:_HEAD]
    for signature, what in _SIGNATURES:
        # a table of parts may begin with "MZ-1001"; text holds no NUL
        if head.startswith(signature) and b"\0" in head and _extension(part.filename) not in _PROGRAMS:
            yield Finding("ATTACHMENT_DISGUISED", (f"{part.filename[:120] or part.content_type} is {what}",))


def _only_page(part: Part) -> str:
    """Where an internet shortcut leads, "" unless it is all there and does no more than that."""
    content = decode_bytes(part.raw[:_ENCODED_HEAD], part.encoding)
    page = _PAGE.search(content)
    if page is None or len(part.raw) > _ENCODED_HEAD or _SHARE.search(content):
        return ""
    return page[1].decode("ascii", "replace")[:120]


def _extension(filename: str) -> str:
    """What the system goes by, lower-case, "" without one."""
    match = _EXTENSION.search(_as_stored(filename))
    return match[1] if match else ""


def _is_turned(filename: str) -> bool:
    """Shown in another order than its letters call for: by an override, or as if Latin ran from right to left."""
    if _OVERRIDE.search(filename):
        return True
    return bool(_RIGHT_TO_LEFT.search(filename) and not _RIGHT_TO_LEFT_LETTER.search(filename))


def _as_stored(filename: str) -> str:
    """The name of the file a reader makes: Windows drops dots and spaces at the end, many readers what a NUL hides."""
    return _DIRECTION.sub("", filename).partition("\0")[0].rstrip(_IGNORED_AT_THE_END).lower()
