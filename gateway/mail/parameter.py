"""Values with parameters, as Content-Type and Content-Disposition have them (RFC 2045 §5.1, 2183, 2231).

Read from the text before encoded-words are decoded. RFC 2231's forms come before the plain one; what readers accept
is accepted: a missing semicolon, unquoted values with spaces, encoded-words inside quotes. Linear; never raises.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from gateway.mail.charset import decode
from gateway.mail.header import decode_words

_VALUE = re.compile(r"(?>(?:\s|\([^()]{0,500}\))*)([^\s;()\"=]{1,200})")
_PARAMETER = re.compile(
    r"""(?:;|(?<!\s)\s)(?>(?:\s|\([^()]{0,500}\))*)([^\s=;"*()]{1,64}(?:\*[0-9]{1,4})?\*?)\s*+=\s*+"""
    r"""("(?>(?:[^"\\]++|\\.)*)"?|[^;]*)""",
    re.DOTALL,
)
_ESCAPED = re.compile(r'\\(["\\])')
_COMMENT = re.compile(r"\s\(.*", re.DOTALL)


class Parameter(NamedTuple):
    """One name=value, the value unquoted but still encoded."""

    name: str  # lower case, with RFC 2231's asterisks
    value: str


def parse_parameters(text: str) -> tuple[str, list[Parameter]]:
    """The lower-case value at the front ("" for none), and the parameters in order."""
    match = _VALUE.match(text)
    if match is None or text[match.end() : match.end() + 1] == "=":  # "Content-Disposition: filename=x"
        value, rest = "", f";{text}"
    else:
        value, rest = match[1].lower(), text[match.end() :]
    if "=" not in rest:
        return value, []
    return value, [Parameter(found[1].lower(), _unquote(found[2])) for found in _PARAMETER.finditer(rest)]


def parameter(parameters: list[Parameter], name: str) -> tuple[str, str]:
    """(the decoded value, a second different value of the same name or "")."""
    mine = [one for one in parameters if one.name.startswith(name)]
    if not mine:
        return "", ""
    plain = [decode_words(value) if "=?" in value else value for key, value in mine if key == name]
    extended = [_extended(value) for key, value in mine if key == name + "*"]
    found = [value for value in (*extended, *_continued(mine, name), *plain) if value]
    other = next((value for value in found[1:] if value != found[0]), "")
    return (found[0] if found else ""), other


def without_comment(value: str) -> str:
    """ "us-ascii (plain text)" -> "us-ascii": for values that are tokens, not for names of files."""
    return _COMMENT.sub("", value).strip() if "(" in value else value.strip()


def _extended(value: str) -> str:
    """charset'language'percent-encoded (RFC 2231 §4)."""
    charset, first, rest = value.partition("'")
    _, second, payload = rest.partition("'")
    if not (first and second):
        return decode(unquote_to_bytes(value))
    return decode(unquote_to_bytes(payload), charset)


def _continued(parameters: list[Parameter], name: str) -> list[str]:
    """name*0, name*1* ... put together, up to the first gap (RFC 2231 §3)."""
    pieces: dict[int, tuple[bool, str]] = {}
    for key, value in parameters:
        base, _, rest = key.partition("*")
        number = rest.rstrip("*")
        if base == name and number.isascii() and number.isdigit():
            pieces.setdefault(int(number), (rest.endswith("*"), value))
    charset, content, index = "", bytearray(), 0
    while index in pieces:
        is_encoded, value = pieces[index]
        if index == 0 and is_encoded and value.count("'") >= 2:
            charset, _, value = value.split("'", 2)
        content += unquote_to_bytes(value) if is_encoded else value.encode("utf-8", "replace")
        index += 1
    return [decode(bytes(content), charset)] if index else []


def _unquote(value: str) -> str:
    value = value.strip()
    if not value.startswith('"'):
        return value
    value = value[1:-1] if len(value) > 1 and value.endswith('"') else value[1:]
    return _ESCAPED.sub(r"\1", value) if "\\" in value else value
