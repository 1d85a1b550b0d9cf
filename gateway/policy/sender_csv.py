"""Allowed and blocked senders as a CSV file (RFC 4180), in UTF-8, with the names of the columns in the first line.

act, pattern, recipient (empty: everybody), expires (2027-01-03, or with a time of day; "never"; empty: the default),
network, note. Further columns are passed over. A field that a spreadsheet would take for a formula has ' before it, and
loses it when it is read.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta

from gateway.errors import InputError
from gateway.policy.sender_form import DAY_S, sender_entry
from gateway.types import Account, SenderEntry

COLUMNS = ("act", "pattern", "recipient", "expires", "network", "note", "by", "at", "hits")
MAX_BYTES = 4 << 20
_MAX_FAULTS = 20
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def write_csv(entries: Iterable[SenderEntry]) -> Iterator[str]:
    """Line by line."""
    yield _line(COLUMNS)
    for one in entries:
        expires = "never" if one.expires_at is None else _time(one.expires_at)
        said = (one.act, one.pattern, one.recipient, expires, one.network, one.note, one.by, _time(one.at), one.hits)
        yield _line(said)


def read_csv(content: bytes, who: Account, now: float, allow_days: int) -> list[SenderEntry]:
    """Every line, by the same rules as a form. Raises InputError that names the lines at fault, the first ones."""
    if len(content) > MAX_BYTES:
        raise InputError(f"The file is larger than {MAX_BYTES >> 20} MiB. Part it.")
    try:
        lines = csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
        if not {"act", "pattern"} <= set(lines.fieldnames or ()):
            raise InputError("The first line names the columns; act and pattern have to be among them.")
        entries, faults = [], []
        for line in lines:
            try:
                entries.append(_entry(line, who, now, allow_days))
            except InputError as fault:
                faults.append(f"line {lines.line_num}: {fault}")
                if len(faults) == _MAX_FAULTS:
                    break
    except UnicodeDecodeError:
        raise InputError("The file is not UTF-8.") from None
    except csv.Error as error:
        raise InputError(f"The file is no CSV: {error}") from None
    if faults:
        raise InputError("\n".join(faults))
    return list({(one.act, one.pattern, one.recipient, one.network): one for one in entries}.values())


def _entry(line: dict[str, str], who: Account, now: float, allow_days: int) -> SenderEntry:
    said = {name: _plain(line.get(name) or "") for name in COLUMNS}
    act = said["act"].lower()
    return sender_entry(
        who,
        act=act,
        pattern=said["pattern"],
        recipient=said["recipient"],
        expires_at=_expiry(said["expires"], act, now, allow_days),
        now=now,
        note=said["note"],
        network=said["network"],
    )


def _expiry(text: str, act: str, now: float, allow_days: int) -> float | None:
    if text.lower() == "never" or (not text and act == "block"):
        return None
    if not text:
        return now + allow_days * DAY_S
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise InputError(f"“{' '.join(text.split())[:40]}” is no day; write 2027-01-03, or never.") from None
    end = at + timedelta(days=1) if len(text) == len("2027-01-03") else at  # the day counts whole
    return end.replace(tzinfo=end.tzinfo or UTC).timestamp()


def _plain(text: str) -> str:
    text = text.strip()
    return text[1:] if text.startswith("'") and text[1:2] in _FORMULA else text


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _line(fields: Iterable[object]) -> str:
    out = io.StringIO()
    csv.writer(out).writerow([f"'{one}" if str(one).startswith(_FORMULA) else one for one in fields])
    return out.getvalue()
