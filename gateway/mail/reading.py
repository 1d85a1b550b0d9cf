"""Would every reader part an address field alike (RFC 5322 §3.4, §4.4)?

Mail programs disagree about what no honest one writes: two addresses without a comma, text behind the brackets, a
source route, an address as local part or as encoded-word, a NUL. A forger lets one of them see the domain that is
checked and another one show the victim's (Chen, Paxson and Jiang, "Composition Kills", USENIX Security 2020). So the
question is not what the field says, but whether it says only one thing.

Tolerated, since all read it alike: phrases with any character but brackets, the author's own address as a name
without quotes, empty list elements, comments without an address in them, white space around the dots of a domain.

Cost: 10 µs for what is not of the usual forms. Linear, never raises.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from gateway.mail.domain import to_a_label, to_u_label
from gateway.mail.header import decode_words

MAX_LENGTH = 2048  # characters; a hundred authors
_QUOTED = r'"(?>(?:[^"\\]++|\\.)*)"'
_COMMENT = r"\((?>(?:[^()\\]++|\\.|\((?>(?:[^()\\]++|\\.)*)\))*)\)"  # two levels: more of them are no honest comment
_TOKEN = re.compile(
    rf"(?P<quoted>{_QUOTED})|(?P<comment>{_COMMENT})|(?P<angle><(?>(?:[^<>\"()]++|{_QUOTED}|{_COMMENT})*)>)"
    r"|(?P<end>[,;])|(?P<colon>:)|(?P<at>@)|(?P<odd>[<>\"])|(?P<literal>\[[^\s\"(),;<>@\\\[\]]++\])"
    r"|(?P<text>[^\s\"(),:;<>@\\\[]++|\\.?|[()\[])|(?P<white>\s++)",
    re.DOTALL,
)
_USUAL = re.compile(r'(?:"[\w .,&\'-]*+"|[\w .&\'-]*+)\s*<[\w.+=-]++@[A-Za-z0-9.-]++>|[\w.+=-]++@[A-Za-z0-9.-]++')
_ENCODED = re.compile(r"((?>(?:=\?[\w-]{1,40}\?[BbQq]\?[^?\s<>\"]*+\?=\s*+)+))<[\w.+=-]++@([A-Za-z0-9.-]++)>")
_CONTROL = re.compile("[\x00-\x08\x0a-\x1f\x7f\x85\u2028\u2029\ufffd]")
_COMMENTS = re.compile(_COMMENT)
_ADDRESS = re.compile(
    r'(?:"[^"@<>,;:\\]*+"|[^\s()<>@,;:\\"\[\]]++)@(?:[^\s()<>@,;:\\"\[\]]++|\[[^\s()<>@,;\\"\[\]]++\])'
)
_ROUTED = re.compile(r"%[^%]+\.|\..*!")  # a%b.example and b.example!a: another domain in the local part
_BROKEN_DOMAIN = re.compile(r"[^\s.]\.[^\s.]++\.?\s")  # white space behind what is a domain already
_WHITE = re.compile(r"\s")
_AROUND_DOT = re.compile(r"\s*+([.@])\s*+")
_PHRASE = re.compile(rf"(?>(?:{_QUOTED}|[^\s\"(),:;<>@\\\[\]]++|\s++)*)", re.DOTALL)
_SHOWN = re.compile(r"@\s*+([^\s<>\"(),:;@]++)")
_AT = re.compile("[@\uff20\ufe6b]")


@dataclass(slots=True)
class _Mailbox:
    """What was seen of one."""

    text: str = ""  # outside brackets, comments and phrases
    phrase: str = ""  # everything before the brackets but comments, quoted strings as written
    angle: str | None = None
    has_inner_comment: bool = False  # a comment with an "@", and more behind it
    has_outer_comment: bool = False
    colons: int = 0


@lru_cache(maxsize=1024)
def has_one_reading(value: str) -> bool:
    """Whether the field's value, unfolded, encoded-words not yet decoded, is read alike by all. Never raises."""
    if len(value) > MAX_LENGTH:
        return False
    if _USUAL.fullmatch(value):
        return _is_label_sound(value)
    encoded = _ENCODED.fullmatch(value)
    if encoded:
        return _is_label_sound(value) and _is_phrase_sound(encoded[1], to_a_label(encoded[2]))
    if _CONTROL.search(value):
        return False
    mailbox = _Mailbox()
    last_semicolon = value.rfind(";")
    for match in _TOKEN.finditer(value):
        kind, lexeme = match.lastgroup, match[0]
        if kind == "odd":
            return False
        if kind == "end":
            if not _is_sound(mailbox):
                return False
            mailbox = _Mailbox()
        elif kind == "colon" and match.end() <= last_semicolon and not mailbox.text.count("@") and not mailbox.angle:
            mailbox = _Mailbox()  # what came before was a group's name
        elif not _take(mailbox, kind or "", lexeme):
            return False
    return _is_sound(mailbox)


