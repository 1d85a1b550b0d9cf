"""The queue id in a next hop's reply: no standard says where it stands, each server has its own words for it."""

from __future__ import annotations

import re

_MAX_REPLY = 600
_MAX_ID = 100
# most telling first
_FORMS = tuple(
    re.compile(form, re.IGNORECASE)
    for form in (
        r"\bqueued (?:mail )?as ([^\s;,)]+)",  # Postfix, OpenSMTPD, Haraka, Amavis behind Postfix
        r"\bid=([^\s;,)]+)",  # Exim: OK id=1qX2Yz-0003ab-1C
        r"\[InternalId=([0-9]+)",  # Exchange
        r"\b(?:with|held by|taken from) the MTA as ([^\s;,)]+)",  # ours, of a milter's MTA
        r"^250 (?:2\.\d\.\d )?([0-9a-z]{12,20}) Message accepted",  # sendmail
        r"^250 (?:2\.\d\.\d )?OK\s+([0-9]{9,} [^\s]+) - gsmtp",  # Google
        r"\bqp ([0-9]+)$",  # qmail
        r"^250 (?:2\.\d\.\d )?<[^>\s]*> ([^\s]{16,}) Saved",  # Dovecot's LMTP
        r"\bas ([0-9a-z][^\s;,)]{5,})$",
    )
)


def queue_id_of(reply: str) -> str:
    """ "" where there is none."""
    for form in _FORMS:
        found = form.search(reply[:_MAX_REPLY])
        if found is not None:
            return found[1].rstrip(".")[:_MAX_ID]
    return ""
