"""The languages of the pages: catalogues, direction, dates in the reader's calendar, and whose turn it is."""

from __future__ import annotations

import gettext
import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path

import jdatetime
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

_LOCALE = Path(__file__).parent / "locale"
_DATE = re.compile(r"(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})")
_LAST_JALALI = 1699  # no year that a log has is as early in the other calendar
_DIGITS = {ord(digit): str(number) for digits in ("۰۱۲۳۴۵۶۷۸۹", "٠١٢٣٤٥٦٧٨٩") for number, digit in enumerate(digits)}
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
    has_native_dates: bool = True  # browsers' date fields have its calendar


def languages() -> dict[str, Language]:
    """Code -> language, the default first."""
    return {
        "en": Language("en", "English", "ltr", gettext.NullTranslations(), _gregorian, str),
        "fa": Language("fa", "فارسی", "rtl", _catalogue("fa"), _jalali, _persian, has_native_dates=False),
    }


def parse_day(text: str) -> float | None:
    """Epoch seconds of the beginning of a day (UTC): 2026-11-27, 1405/09/06 or ۱۴۰۵/۰۹/۰۶. None for what is no date."""
    found = _DATE.fullmatch(text.strip().translate(_DIGITS))
    if found is None:
        return None
    year, month, day = map(int, found.groups())
    try:
        there = jdatetime.date(year, month, day).togregorian() if year <= _LAST_JALALI else date(year, month, day)
    except ValueError:
        return None
    return datetime(there.year, there.month, there.day, tzinfo=UTC).timestamp()


def last_days(language: Language, number: int) -> list[str]:
    """Today and those before it, as a reader of the language writes them."""
    today = datetime.now(UTC)
    return [language.when((today - timedelta(days=ago)).timestamp()).partition(" ")[0] for ago in range(number)]


def pick(known: dict[str, Language], chosen: str, accept_language: str) -> Language:
    """What the reader chose, else the first of Accept-Language (RFC 9110 §12.5.4) that there is, else the default."""
    for wanted in (chosen, *(one.partition(";")[0] for one in accept_language[:200].split(","))):
        found = known.get(wanted.strip().lower().partition("-")[0])
        if found is not None:
            return found
    return next(iter(known.values()))


@cache
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
    """A sign keeps to the left of its number (UAX #9 W7)."""
    shown = str(text).translate(_PERSIAN_DIGITS)
    return f"\N{LEFT-TO-RIGHT MARK}{shown}" if shown[:1] in ("-", "+") else shown
