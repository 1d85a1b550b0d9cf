"""The Date field (RFC 5322 §3.3, obsolete forms included) -> epoch seconds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_tz

_MAX_LENGTH = 200


def parse_date(text: str) -> float | None:
    """None for what is no date, or is outside the years 1 to 9999."""
    try:
        parts = parsedate_tz(text[:_MAX_LENGTH])
        if parts is None:
            return None
        moment = datetime(*parts[:6], tzinfo=UTC) - timedelta(seconds=parts[9] or 0)
    except (ValueError, OverflowError, IndexError, TypeError):
        return None
    return moment.timestamp()
