"""The From field (RFC 5322 §3.6.2): one author with an address, a display name that plays no other, nothing hidden.

What is hidden: characters that end or turn what a mail program shows (NUL, line ends out of encoded-words, direction
overrides), blanks that push the address out of sight, an address that only decoding shows ("Mailsploit", 2017).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence

from gateway.auth.identity import Identity
from gateway.auth.organisation import organisational_domain
from gateway.auth.sender import is_bulk, is_disproved, is_proven
from gateway.checks.domain_list import ALIAS_RELAYS
from gateway.mail.confusable import without_invisible
from gateway.mail.domain import to_a_label
from gateway.mail.header import written_value
from gateway.types import Address, Finding, HeaderField, MailObject

_MAX = 500  # characters of a field or name that are searched
_ADDRESS = re.compile(r"[\w.%+-]{1,64}@([\w-]{1,63}(?:\.[\w-]{1,63})+)")
_HOST = re.compile(r"(?<![\w@.-])(?:\w[\w-]{0,62}\.){1,6}[^\W\d_][\w-]{0,62}(?![\w@-])")
_ROLE = re.compile(
    r"(?i)\b(?:help\s*desk|it\s+support|support\s+team|mail\s*admin\w*|administrator|postmaster|webmaster|security\s+team|"
    r"account\s+team|managing\s+director|ceo|chief\s+executive|(?:accounts?|accounting|finance|payroll|billing|hr|sales|it)"
    r"\s+(?:department|dept\.?|office|payable|receivable)|human\s+resources)\b|"
    r"پشتیبانی|مدیر\s*عامل|مدیریت|حسابداری|امور\s*مالی|منابع\s*انسانی|روابط\s*عمومی|واحد\s*(?:مالی|فروش)"
)
# In a decoded field, so these were encoded. Not ESC, SO and SI: undecoded Japanese; not C1: badly declared quotes
_CONTROL = re.compile("[\x01-\x08\x0a-\x0d\x10-\x1a\x1c-\x1f\x7f\u2028\u2029]")
_BLANK = "\u00a0\u1680\u2000-\u200a\u202f\u205f\u2800\u3000\u3164\uffa0\u115f\u1160"
_PADDING = re.compile(rf"[ \t{_BLANK}]{{20,}}[^\s<]|[{_BLANK}]{{6,}}")
_ENCODED_ADDRESS = re.compile(
    r"<[^<>]{0,200}=\?[^?\s<>]{1,60}\?[BbQq]\?[^<>]{0,400}>|@=\?[^?\s]{1,60}\?[BbQq]\?|=\?[^?\s]{1,60}\?[BbQq]\?[^?\s]{0,400}\?=@"
)


class Author:
    """See the module."""

    name = "author"
    findings = (
        "AUTHOR_NO_ADDRESS",
        "AUTHOR_SEVERAL",
        "AUTHOR_NAME_IS_OTHER_ADDRESS",
        "AUTHOR_NAME_IS_OUR_ADDRESS",
        "AUTHOR_ROLE_FREEMAIL",
        "AUTHOR_NUL",
        "AUTHOR_HIDES",
        "AUTHOR_ADDRESS_ENCODED",
    )

    def __init__(self, identity: Identity) -> None:
        self._identity = identity

    def check(self, mail: MailObject) -> Iterator[Finding]:
        """Silent without a From field; missing_field speaks of that."""
        author = mail.message.author
        fields = mail.message.by_name.get("from", ())
        if not fields:
            return
        if any(b"\0" in field.raw for field in fields) or any("\0" in box.display_name + box.address for box in author):
            yield Finding("AUTHOR_NUL", ("From holds a NUL character, which hides what follows",))
        yield from _hidden(fields[:3])
        if not any(box.domain for box in author):
            yield Finding("AUTHOR_NO_ADDRESS", ("From holds no address",))
        if len(author) > 1 and not mail.message.sender:
            yield Finding("AUTHOR_SEVERAL", (f"From names {len(author)} authors and there is no Sender",))
        for box in author[:3]:
            if not box.display_name:
                continue
            if "." in box.display_name:
                yield from self._other_address(mail, box)
            if box.domain in self._identity.freemail and _ROLE.search(box.display_name[:_MAX]):
                yield Finding("AUTHOR_ROLE_FREEMAIL", (f"“{box.display_name[:60]}” writes from {box.domain}",))

    def _other_address(self, mail: MailObject, box: Address) -> Iterator[Finding]:
        name = box.display_name[:_MAX]
        if not name.isascii():
            name = without_invisible(unicodedata.normalize("NFKC", name))
        match = _ADDRESS.search(name) if "@" in name else None
        shown = to_a_label(match[1]) if match else ""
        said = match[0][:120] if match else ""
        if not shown and not self._identity.own_organisations:
            return
        if not shown:
            hosts = ((one[0], to_a_label(one[0])) for one in _HOST.finditer(name))
            said, shown = next(((text, host) for text, host in hosts if self._is_ours(host)), ("", ""))
        if not shown or not box.domain or organisational_domain(shown) == organisational_domain(box.domain):
            return
        is_list = is_bulk(mail) and is_proven(mail)
        if is_list and " via " in name.lower():  # how lists write their members' addresses before their own
            return
        words = (f"shown as {said[:120]}, sent as {box.address[:120]}",)
        if self._is_ours(shown) and not self._identity.is_own(box.domain) and not is_list:
            yield Finding("AUTHOR_NAME_IS_OUR_ADDRESS", words)
        elif match and (box.domain not in ALIAS_RELAYS or is_disproved(mail)):
            yield Finding("AUTHOR_NAME_IS_OTHER_ADDRESS", words)

    def _is_ours(self, domain: str) -> bool:
        return bool(domain) and (self._identity.is_own(domain) or self._identity.is_partner(domain))


def _hidden(fields: Sequence[HeaderField]) -> Iterator[Finding]:
    for field in fields:
        if b"=?" not in field.raw and field.raw.isascii() and b"     " not in field.raw:
            continue
        text = field.text[:_MAX]
        if _CONTROL.search(text):
            yield Finding("AUTHOR_HIDES", ("From holds an encoded line end or control, which hides what follows",))
        elif "\u202e" in text:
            yield Finding("AUTHOR_HIDES", ("From turns the reading direction, so that the name reads backwards",))
        elif _PADDING.search(text):
            yield Finding("AUTHOR_HIDES", ("From holds a long row of blanks, which pushes the address out of sight",))
        if b"=?" in field.raw and _ENCODED_ADDRESS.search(written_value(field)[:_MAX]):
            yield Finding(
                "AUTHOR_ADDRESS_ENCODED", ("the address in From is encoded, and programs read it differently",)
            )
        return
