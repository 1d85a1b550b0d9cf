"""The Date field against the time of receipt."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from gateway.types import Finding, MailObject

_DAY = 86_400.0
_FUTURE_S, _FAR_FUTURE_S, _PAST_S = 0.5 * _DAY, 4 * _DAY, 14 * _DAY


class Date:
    """See the module."""

    name = "date"
    findings = ("DATE_INVALID", "DATE_IN_FUTURE", "DATE_FAR_FUTURE", "DATE_IN_PAST")

    def check(self, mail: MailObject) -> Iterator[Finding]:
        """Silent without a Date field; missing_field speaks of that."""
        message = mail.message
        fields = message.by_name.get("date")
        if not fields:
            return
        if message.date is None:
            yield Finding("DATE_INVALID", (f"Date says {fields[0].text[:60]!r}, which is no date",))
            return
        ahead = message.date - mail.envelope.received_at
        if ahead > _FAR_FUTURE_S:
            yield _finding("DATE_FAR_FUTURE", message.date, f"{ahead / _DAY:.0f} days after")
        elif ahead > _FUTURE_S:
            yield _finding("DATE_IN_FUTURE", message.date, f"{ahead / 3600:.0f} hours after")
        elif ahead < -_PAST_S:
            yield _finding("DATE_IN_PAST", message.date, f"{-ahead / _DAY:.0f} days before")


def _finding(name: str, date: float, distance: str) -> Finding:
    said = datetime.fromtimestamp(date, UTC).strftime("%Y-%m-%d %H:%M")
    return Finding(name, (f"Date says {said}, {distance} we received it",))
