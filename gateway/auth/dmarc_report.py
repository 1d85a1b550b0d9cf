"""DMARC aggregate reports (RFC 9990): a day's rows -> the XML, its name, and the message that carries it.

One report for each policy domain and UTC day, with the policy that was seen last (§3.3). The Report-ID is the file
name's unique-id (§3.1.4), made of our host, the domain and the day: writing or sending again gives the same names.
Values come from hostile mail: they are escaped, and what XML cannot hold is left out.

Cost: 25 µs a row.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import re
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from xml.sax.saxutils import escape

from gateway.auth.dmarc_record import Record, parse_record
from gateway.auth.iprev import parse_address
from gateway.mail.encoded_word import encode_name
from gateway.types import DmarcRow

NAMESPACE = "urn:ietf:params:xml:ns:dmarc-2.0"
DAY_S = 86_400

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0 §2.2
_DKIM_RESULTS = frozenset("none pass fail policy neutral temperror permerror".split())  # RFC 8601 §2.7.1
_SPF_RESULTS = _DKIM_RESULTS | {"softfail"}  # §2.7.2
_REASONS = frozenset("local_policy mailing_list other policy_test_mode trusted_forwarder".split())  # §3.1.6
_COMMENTS = {
    "local_policy": "the policy is one of several things that decide here",
    "other": "a look-up failed, or the record's pct= spares this message",
}
_STAND_IN = "p=, sp= or np= of the record is not valid, so p=none was applied"


@dataclass(frozen=True, slots=True)
class Reporter:
    """Who reports."""

    address: str  # where reports come from
    organisation: str  # its name
    contact: str  # further words on how to reach it, "" for none
    host: str  # the gateway's name, which keeps the reports of several apart
    generator: str  # "Darban 1.0"

    @property
    def domain(self) -> str:
        """The receiver that reports name."""
        return self.address.rpartition("@")[2].lower()


@dataclass(frozen=True, slots=True)
class Report:
    """One report, ready to be written or sent."""

    day: int  # days since the epoch
    domain: str  # the policy domain
    id: str
    filename: str
    content: bytes  # the XML, gzipped
    record: Record  # the policy record of the day
    method: str  # how it was found: "treewalk", "psl"
    message_count: int
    row_count: int


def make_report(rows: Sequence[DmarcRow], reporter: Reporter) -> Report | None:
    """The report of one domain and day; None when there is nothing to tell. Never raises on any rows."""
    usable = [row for row in rows if parse_address(row.source_ip) is not None]
    if not usable:
        return None
    first = usable[0]
    method, _, text = first.published.partition(" ")
    record = parse_record(text.encode("latin-1", "replace"))
    if record is None:
        return None
    day, domain = int(first.at // DAY_S), re.sub(r"[^a-z0-9._-]", "_", first.domain.lower())
    report_id = hashlib.sha256(f"{reporter.host}|{domain}|{day}".encode()).hexdigest()[:24]
    begin, end = day * DAY_S, (day + 1) * DAY_S - 1
    xml = _feedback(usable, reporter, record, (method, domain, report_id, begin, end))
    return Report(
        day=day,
        domain=domain,
        id=report_id,
        filename=f"{reporter.domain}!{domain}!{begin}!{end}!{report_id}.xml.gz",  # §3.5.2
        content=gzip.compress(xml.encode(), mtime=0),
        record=record,
        method=method,
        message_count=sum(row.count for row in usable),
        row_count=len(usable),
    )


def make_message(report: Report, reporter: Reporter, to: str, now: float) -> bytes:
    """The report as a message for one address (§3.5.2), CRLF line ends."""
    boundary = f"report-{report.id}"
    begin = datetime.fromtimestamp(report.day * DAY_S, UTC).strftime("%Y-%m-%d")
    words = textwrap.fill(
        f"This is the DMARC aggregate report of {reporter.organisation} about {report.domain} for {begin} (UTC): "
        f"{report.message_count} messages. It was asked for by the rua= of the DMARC record of {report.domain}.",
        76,
        break_long_words=False,
    )
    lines = [
        f"From: {encode_name(reporter.organisation)} <{reporter.address}>",
        f"To: <{to}>",
        f"Subject: Report Domain: {report.domain}",
        f" Submitter: {reporter.domain}",
        f" Report-ID: <{report.id}>",
        f"Date: {format_datetime(datetime.fromtimestamp(now, UTC))}",
        f"Message-ID: <{report.id}.{hashlib.sha256(to.encode()).hexdigest()[:8]}@{reporter.domain}>",
        "Auto-Submitted: auto-generated",
        "MIME-Version: 1.0",
        f'Content-Type: multipart/mixed; boundary="{boundary}"',
        "",
        f"--{boundary}",
        "Content-Type: text/plain; charset=utf-8",
        "Content-Transfer-Encoding: base64",
        "",
        *_base64(words.encode()),
        "",
        f"--{boundary}",
        "Content-Type: application/gzip",
        "Content-Transfer-Encoding: base64",
        f'Content-Disposition: attachment;\r\n filename="{report.filename}"',
        "",
        *_base64(report.content),
        "",
        f"--{boundary}--",
        "",
    ]
    return "\r\n".join(lines).encode("ascii", "replace")


# --- the XML ----------------------------------------------------------------------------------------------------------


def _feedback(
    rows: Iterable[DmarcRow], reporter: Reporter, record: Record, facts: tuple[str, str, str, int, int]
) -> str:
    method, domain, report_id, begin, end = facts
    metadata = [
        _text("org_name", reporter.organisation),
        _text("email", reporter.address),
        _text("extra_contact_info", reporter.contact) if reporter.contact else "",
        _text("report_id", report_id),
        _element("date_range", _text("begin", str(begin)), _text("end", str(end))),
        _text("error", _STAND_IN) if record.is_stand_in else "",
        _text("generator", reporter.generator),
    ]
    policy = [
        _text("domain", domain),
        _text("discovery_method", "psl" if method == "psl" else "treewalk"),
        _text("p", record.policy or "none"),
        _text("sp", record.subdomain_policy or "none"),
        _text("np", record.nonexistent_policy or "none"),
        _text("fo", record.failure_options),
        _text("adkim", "s" if record.is_dkim_strict else "r"),
        _text("aspf", "s" if record.is_spf_strict else "r"),
        _text("testing", "y" if record.is_testing else "n"),
    ]
    return "".join(
        (
            f'<?xml version="1.0" encoding="UTF-8"?>\n<feedback xmlns="{NAMESPACE}">',
            _text("version", "1.0"),
            _element("report_metadata", *metadata),
            _element("policy_published", *policy),
            *[_record(row) for row in rows],
            "</feedback>\n",
        )
    )


def _record(row: DmarcRow) -> str:
    reasons = [
        _element("reason", _text("type", one), _text("comment", _COMMENTS[one]) if one in _COMMENTS else "")
        for one in row.overrides
        if one in _REASONS
    ]
    evaluated = _element(
        "policy_evaluated",
        _text("disposition", row.disposition),
        _text("dkim", "pass" if row.is_dkim_aligned else "fail"),
        _text("spf", "pass" if row.is_spf_aligned else "fail"),
        *reasons,
    )
    signatures = [
        _element("dkim", _text("domain", domain), _text("selector", selector), _text("result", result))
        for domain, selector, result in row.dkim
        if result in _DKIM_RESULTS
    ]
    domain, result = row.spf
    sender = [_text("domain", domain), _text("scope", "mfrom"), _text("result", result)]
    return _element(
        "record",
        _element("row", _text("source_ip", _ip(row.source_ip)), _text("count", str(row.count)), evaluated),
        _element(
            "identifiers",
            _text("header_from", row.header_from),
            _text("envelope_from", row.envelope_from),
            _text("envelope_to", row.envelope_to),
        ),
        _element("auth_results", *signatures, _element("spf", *sender) if domain and result in _SPF_RESULTS else ""),
    )


def _ip(text: str) -> str:
    return str(parse_address(text))


def _element(name: str, *children: str) -> str:
    return f"<{name}>{''.join(children)}</{name}>\n"


def _text(name: str, value: str) -> str:
    return f"<{name}>{escape(_NOT_XML.sub('', value))}</{name}>"


# --- the message ------------------------------------------------------------------------------------------------------


def _base64(content: bytes) -> list[str]:
    return base64.encodebytes(content).decode("ascii").splitlines()
