"""Where the links lead, by the form of their addresses. Nothing is looked up."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache, partial

from gateway.auth.identity import Identity
from gateway.auth.organisation import organisational_domain
from gateway.mail.confusable import has_mixed_scripts, is_disguised_latin
from gateway.mail.domain import to_a_label, to_u_label
from gateway.mail.link import host_of
from gateway.types import Finding, Link, MailObject

_IP = re.compile(r"(?:[0-9]{1,3}(?:\.[0-9]{1,3}){3}|0x[0-9a-f]{8}|[0-9]{8,10}|\[[0-9a-f:.]+\])")
_AUTHORITY = re.compile(r"[a-z]+://([^/?#]*)", re.IGNORECASE)
_PORT = re.compile(r".*:([0-9]{1,5})", re.DOTALL)
_SHOWN = re.compile(r"^(?:https?://)?((?:[a-z0-9-]{1,63}\.)+[a-z]{2,24})(?:[/:?#]\S*)?$", re.IGNORECASE)
# not js: a browser shows it, and so are libraries called (code.example/chart.js)
_PROGRAM = re.compile(r"\.(?:exe|scr|apk|bat|cmd|vbs|jar|msi|hta|iso|lnk)(?:[?#]|$)", re.IGNORECASE)
_FILE = re.compile(
    r"(?!www\.)[a-z0-9._-]+\.(?:js|ts|py|sh|rs|md|json|ya?ml|xml|html?|php|pdf|docx?|xlsx?|pptx?|od[ts]|csv|txt|rtf|zip|rar|"
    r"jpe?g|png|gif|svg|mp[34]|mov|ics|vcf|eml|exe|msi|apk|iso)",
    re.IGNORECASE,
)
_MAX_LINKS = 300
_MAX_SHOWN = 512  # characters of a link's text: a host name has 253 at most


class Url:
    """See the module."""

    name = "url"
    findings = (
        "URL_IP_HOST",
        "URL_ODD_PORT",
        "URL_USERINFO",
        "URL_TEXT_MISMATCH",
        "URL_SHORTENER",
        "URL_MIXED_SCRIPT",
        "URL_PROGRAM",
        "URL_DATA",
        "URL_MANY_LABELS",
        "URL_HAS_RECIPIENT",
    )

    def __init__(self, identity: Identity) -> None:
        self._by_host = lru_cache(maxsize=4096)(partial(_by_host, shorteners=identity.shorteners))

    def check(self, mail: MailObject) -> Iterator[Finding]:
        """One finding of a kind, with up to three links as evidence."""
        found: dict[str, list[str]] = {}
        addresses = [one.address.lower() for one in mail.envelope.recipients[:5]]
        for link in mail.message.links[:_MAX_LINKS]:
            for name, words in _look_at(link, addresses, self._by_host):
                found.setdefault(name, []).append(words)
        for name, evidence in found.items():
            yield Finding(name, tuple(dict.fromkeys(evidence))[:3])


def _look_at(link: Link, addresses: list[str], by_host: Callable[[str], tuple[str, ...]]) -> Iterator[tuple[str, str]]:
    url, host = link.url, host_of(link.url)
    shown = url[:100]
    if url[:5].lower() == "data:" and link.source == "anchor":
        yield "URL_DATA", shown
    if not host:
        return
    match = _AUTHORITY.match(url)
    if match and match[1] != host:
        port = _PORT.fullmatch(match[1])
        if port and port[1] not in ("80", "443", "8080", "8443"):
            yield "URL_ODD_PORT", shown
        if "@" in match[1]:
            yield "URL_USERINFO", shown
    for name in by_host(host):
        yield name, to_u_label(host)[:100] if name == "URL_MIXED_SCRIPT" else shown
    if _PROGRAM.search(url):
        yield "URL_PROGRAM", shown
    if link.source == "anchor":
        text_host = _shown_host(link.text) if "." in link.text else ""
        if text_host and organisational_domain(text_host) != organisational_domain(host):
            yield "URL_TEXT_MISMATCH", f"shown as {text_host[:100]}, leads to {host[:100]}"
        lower = url.lower()
        if any(address in lower for address in addresses):
            yield "URL_HAS_RECIPIENT", shown


def _by_host(host: str, shorteners: frozenset[str]) -> tuple[str, ...]:
    """What the host's name alone tells."""
    labels = to_u_label(host).split(".")
    found = {
        "URL_IP_HOST": _IP.fullmatch(host),
        "URL_SHORTENER": host in shorteners,
        "URL_MIXED_SCRIPT": any(
            has_mixed_scripts(label) or (labels[-1].isascii() and is_disguised_latin(label)) for label in labels
        ),
        "URL_MANY_LABELS": len(labels) > 6,
    }
    return tuple(name for name, is_seen in found.items() if is_seen)


def _shown_host(text: str) -> str:
    """The host of a text that is a web address, not a file's name; else ""."""
    text = text[:_MAX_SHOWN].strip()
    match = None if _FILE.fullmatch(text) else _SHOWN.match(text)
    return to_a_label(match[1]) if match else ""
