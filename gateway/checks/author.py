"""The From field (RFC 5322 §3.6.2): one author with an address, and a display name that does not play another."""

from __future__ import annotations

import re
from collections.abc import Iterator

from gateway.auth.organisation import organisational_domain
from gateway.checks.domain_list import FREEMAIL
from gateway.mail.domain import to_a_label
from gateway.types import Finding, MailObject

_ADDRESS = re.compile(r"[A-Za-z0-9._%+-]{1,64}@([A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})+)")
_ROLE = re.compile(
    r"(?i)\b(?:help\s*desk|it\s+support|support\s+team|mail\s*admin\w*|administrator|postmaster|webmaster|security\s+team|"
    r"account\s+team|managing\s+director|ceo|chief\s+executive)\b|پشتیبانی|مدیر\s*عامل|مدیریت"
)


class Author:
    """See the module."""

    name = "author"
    findings = (
        "AUTHOR_NO_ADDRESS",
        "AUTHOR_SEVERAL",
        "AUTHOR_NAME_IS_OTHER_ADDRESS",
        "AUTHOR_ROLE_FREEMAIL",
        "AUTHOR_NUL",
    )

    def check(self, mail: MailObject) -> Iterator[Finding]:
        """Silent without a From field; missing_field speaks of that."""
        author = mail.message.author
        fields = mail.message.by_name.get("from", ())
        if not fields:
            return
        if any(b"\0" in field.raw for field in fields) or any("\0" in box.display_name + box.address for box in author):
            yield Finding("AUTHOR_NUL", ("From holds a NUL character, which hides what follows",))
        if not any(box.domain for box in author):
            yield Finding("AUTHOR_NO_ADDRESS", ("From holds no address",))
        if len(author) > 1 and not mail.message.sender:
            yield Finding("AUTHOR_SEVERAL", (f"From names {len(author)} authors and there is no Sender",))
        for box in author[:3]:
            match = _ADDRESS.search(box.display_name) if "@" in box.display_name else None
            shown = to_a_label(match[1]) if match else ""
            if shown and box.domain and organisational_domain(shown) != organisational_domain(box.domain):
                yield Finding(
                    "AUTHOR_NAME_IS_OTHER_ADDRESS",
                    (f"shown as {match[0] if match else ''}, sent as {box.address[:120]}",),
                )
            if box.domain in FREEMAIL and _ROLE.search(box.display_name):
                yield Finding("AUTHOR_ROLE_FREEMAIL", (f"“{box.display_name[:60]}” writes from {box.domain}",))
