"""Fields a message must or should have (RFC 5322 §3.6), and fields that may stand there only once."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.types import Finding, MailObject

_ONCE = ("from", "to", "cc", "subject", "date", "message-id", "sender", "reply-to")


class MissingField:
    """See the module."""

    name = "missing_field"
    findings = (
        "FROM_MISSING",
        "DATE_MISSING",
        "MESSAGE_ID_MISSING",
        "TO_MISSING",
        "SUBJECT_MISSING",
        "FIELD_DUPLICATE",
    )

    def check(self, mail: MailObject) -> Iterator[Finding]:
        """By the names of the fields."""
        fields = mail.message.by_name
        for field in ("from", "date", "message-id", "subject"):
            if field not in fields:
                yield Finding(f"{field.upper().replace('-', '_')}_MISSING", (f"there is no {field.title()} field",))
        if not any(field in fields for field in ("to", "cc", "bcc", "apparently-to", "resent-to")):
            yield Finding("TO_MISSING", ("no field names a recipient",))
        twice = [field for field in _ONCE if len(fields.get(field, ())) > 1]
        if twice:
            yield Finding("FIELD_DUPLICATE", tuple(f"{len(fields[field])} {field.title()} fields" for field in twice))
