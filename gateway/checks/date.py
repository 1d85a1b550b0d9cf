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
        text = next((field.text for field in message.fields if field.name.lower() == "date"), None)
        if text is None:
            return
        if message.date is None:
            yield Finding("DATE_INVALID", (f"Date says {text[:60]!r}, which is no date",))
            return
        ahead = message.date - mail.envelope.received_at
        said = datetime.fromtimestamp(message.date, UTC).strftime("%Y-%m-%d %H:%M")
        if ahead > _FAR_FUTURE_S:
            yield Finding("DATE_FAR_FUTURE", (f"Date says {said}, {ahead / _DAY:.0f} days after we received it",))
        elif ahead > _FUTURE_S:
            yield Finding("DATE_IN_FUTURE", (f"Date says {said}, {ahead / 3600:.0f} hours after we received it",))
        elif ahead < -_PAST_S:
            yield Finding("DATE_IN_PAST", (f"Date says {said}, {-ahead / _DAY:.0f} days before we received it",))
