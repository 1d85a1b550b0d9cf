"""Forged From fields: what one reader takes for the author and another does not (docs/spoofing.md).

Who is played is author.py's and lookalike.py's matter; here it is the form that tells. No cost beyond the field.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

from gateway.auth.author import read_author
from gateway.auth.organisation import organisational_domain
from gateway.auth.sender import is_disproved
from gateway.checks.domain_list import ALIAS_RELAYS
from gateway.mail.domain import to_a_label
from gateway.types import Address, Finding, MailObject

_MAX_AUTHORS = 3
_MAX_NAME = 2048  # characters of a display name
_ADDRESS = re.compile(r"[A-Za-z0-9._%+-]{1,64}@([A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})+)")
_BEHIND = re.compile(r"[\W_]*")  # brackets, quotes and blanks behind an address
_INVISIBLE = re.compile("[\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")
_DOTS = re.compile("[\u2024\u3002\uff0e\uff61\ufe52]")
_CONTROL = re.compile("[\x00-\x08\x0a-\x1f\x7f]")
_TURNED = "\u202e"
# Names that firms have under these are what a forger puts before his own: bank.com.evil.example
_COMMON_TOP = frozenset(("com", "net", "org", "edu", "gov", "mil"))


class FromField:
    """See the module."""

    name = "from_field"
    findings = (
        "FROM_FIELDS_SEVERAL",
        "FROM_AMBIGUOUS",
        "FROM_DOMAINS_SEVERAL",
        "FROM_ENCODED",
        "FROM_NO_ADDRESS",
        "FROM_NOT_IN_DNS",
        "FROM_NAME_IS_ADDRESS",
        "FROM_NAME_DISGUISED",
        "FROM_DOMAIN_BELOW_OTHER",
    )

    def check(self, mail: MailObject) -> Iterator[Finding]:
        """Silent without a From field; missing_field speaks of that."""
        yield from _form(mail)
        for box in mail.message.author[:_MAX_AUTHORS]:
            yield from _name(box, is_relayed=box.domain in ALIAS_RELAYS and not is_disproved(mail))
            below = _below(box.domain)
            if below:
                yield Finding("FROM_DOMAIN_BELOW_OTHER", (f"{below} in {box.domain[:120]}",))


def _form(mail: MailObject) -> Iterator[Finding]:
    if any(one.method == "dmarc" and one.domain for one in mail.auth):
        return  # DMARC has read it, and found one author domain
    author = read_author(mail.message)
    written = tuple(field.text[:120] for field in mail.message.by_name.get("from", ())[:_MAX_AUTHORS])
    evidence = (author.words, *written)
    if author.problem == "fields":
        yield Finding("FROM_FIELDS_SEVERAL", evidence)
    elif author.problem in ("hidden", "reading"):
        yield Finding("FROM_AMBIGUOUS", evidence)
    elif author.problem == "encoded":
        yield Finding("FROM_ENCODED", evidence)
    elif author.problem == "domains":
        if len({organisational_domain(box.domain) for box in mail.message.author}) > 1:
            yield Finding("FROM_DOMAINS_SEVERAL", evidence)
    elif author.problem == "outside":
        yield Finding("FROM_NOT_IN_DNS", evidence)
    elif author.problem == "address" and (mail.envelope.reverse_path or any("@" in text for text in written)):
        yield Finding("FROM_NO_ADDRESS", evidence)  # mail systems call themselves MAILER-DAEMON in reports


def _name(box: Address, *, is_relayed: bool) -> Iterator[Finding]:
    """Another address as the name, in plain sight (as an alias relay does it) or not."""
    name = box.display_name[:_MAX_NAME]
    plain = _last_address(name, box.domain)
    if plain and not is_relayed and _BEHIND.fullmatch(name, plain.end()):
        yield Finding("FROM_NAME_IS_ADDRESS", (f"shown as {plain[0]}, sent as {box.address[:120]}",))
    if name.isascii() and not _CONTROL.search(name):
        return
    unmasked = unicodedata.normalize("NFKC", _DOTS.sub(".", _INVISIBLE.sub("", _CONTROL.sub("", name))))
    hidden = _last_address(unmasked, box.domain)
    if hidden is None and _TURNED in name:
        hidden = _last_address(unmasked[::-1], box.domain)
    if hidden and (plain is None or hidden[0] != plain[0] or _CONTROL.search(name)):
        yield Finding("FROM_NAME_DISGUISED", (f"shown as {hidden[0]}, sent as {box.address[:120]}",))


def _last_address(text: str, domain: str) -> re.Match[str] | None:
    """The last address of another organisation than this domain's."""
    if "@" not in text:
        return None
    found = [one for one in _ADDRESS.finditer(text) if to_a_label(one[1])]
    others = [one for one in found if organisational_domain(to_a_label(one[1])) != organisational_domain(domain)]
    return others[-1] if others and domain else None


@lru_cache(maxsize=4096)
def _below(domain: str) -> str:
    """What looks like another domain in front of the organisation's own; "" for nothing."""
    labels = domain.removesuffix(organisational_domain(domain)).strip(".").split(".")
    top = next((index for index, label in enumerate(labels) if index and label in _COMMON_TOP), 0)
    return ".".join(labels[: top + 1])[:120] if top else ""
