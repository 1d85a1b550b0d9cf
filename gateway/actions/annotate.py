"""What the next hop reads above the message: trace, authentication and score fields; forged copies of them removed.

DESIGN §4 "What is stripped and added". Only whole header fields are removed or prepended; subject and body bytes stay
as received. Received: RFC 5321 §4.4; Authentication-Results: RFC 8601; X-Spam-*: SpamAssassin's form, as the filters
of Zimbra, Exchange, cPanel and Dovecot read it. With a sealer an ARC set goes on top, which covers all of that.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from email.utils import formatdate
from functools import lru_cache

from gateway import __version__
from gateway.mail.authentication_results import write
from gateway.mail.edit import edit_header, format_field, inbound_field_to_strip, to_crlf
from gateway.ports import Sealer
from gateway.types import AuthResult, Envelope, Hit, Mta, Recipient, Verdict

_FIELD = re.compile(rb"[^\r]+\r\n(?:[ \t][^\r]*\r\n)*")  # as we write them
_MAX_LEVEL = 50  # stars; more say nothing and lengthen the line


def annotate(
    envelope: Envelope,
    content: bytes,
    verdict: Verdict,
    recipients: Sequence[Recipient],
    required_score: float,
    sealer: Sealer | None = None,
) -> bytes:
    """The content as it is relayed to these recipients, whose threshold is `required_score`."""
    if sealer is not None:
        content = to_crlf(content)  # as it is sent
    fields = _verdict_fields(envelope, verdict, required_score)
    return _sealed(_edit(envelope, content, fields, verdict.auth, recipients), envelope, verdict.auth, sealer)


def annotate_scanned(envelope: Envelope, content: bytes, verdict: Verdict, required_score: float) -> bytes:
    """The content as it goes back to a server that only asked: line ends as they came, an mbox line stays on top, and
    no Received field, as we are no hop.
    """
    newline = newline_of(content)
    prepend = [
        format_field(name, value).replace(b"\r\n", newline)
        for name, value in scanned_fields(envelope, verdict, required_score)
    ]
    start = content.find(b"\n") + 1 if content.startswith(b"From ") else 0
    return content[:start] + edit_header(content[start:], field_to_strip(envelope), prepend)


def scanned_fields(envelope: Envelope, verdict: Verdict, required_score: float) -> list[tuple[str, str]]:
    """Name and value of what annotate_scanned puts on top, topmost first."""
    fields = _verdict_fields(envelope, verdict, required_score)
    return [*fields, ("Authentication-Results", write(envelope.hostname, verdict.auth))]


def field_to_strip(envelope: Envelope, also: Collection[str] = ()) -> Callable[[str, bytes], bool]:
    """Whether an inbound field, by name and bytes, goes: it pretends to be ours, or is one of `also` (lower-case)."""
    domains = {recipient.domain for recipient in envelope.recipients}
    return lambda name, raw: name.lower() in also or inbound_field_to_strip(name, raw, envelope.hostname, domains)


def newline_of(content: bytes) -> bytes:
    """The line end that the content's first line has."""
    end = content.find(b"\n")
    return b"\n" if end > 0 and content[end - 1 : end] != b"\r" else b"\r\n"


def fields_on_top(
    envelope: Envelope,
    content: bytes,
    verdict: Verdict,
    required_score: float,
    mta: Mta,
    sealer: Sealer | None = None,
) -> tuple[bytes, ...]:
    """What a server that relays the message itself puts above it, its own Received field included: the topmost first.

    Its trace field is the only one; X-Darban-Mta names it.
    """
    fields = _verdict_fields(envelope, verdict, required_score)
    if mta.name and mta.queue_id:
        fields.append(("X-Darban-Mta", f"{mta.name} {mta.queue_id}"))
    fields.append(("Authentication-Results", write(envelope.hostname, verdict.auth)))
    on_top = tuple(format_field(name, value) for name, value in fields)
    sealed = _sealed(content, envelope, verdict.auth, sealer)
    return (*_FIELD.findall(sealed[: len(sealed) - len(content)]), *on_top)


