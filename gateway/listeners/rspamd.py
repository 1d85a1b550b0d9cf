"""What Rspamd's clients send and read: request fields -> Envelope, what was found -> the answer of /checkv2, of the
older /check, and of RSPAMC.

By Rspamd's protocol documentation and what Haraka's plugin, rspamc and Exim really send and look at. Read are IP, Helo,
From, Rcpt (repeated, or with commas), Deliver-To (where there is no Rcpt), TLS-Version and TLS-Cipher, Queue-Id and
User (for the log), and of Flags `no_log`; Hostname, Settings-Id, Pass, MTA-Name, MTA-Tag, Subject and the rest mean
nothing here: names are looked up, the settings are ours. Not answered: urls and emails (a door does not parse bodies),
groups, profile, another body. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gateway.actions.annotate import field_to_strip, newline_of, scanned_fields
from gateway.listeners.scan_envelope import read_recipients, scan_envelope
from gateway.listeners.spamd_codec import shown_number, shown_score
from gateway.mail.edit import format_field
from gateway.mail.header import read_header
from gateway.policy.settle import DEFERRED, REFUSED
from gateway.scanning import Scanned
from gateway.types import ActionName, Envelope, Hit

# Nothing is held here for a server that did not hand the message over: it marks what our policy would hold
ACTIONS: Mapping[ActionName, str] = {
    "accept": "no action",
    "tag": "add header",
    "quarantine": "add header",
    "reject": "reject",
}
DEFER = "soft reject"
_MAX_OPTIONS = 10

Fields = Sequence[tuple[str, str]]  # names lower-case


def read_envelope(fields: Fields, hostname: str) -> Envelope:
    """The envelope these fields tell of. Raises InputError when IP is no address."""
    one = dict(fields)
    rcpt = [part for name, value in fields if name == "rcpt" for part in value.split(",")]
    return scan_envelope(
        hostname,
        client_ip=one.get("ip", ""),
        helo=one.get("helo", ""),
        reverse_path=one.get("from", ""),
        recipients=read_recipients(rcpt or [one.get("deliver-to", "")]),
        tls=f"{one.get('tls-version', 'TLS')} {one['tls-cipher']}" if "tls-cipher" in one else "",
    )


def is_logged(fields: Fields) -> bool:
    """Whether the client asks about mail that it takes."""
    one = dict(fields)
    return "no_log" not in one.get("flags", "") and one.get("log", "").lower() != "no"


def told_as(fields: Fields) -> str:
    """What the client calls the message, and who sent it, for the log."""
    one = dict(fields)
    return " ".join(one[name][:100] for name in ("queue-id", "user") if one.get(name))


def check(scanned: Scanned, content: bytes) -> dict[str, Any]:
    """The object of /checkv2."""
    verdict, wanted, policy = scanned.verdict, scanned.wanted, scanned.policy
    found: dict[str, Any] = {
        "is_skipped": False,
        "score": round(verdict.score, 3),
        "required_score": wanted.required_score,
        "action": ACTIONS[wanted.action],
        "thresholds": {"add header": policy.tag_at, "quarantine": policy.quarantine_at, "reject": policy.reject_at},
        "symbols": {hit.name: _symbol(hit) for hit in verdict.hits},
        "messages": {"smtp_message": REFUSED.text} if wanted.action == "reject" else {},
        "message-id": verdict.summary.message_id or "undef",
        "milter": {"add_headers": _added(scanned, content), "remove_headers": _removed(scanned, content)},
        "time_real": round(verdict.seconds, 6),
        # beyond Rspamd's: what policy wants, by our own names
        "darban": {
            "queue_id": verdict.queue_id,
            "action": wanted.action,
            "reason": wanted.reason,
            "incomplete": list(verdict.incomplete),
        },
    }
    return found


def check_legacy(scanned: Scanned, content: bytes) -> dict[str, Any]:
    """The object of /check and /symbols: the same, the verdict in a metric."""
    found = check(scanned, content)
    moved = {name: found.pop(name) for name in ("is_skipped", "score", "required_score", "action")}
    return {"default": {"is_spam": scanned.is_spam, **moved, **found.pop("symbols")}, **found}


def no_verdict(why: str) -> dict[str, Any]:
    """Where none could be had: the message is to come again, whether or not the client looks at the status."""
    return {
        "error": why,
        "is_skipped": True,
        "score": 0.0,
        "required_score": 0.0,
        "action": DEFER,
        "symbols": {},
        "messages": {"smtp_message": DEFERRED.text},
    }


def rspamc(scanned: Scanned) -> bytes:
    """The answer of RSPAMC to CHECK and SYMBOLS."""
    verdict, required = scanned.verdict, scanned.wanted.required_score
    score, reject_at = shown_score(verdict.score, required), shown_number(scanned.policy.reject_at)
    lines = [
        "RSPAMD/1.3 0 EX_OK",
        f"Metric: default; {scanned.is_spam}; {score} / {shown_number(required)} / {reject_at}",
        f"Action: {ACTIONS[scanned.wanted.action]}",
        *(f"Symbol: {hit.name}({hit.score:.2f})" for hit in verdict.hits),
        f"Message-ID: {verdict.summary.message_id or 'undef'}",
    ]
    return "".join(f"{_one_line(line)}\r\n" for line in lines).encode("utf-8", "replace")


def _symbol(hit: Hit) -> dict[str, Any]:
    score = round(hit.score, 3)
    options = [text.encode("utf-8", "replace").decode() for text in hit.evidence[:_MAX_OPTIONS]]
    return {"name": hit.name, "score": score, "metric_score": score, "description": hit.description, "options": options}


def _added(scanned: Scanned, content: bytes) -> dict[str, Any]:
    """Name -> value, folded with the line ends that the message has, below the first field."""
    newline = newline_of(content).decode("ascii")
    fields = scanned_fields(scanned.envelope, scanned.verdict, scanned.wanted.required_score)
    return {name: {"value": _folded(name, value, newline), "order": 1} for name, value in fields}


def _folded(name: str, value: str, newline: str) -> str:
    written = format_field(name, value).decode("utf-8", "replace")
    return written[len(name) + 1 :].strip().replace("\r\n", newline)


def _removed(scanned: Scanned, content: bytes) -> dict[str, Any]:
    """Name -> 0 for all fields of this name, or the numbers, from 1, of those that pretend to be ours."""
    is_ours = field_to_strip(scanned.envelope)
    places: dict[str, list[bool]] = {}
    names: dict[str, str] = {}
    for field in read_header(content)[1]:
        names.setdefault(field.name.lower(), field.name)
        places.setdefault(field.name.lower(), []).append(is_ours(field.name, field.raw))
    return {names[name]: _numbers(forged) for name, forged in places.items() if any(forged)}


def _numbers(forged: Sequence[bool]) -> int | list[int]:
    if all(forged):
        return 0
    numbers = [number for number, one in enumerate(forged, 1) if one]
    return numbers[0] if len(numbers) == 1 else numbers


def _one_line(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text)[:1000]
