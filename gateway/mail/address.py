"""Mailboxes of an address field (RFC 5322 §3.4), read as tolerantly as mail readers do, in linear time.

Groups give their members, comments are dropped, quoted strings unquoted. What holds no address gives a mailbox with
an empty address, so that a check can see that something was there.
"""

from __future__ import annotations

import re

from gateway.mail.domain import to_a_label
from gateway.types import Address

_MAX_LENGTH = 1 << 16
_MAX_MAILBOXES = 1000
# One pass: quoted string, comment without nesting, angle part, separator, anything else
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|\((?:[^()\\]|\\.)*\)|<[^<>]*>|[,;]|[^",;(<]+|.', re.DOTALL)
_ADDR_SPEC = re.compile(r'^(?:"(?:[^"\\]|\\.)*"|[^\s@<>",]+)@[^\s@<>",]+$')


def parse_mailboxes(text: str) -> tuple[Address, ...]:
    """Every mailbox of the decoded field value."""
    found: list[Address] = []
    words: list[str] = []
    angle: str | None = None
    for token in _TOKEN.findall(text[:_MAX_LENGTH]):
        if token in (",", ";"):
            _add(found, words, angle)
            words, angle = [], None
            if len(found) >= _MAX_MAILBOXES:
                break
        elif token.startswith("<") and token.endswith(">") and len(token) > 1:
            if angle is not None:
                words.append(angle)  # two angle parts: the last one is the address, the first is shown
            angle = token[1:-1].strip()
        elif not (token.startswith("(") and token.endswith(")")):
            words.append(token)
    _add(found, words, angle)
    return tuple(found)


def domain_of(address: str) -> str:
    """Lower-case A-label of what stands behind the last "@", "" without one."""
    return to_a_label(address.rpartition("@")[2]) if "@" in address else ""


def _add(found: list[Address], words: list[str], angle: str | None) -> None:
    phrase = "".join(words)
    if angle is None:
        phrase = _after_group_name(phrase, words)
        bare = phrase.strip()
        if not bare:
            return
        if _ADDR_SPEC.match(bare):
            found.append(Address("", bare, domain_of(bare)))
        else:
            found.append(_guess(bare))
        return
    address = re.sub(r"\s+", "", angle)
    if address.startswith("@") and ":" in address:
        address = address.partition(":")[2]  # a source route (RFC 5322 §4.4)
    found.append(Address(_display(words), address if "@" in address else "", domain_of(address)))


def _guess(bare: str) -> Address:
    """No brackets and more than an address: the last word with an "@" is it."""
    words = bare.split()
    index = next((i for i in range(len(words) - 1, -1, -1) if "@" in words[i]), None)
    if index is None:
        return Address(_unquote(bare), "", "")
    address = words[index].strip("<>()[]'\"")
    return Address(_unquote(" ".join(words[:index] + words[index + 1 :])), address, domain_of(address))


def _after_group_name(phrase: str, words: list[str]) -> str:
    """ "undisclosed-recipients:" names a group; it is no mailbox (RFC 5322 §3.4)."""
    if ":" in phrase and not any(word.startswith('"') for word in words):
        return phrase.partition(":")[2]
    return phrase


def _display(words: list[str]) -> str:
    text = " ".join(_unquote(word.strip()) for word in words if word.strip())
    if ":" in text and not any(word.lstrip().startswith('"') for word in words):
        name = text.partition(":")
        text = name[2] if not name[0].strip().count(" ") else text
    return text.strip()


def _unquote(word: str) -> str:
    if len(word) >= 2 and word[0] == word[-1] == '"':
        return re.sub(r"\\(.)", r"\1", word[1:-1])
    return word
