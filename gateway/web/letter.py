"""Letters in words: HTML that mail readers show well, the same as text, in the language and calendar of their reader.

Tables, inline styles, no images, nothing that is loaded; each block says its direction itself, as some readers drop the
page's. What strangers wrote stands in cells or isolates of its own. Never shows anything of a body.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import jdatetime

from gateway.types import Calendar, DigestContent, DigestItem, DigestLetter, HeldMessage, LinkContent
from gateway.web.language import Language
from gateway.web.site import Site


def letter_writer(site: Site) -> Callable[[DigestContent], DigestLetter]:
    """What writes letters with the site's catalogues and templates."""

    def write(content: DigestContent) -> DigestLetter:
        digest = content.digest
        language = site.languages[digest.language]
        templates = site.templates[language.code]
        number = len(content.items) + content.more
        when = moment(language, digest.calendar, digest.time_zone)
        values: dict[str, Any] = {
            "content": content,
            "digest": digest,
            "number": number,
            "rows": [_row(site, language, item) for item in content.items],
            "language": language,
            "when": when,
            "day": lambda at: when(at).partition(" ")[0],
            "hostname": site.hostname,
            "start": "right" if language.direction == "rtl" else "left",
            "end": "left" if language.direction == "rtl" else "right",
        }
        subject, html, text = (
            templates.get_template(f"digest_letter{part}").render(values) for part in ("_subject.txt", ".html", ".txt")
        )
        name = language.translations.gettext("Mail quarantine")
        return DigestLetter(name, " ".join(subject.split()), html, text)

    return write


def link_letter_writer(site: Site) -> Callable[[LinkContent], DigestLetter]:
    """The same for letters with a link that signs in."""

    def write(content: LinkContent) -> DigestLetter:
        language = site.languages.get(content.language) or next(iter(site.languages.values()))
        values: dict[str, Any] = {
            "content": content,
            "language": language,
            "minutes": language.number(str(content.minutes)),
            "hostname": site.hostname,
            "start": "right" if language.direction == "rtl" else "left",
        }
        templates = site.templates[language.code]
        subject, html, text = (
            templates.get_template(f"link_letter{part}").render(values) for part in ("_subject.txt", ".html", ".txt")
        )
        return DigestLetter(language.translations.gettext("Mail quarantine"), " ".join(subject.split()), html, text)

    return write


def moment(language: Language, calendar: Calendar, time_zone: str) -> Callable[[float], str]:
    """Epoch seconds -> date and time, in the digits of the language."""
    zone = ZoneInfo(time_zone)

    def shown(at: float) -> str:
        there = datetime.fromtimestamp(at, UTC).astimezone(zone)
        day = jdatetime.date.fromgregorian(date=there.date()) if calendar == "jalali" else there.date()
        return language.number(f"{day:%Y/%m/%d} {there:%H:%M}" if calendar == "jalali" else f"{there:%Y-%m-%d %H:%M}")

    return shown


def _row(site: Site, language: Language, item: DigestItem) -> dict[str, Any]:
    return {"held": item.held, "urls": item.urls, "why": _why(site, language, item.held)}


def _why(site: Site, language: Language, held: HeldMessage) -> str:
    """In a sentence; "" when nothing spoke against it. What is said of malware stands above it."""
    verdict, translated = json.loads(held.verdict_json), language.translations.gettext
    if held.reason.startswith("blocked by "):
        return ""  # the reason itself says it
    if held.kind == "malware":
        return site.why(language, verdict)
    reasons = site.because(language, verdict, translated("its words read like those of spam"))
    lead = translated("Looks like fraud:" if held.kind == "phishing" else "Looks like spam:")
    return f"{lead} {reasons}" if reasons else ""