def annotate_release(
    envelope: Envelope,
    content: bytes,
    auth: Sequence[AuthResult],
    recipients: Sequence[Recipient],
    sealer: Sealer | None = None,
) -> bytes:
    """The content as it is released: a person has judged, so no filter behind us shall hold it again."""
    fields = [
        ("X-Spam-Flag", "NO"),
        ("X-Darban-Id", envelope.queue_id),
        ("X-Darban-Released", formatdate(localtime=True)),
    ]
    return _sealed(_edit(envelope, to_crlf(content), fields, auth, recipients), envelope, auth, sealer)


def _verdict_fields(envelope: Envelope, verdict: Verdict, required_score: float) -> list[tuple[str, str]]:
    is_spam = verdict.score >= required_score
    fields = [
        ("X-Spam-Flag", "YES" if is_spam else "NO"),
        ("X-Spam-Status", _status(verdict, required_score, is_spam)),
        ("X-Spam-Score", f"{verdict.score:.1f}"),
        ("X-Spam-Level", "*" * max(0, min(_MAX_LEVEL, int(verdict.score)))),
        ("X-Darban-Id", envelope.queue_id),
    ]
    if verdict.incomplete:
        fields.append(("X-Darban-Incomplete", "; ".join(verdict.incomplete)))
    return fields


def _sealed(content: bytes, envelope: Envelope, auth: Sequence[AuthResult], sealer: Sealer | None) -> bytes:
    """Last of all (RFC 8617 §5.1). Nothing is sealed when authentication did not run: there is nothing to say."""
    if sealer is None or not auth:
        return content
    chain = next((result.result for result in auth if result.method == "arc"), "none")
    return sealer.seal(content, write(envelope.hostname, auth), chain)


def _edit(
    envelope: Envelope,
    content: bytes,
    fields: Sequence[tuple[str, str]],
    auth: Sequence[AuthResult],
    recipients: Sequence[Recipient],
) -> bytes:
    prepend = [format_field(name, value) for name, value in fields]
    prepend.append(format_field("Authentication-Results", write(envelope.hostname, auth)))
    prepend.append(format_field("Received", _received(envelope, auth, recipients)))
    domains = {recipient.domain for recipient in recipients}
    return edit_header(
        content, lambda name, raw: inbound_field_to_strip(name, raw, envelope.hostname, domains), prepend
    )


def client_name(auth: Sequence[AuthResult]) -> str:
    """The client's name by reverse DNS and back; "" when there is none, or it is not known."""
    return next((result.domain for result in auth if result.method == "iprev" and result.result == "pass"), "")


def _received(envelope: Envelope, auth: Sequence[AuthResult], recipients: Sequence[Recipient]) -> str:
    client = envelope.client
    literal = f"IPv6:{client.ip}" if ":" in client.ip else client.ip
    name = client_name(auth) or "unknown"
    tls = f" (using {client.tls})" if client.tls else ""
    # RFC 5321 §7.6: naming one of several recipients would tell a blind copy
    destination = f" for <{recipients[0].address}>" if len(recipients) == 1 else ""
    helo = client.helo or "unknown"
    return (
        f"from {helo} ({name} [{literal}]){tls} by {envelope.hostname} with {client.protocol} "
        f"id {envelope.queue_id}{destination}; {_date(int(envelope.received_at))}"
    )


@lru_cache(maxsize=16)
def _date(seconds: int) -> str:
    return formatdate(seconds, localtime=True)


def _status(verdict: Verdict, required_score: float, is_spam: bool) -> str:
    tests = ", ".join(hit.name for hit in _by_name(verdict.hits)) or "none"
    return (
        f"{'Yes' if is_spam else 'No'}, score={verdict.score:.1f} required={required_score:.1f} "
        f"tests={tests} autolearn=no version=Darban-{__version__}"
    )


def _by_name(hits: Sequence[Hit]) -> list[Hit]:
    return sorted(hits, key=lambda hit: hit.name)
