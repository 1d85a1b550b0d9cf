"""The Date field (RFC 5322 §3.3, obsolete forms included) -> epoch seconds."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_tz

_MAX_LENGTH = 200
_MONTHS = {name: number for number, name in enumerate("jan feb mar apr may jun jul aug sep oct nov dec".split(), 1)}
# The form nearly all mail has, read at a tenth of the cost
_USUAL = re.compile(
    r"(?:[A-Za-z]{3}, )?([0-9]{1,2}) ([A-Za-z]{3}) ([0-9]{4}) "
    r"([0-9]{2}):([0-9]{2}):([0-9]{2}) ([+-])([0-9]{2})([0-9]{2})(?![0-9])"
)


def parse_date(text: str) -> float | None:
    """None for what is no date, or is outside the years 1 to 9999."""
    try:
        usual = _USUAL.match(text)
        month = _MONTHS.get(usual[2].lower()) if usual else None
        if usual and month:
            day, year, hour, minute, second, offset_h, offset_m = map(int, usual.group(1, 3, 4, 5, 6, 8, 9))
            offset = timedelta(minutes=(offset_h * 60 + offset_m) * (-1 if usual[7] == "-" else 1))
        else:
            parts = parsedate_tz(text[:_MAX_LENGTH])
            if parts is None:
                return None
            year, month, day, hour, minute, second = parts[:6]
            offset = timedelta(seconds=parts[9] or 0)
        # a leap second (RFC 5322 §3.3 allows 60) counts as the one before it
        return (datetime(year, month, day, hour, minute, min(second, 59), tzinfo=UTC) - offset).timestamp()
    except (ValueError, OverflowError, IndexError, TypeError):
        return None
