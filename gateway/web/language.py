"""The languages of the pages: catalogues, direction, dates in the reader's calendar, and whose turn it is."""

from __future__ import annotations

import gettext
import io
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import jdatetime
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

_LOCALE = Path(__file__).parent / "locale"
_PERSIAN_DIGITS = str.maketrans("0123456789.%", "۰۱۲۳۴۵۶۷۸۹٫٪")


@dataclass(frozen=True, slots=True)
class Language:
    """One language of the pages."""

    code: str  # BCP 47
    name: str  # as its speakers write it
    direction: str  # ltr or rtl
    translations: gettext.NullTranslations
    when: Callable[[float], str]  # epoch seconds -> date and time in UTC, in the calendar of its readers
    number: Callable[[str], str]  # digits as its readers write them


def languages() -> dict[str, Language]:
    """Code -> language, the default first."""
    return {
        "en": Language("en", "English", "ltr", gettext.NullTranslations(), _gregorian, str),
        "fa": Language("fa", "فارسی", "rtl", _catalogue("fa"), _jalali, _persian),
    }


def pick(known: dict[str, Language], chosen: str, accept_language: str) -> Language:
    """What the reader chose, else the first of Accept-Language (RFC 9110 §12.5.4) that there is, else the default."""
    for wanted in (chosen, *(one.partition(";")[0] for one in accept_language[:200].split(","))):
        found = known.get(wanted.strip().lower().partition("-")[0])
        if found is not None:
            return found
    return next(iter(known.values()))


def _catalogue(code: str) -> gettext.GNUTranslations:
    """Compiled in memory, so that text and program cannot drift apart."""
    with (_LOCALE / code / "LC_MESSAGES" / "darban.po").open("rb") as file:
        messages = read_po(file, locale=code)
    compiled = io.BytesIO()
    write_mo(compiled, messages)
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)


def _gregorian(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M")


def _jalali(at: float) -> str:
    there = datetime.fromtimestamp(at, UTC)
    return _persian(f"{jdatetime.date.fromgregorian(date=there.date()):%Y/%m/%d} {there:%H:%M}")


def _persian(text: str) -> str:
    return str(text).translate(_PERSIAN_DIGITS)
