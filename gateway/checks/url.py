"""Where the links lead, by the form of their addresses. Nothing is looked up."""

from __future__ import annotations

import re
from collections.abc import Iterator

from gateway.auth.organisation import organisational_domain
from gateway.checks.domain_list import SHORTENERS
from gateway.mail.domain import to_a_label, to_u_label
from gateway.mail.link import host_of
from gateway.types import Finding, Link, MailObject

_IP = re.compile(r"(?:[0-9]{1,3}(?:\.[0-9]{1,3}){3}|0x[0-9a-f]{8}|[0-9]{8,10}|\[[0-9a-f:.]+\])")
_PORT = re.compile(r"^[a-z]+://[^/?#]*:([0-9]{1,5})(?:[/?#]|$)", re.IGNORECASE)
_USERINFO = re.compile(r"^[a-z]+://[^/?#]*@", re.IGNORECASE)
_SHOWN = re.compile(r"^(?:https?://)?((?:[a-z0-9-]{1,63}\.)+[a-z]{2,24})(?:[/:?#]\S*)?$", re.IGNORECASE)
# not js: a browser shows it, and so are libraries called (code.example/chart.js)
_PROGRAM = re.compile(r"\.(?:exe|scr|apk|bat|cmd|vbs|jar|msi|hta|iso|lnk)(?:[?#]|$)", re.IGNORECASE)
_FILE = re.compile(
    r"(?!www\.)[a-z0-9._-]+\.(?:js|ts|py|sh|rs|md|json|ya?ml|xml|html?|php|pdf|docx?|xlsx?|pptx?|od[ts]|csv|txt|rtf|zip|rar|"
    r"jpe?g|png|gif|svg|mp[34]|mov|ics|vcf|eml|exe|msi|apk|iso)",
    re.IGNORECASE,
)
_MIXED = re.compile(r"[a-z]")
_FOREIGN = re.compile(r"[\u0370-\u04ff]")
_MAX_LINKS = 300


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

    def check(self, mail: MailObject) -> Iterator[Finding]:
        """One finding of a kind, with up to three links as evidence."""
        found: dict[str, list[str]] = {}
        addresses = [one.address.lower() for one in mail.envelope.recipients[:5]]
        for link in mail.message.links[:_MAX_LINKS]:
            for name, words in _look_at(link, addresses):
                found.setdefault(name, []).append(words)
        for name, evidence in found.items():
            yield Finding(name, tuple(dict.fromkeys(evidence))[:3])


def _look_at(link: Link, addresses: list[str]) -> Iterator[tuple[str, str]]:
    url, host = link.url, host_of(link.url)
    shown = url[:100]
    if url[:5].lower() == "data:" and link.source == "anchor":
        yield "URL_DATA", shown
    if not host:
        return
    if _IP.fullmatch(host):
        yield "URL_IP_HOST", shown
    port = _PORT.match(url)
    if port and port[1] not in ("80", "443", "8080", "8443"):
        yield "URL_ODD_PORT", shown
    if _USERINFO.match(url):
        yield "URL_USERINFO", shown
    if host in SHORTENERS:
        yield "URL_SHORTENER", shown
    unicode_host = to_u_label(host)
    if any(_MIXED.search(label) and _FOREIGN.search(label) for label in unicode_host.split(".")):
        yield "URL_MIXED_SCRIPT", unicode_host[:100]
    if _PROGRAM.search(url):
        yield "URL_PROGRAM", shown
    if host.count(".") >= 6:
        yield "URL_MANY_LABELS", shown
    if link.source == "anchor":
        yield from _mismatch(link, host)
        if any(address in url.lower() for address in addresses):
            yield "URL_HAS_RECIPIENT", shown


def _mismatch(link: Link, host: str) -> Iterator[tuple[str, str]]:
    """The text is a web address of another organisation than the link's, not a file's name."""
    text = link.text.strip()
    match = None if _FILE.fullmatch(text) else _SHOWN.match(text)
    text_host = to_a_label(match[1]) if match else ""
    if text_host and organisational_domain(text_host) != organisational_domain(host):
        yield "URL_TEXT_MISMATCH", f"shown as {text_host[:100]}, leads to {host[:100]}"