def _take(mailbox: _Mailbox, kind: str, lexeme: str) -> bool:
    """Add what was read; False where readers part."""
    if kind == "comment":
        if "<" in lexeme or ">" in lexeme:
            return False
        mailbox.has_outer_comment = mailbox.has_outer_comment or "@" in lexeme
        mailbox.text += " "
        return True
    if kind == "angle":
        if mailbox.angle is not None:
            return False
        mailbox.angle, mailbox.phrase, mailbox.text = lexeme[1:-1], mailbox.text, ""
        return True
    if kind == "colon":
        mailbox.colons += 1
    if kind != "white" and mailbox.has_outer_comment:
        mailbox.has_inner_comment = True
    mailbox.text += lexeme
    return True


def _is_sound(mailbox: _Mailbox) -> bool:
    if mailbox.angle is None:
        return _is_bare_sound(mailbox)
    address = _COMMENTS.sub(_emptied, mailbox.angle)
    if "@" not in address:
        return "@" not in mailbox.text and "=?" not in address  # no address: MAILER-DAEMON <>
    if "@" in mailbox.text or "=?" in mailbox.text or not _is_address(address):
        return False
    return _is_phrase_sound(mailbox.phrase, to_a_label(_WHITE.sub("", address.rpartition("@")[2])))


def _is_phrase_sound(phrase: str, domain: str) -> bool:
    """A name that shows another domain's address has to be one by the letter of the grammar; else any will do."""
    decoded = decode_words(phrase)
    if "@" not in decoded and "@" not in phrase:
        return not _CONTROL.search(decoded)
    shown = {to_a_label(found) for found in (*_SHOWN.findall(decoded), *_SHOWN.findall(phrase)) if "." in found}
    if shown <= {domain}:  # none, or its own; "Sara @ Shop" shows no domain
        return not _CONTROL.search(decoded)
    if decoded != phrase and ("<" in decoded or _CONTROL.search(decoded)):  # brought in by an encoded-word
        return False
    return _PHRASE.fullmatch(phrase) is not None


def _is_bare_sound(mailbox: _Mailbox) -> bool:
    text = mailbox.text.strip()
    if "=?" in text and _AT.search(decode_words(text)):
        return False
    ats = len(_AT.findall(text))  # in quotes, too
    if ats == 0:
        return True  # a name, or nothing
    if ats > 1 or mailbox.colons or mailbox.has_inner_comment:
        return False
    before, _, behind = text.rpartition("@")
    if _WHITE.search(behind.strip()):
        return False
    if not before.rstrip().endswith('"'):  # words before the address are a name to all who find it at all
        before = before.split()[-1] if before.split() else ""
    return _is_address(f"{before}@{behind}")


def _emptied(comment: re.Match[str]) -> str:
    """White space stands where a comment stood; one with an address in it is kept, and is none."""
    return comment[0] if "@" in comment[0] else " "


def _is_address(text: str) -> bool:
    """One addr-spec that nobody cuts short."""
    text = text.strip()
    local_part, _, domain = text.rpartition("@")
    if _BROKEN_DOMAIN.search(domain.strip()) or "=?" in text:
        return False
    text = _AROUND_DOT.sub(r"\1", text)
    return _ADDRESS.fullmatch(text) is not None and not _ROUTED.search(local_part) and _is_label_sound(text)


def _is_label_sound(address: str) -> bool:
    """Do its A-labels decode? Readers show what they like for those that do not."""
    if "xn--" not in address.lower():
        return True
    domain = address.rpartition("@")[2].rstrip("> ").lower()
    return to_u_label(domain) != domain
