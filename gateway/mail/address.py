"""Mailboxes of an address field (RFC 5322 §3.4), read as tolerantly as mail readers do, in linear time.

Groups give their members, quoted strings are unquoted, a comment names a mailbox that has no other name. Encoded-words
are decoded after the structure was read, so none can forge a mailbox (RFC 2047 §6.2). What holds no address gives a
mailbox with an empty address, so that a check can see that something was there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from gateway.mail.domain import to_a_label
from gateway.mail.header import decode_words, written_value
from gateway.types import Address, HeaderField

MAX_MAILBOXES = 1000
_MAX_LENGTH = 1 << 16
# quoted string · encoded-word · angle part · domain literal · white space · separator · word · anything else
_TOKEN = re.compile(
    r'"(?>(?:[^"\\]++|\\.)*)"|=\?[^?\s]{1,80}\?[BbQq]\?[^?]*+\?=|<[^<>]*+>|\[[^\[\]\s]*+\]|\s++|[,;:]|[^\s",;:(<=\[]++|.',
    re.DOTALL,
)
# The forms most mail has, read at a third of the cost, each up to a comma or the end:
# Name <address>, "Name" <address>, address
_USUAL = re.compile(
    r'(?:(?:"([^"\\=<]{0,200}+)"|"?([\w .-]{0,200}+)"?)\s?<([\w.+=-]{1,200}@[A-Za-z0-9.-]{1,200})>'
    r"|([\w.+=-]{1,200}@[A-Za-z0-9.-]{1,200}))"
    r"(?:\s*+,\s*+|\Z)"
)
_COMMENT_BOUND = re.compile(r"\\.|[()]", re.DOTALL)
_QUOTING = re.compile(r'["\\]')
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_ADDR_SPEC = re.compile(r'(?:"(?>(?:[^"\\]++|\\.)*)"|[^\s@<>",]++)@[^\s@<>",]++', re.DOTALL)
_AROUND_AT = re.compile(r"(?<!\s)\s*+@\s*+")
_WHITE = re.compile(r"\s+")
_INNER_COMMENT = re.compile(r"\((?>(?:[^()\\@]++|\\.)*)\)", re.DOTALL)  # RFC 5322 A.5 has them; none with an address


def parse_mailboxes(value: str | HeaderField) -> tuple[Address, ...]:
    """Every mailbox of a field, or of a field's value with encoded-words not yet decoded."""
    text = value if isinstance(value, str) else written_value(value)
    text = text[:_MAX_LENGTH]
    found, position = [], 0
    while (usual := _USUAL.match(text, position)) is not None:
        quoted, phrase, angle, bare = usual.groups()
        name, address = quoted or phrase, angle or bare
        found.append(Address(" ".join(name.split()) if name else "", address, domain_of(address)))
        position = usual.end()
        if position == len(text) or len(found) == MAX_MAILBOXES:
            return tuple(found)
    return _Reader(text).read()


def domain_of(address: str) -> str:
    """Lower-case A-label of what stands behind the last "@", "" without one."""
    return to_a_label(address.rpartition("@")[2]) if "@" in address else ""


def mention_of(address: str) -> re.Pattern[str]:
    """Finds the address in a text, in any case: not as the end or beginning of a longer one."""
    return re.compile(rf"(?<![\w!#$%&'*+/=?^`{{|}}~.-]){re.escape(address)}(?![\w-]|\.\w)", re.IGNORECASE)


@dataclass(slots=True)
class _Mailbox:
    """A mailbox being read."""

    words: list[str] = field(default_factory=list)
    angle: str | None = None
    comment: str = ""
    has_quoted: bool = False

    def finish(self) -> Address | None:
        """The mailbox, None when nothing was there."""
        phrase = decode_words("".join(self.words)).strip()
        if self.angle is None:
            if not phrase:
                return None
            found = _bare(phrase)
        else:
            angle = _INNER_COMMENT.sub("", self.angle) if "(" in self.angle and '"' not in self.angle else self.angle
            address = _WHITE.sub("", decode_words(angle))
            if address.startswith("@") and ":" in address:
                address = address.partition(":")[2]  # a source route (RFC 5322 §4.4)
            found = Address(_WHITE.sub(" ", phrase), address if "@" in address else "", domain_of(address))
        if self.comment and not found.display_name:
            return Address(decode_words(self.comment).strip(), found.address, found.domain)
        return found


class _Reader:
    """One pass over a value. Each failing search for a closing quote or bracket happens once."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0
        self.last_semicolon = text.rfind(";")
        self.are_comments_closed = True
        self.found: list[Address] = []
        self.mailbox = _Mailbox()

    def read(self) -> tuple[Address, ...]:
        """All mailboxes."""
        while self.position < len(self.text) and len(self.found) < MAX_MAILBOXES:
            match = _TOKEN.match(self.text, self.position)
            if match is None:
                break
            self.position = match.end()
            self._take(match[0])
        self._end()
        return tuple(self.found[:MAX_MAILBOXES])

    def _take(self, lexeme: str) -> None:
        mailbox = self.mailbox
        if lexeme in (",", ";"):
            self._end()
        elif lexeme == ":" and self._ends_group_name():
            self.mailbox = _Mailbox()  # what came before was a group's name
        elif lexeme == "(" and self.are_comments_closed:
            self._comment()
        elif lexeme == '"':  # never closed: from here on quotes mean nothing
            self.text = _QUOTING.sub("", self.text[self.position :])
            self.position, self.last_semicolon = 0, self.text.rfind(";")
        elif lexeme[0] == "<" and len(lexeme) > 1:
            if mailbox.angle is not None:
                mailbox.words.append(f"<{mailbox.angle}>")  # two: the last one is the address, the first is shown
            mailbox.angle = lexeme[1:-1]
        elif lexeme[0] == '"' and not self.text.startswith("@", self.position):
            mailbox.has_quoted = True
            mailbox.words.append(_ESCAPED.sub(r"\1", lexeme[1:-1]))
        else:
            mailbox.words.append(lexeme)

    def _ends_group_name(self) -> bool:
        """A colon does, when a semicolon can end the group; in a display name it is only wrong."""
        mailbox = self.mailbox
        return self.position <= self.last_semicolon and mailbox.angle is None and not mailbox.has_quoted

    def _comment(self) -> None:
        depth = 1
        for match in _COMMENT_BOUND.finditer(self.text, self.position):
            depth += {"(": 1, ")": -1}.get(match[0], 0)
            if depth == 0:
                self.mailbox.comment = self.mailbox.comment or self.text[self.position : match.start()]
                self.position = match.end()
                return
        self.are_comments_closed = False
        self.mailbox.words.append("(")

    def _end(self) -> None:
        found = self.mailbox.finish()
        if found is not None:
            self.found.append(found)
        self.mailbox = _Mailbox()


def _bare(phrase: str) -> Address:
    """No brackets: an address, or words of which the last one with an "@" is it."""
    if _ADDR_SPEC.fullmatch(phrase):
        return Address("", phrase, domain_of(phrase))
    words = _AROUND_AT.sub("@", phrase).split()
    index = next((i for i in range(len(words) - 1, -1, -1) if "@" in words[i]), None)
    if index is None:
        name = phrase.rstrip(": ")  # an empty group, "undisclosed-recipients:", is no mailbox
        return Address(name, "", "")
    address = words[index].strip("<>()[]'\"").removeprefix("mailto:")
    return Address(" ".join(words[:index] + words[index + 1 :]), address, domain_of(address))
