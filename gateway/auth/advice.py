"""What a domain publishes for its mail, judged and explained, with the record to publish for each problem.

Pure: net/domain_health.py brings the facts, in the forms of the checkdmarc library (SPF RFC 7208, DMARC RFC 9989,
MTA-STS RFC 8461, TLS-RPT RFC 8460, BIMI); keys are read as they are for mail (RFC 6376 §3.6.1). A record to publish
is a beginning that breaks nothing: which servers send for a domain only its owner knows.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from gateway.auth.key import Conclusion, parse_key

Status = Literal["good", "advice", "problem", "unknown"]

_SILENT = ("timed out", "lifetime expired", "servfail", "refused", "failed to answer", "nameservers failed")
_MAX_FOUND = 300  # characters of a record that are shown
_WEAK_BITS = 2048  # RFC 8301 §3.2
_WORST_FIRST: tuple[Status, ...] = ("problem", "advice", "unknown", "good")


class Record(NamedTuple):
    """To be published."""

    name: str
    type: str  # MX, TXT, or "file" for a page of a web server
    value: str


class Topic(NamedTuple):
    """One subject, judged."""

    name: str
    status: Status
    found: str  # what is published, "" for nothing
    words: tuple[str, ...]
    publish: tuple[Record, ...] = ()


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a domain. Mappings are checkdmarc's results."""

    domain: str  # A-label
    mx: Mapping[str, Any]
    spf: Mapping[str, Any]
    dmarc: Mapping[str, Any]
    mta_sts: Mapping[str, Any]
    tls_rpt: Mapping[str, Any]
    bimi: Mapping[str, Any]
    has_dnssec: bool | None  # None where it could not be found out
    keys: Mapping[str, str] = field(default_factory=dict)  # selector -> key record
    wanted: tuple[str, ...] = ()  # selectors somebody said there are
    hosts: tuple[str, ...] = ()  # names of our gateways; () when the domain is not one of ours
    host_addresses: tuple[str, ...] = ()
    next_hop: str = ""  # URL of the server behind us
    next_hop_addresses: tuple[str, ...] = ()
    greetings: Mapping[str, str] | None = None  # address -> what answers on port 25, "" for nothing; None: not tried


def advise(facts: Facts) -> tuple[Topic, ...]:
    """Every topic, in the order mail meets them."""
    topics = (_mx, _backend, _spf, _dkim, _dmarc, _mta_sts, _tls_rpt, _dnssec, _bimi)
    return tuple(topic(facts) for topic in topics)


def around_us(facts: Facts) -> tuple[str, ...]:
    """Servers named for the domain's mail that are not ours, by name and by address."""
    ours, addresses = {host.lower().rstrip(".") for host in facts.hosts}, set(facts.host_addresses)
    return tuple(
        name
        for one in facts.mx.get("hosts", ())
        if (name := str(one.get("hostname", "")).lower()) not in ours
        and not (one.get("addresses") and set(one["addresses"]) <= addresses)
    )


def _mx(facts: Facts) -> Topic:
    hosts = [(one.get("preference", 0), str(one.get("hostname", "")).lower()) for one in facts.mx.get("hosts", ())]
    found = ", ".join(f"{preference} {host or '.'}" for preference, host in hosts)
    wanted = tuple(Record(facts.domain, "MX", f"10 {host}.") for host in facts.hosts)
    if not hosts:
        return _absent(facts, "MX", facts.mx, "no server is named for its mail", wanted)
    if not facts.hosts:
        text = "it is not one of the configured domains, so it is not said whether mail comes through here"
        return Topic("MX", "good", found, (text,))
    around = around_us(facts)
    if not around:
        return Topic("MX", "good", found, ("all mail comes through this gateway", *_warnings(facts.mx)))
    if len(around) == len(hosts):
        text = f"mail does not come through this gateway ({', '.join(facts.hosts)})"
        return Topic("MX", "problem", found, (text, *_answering(facts, around)), wanted)
    text = f"mail may go around this gateway, over {', '.join(around)}: spam looks for such servers first"
    return Topic("MX", "problem", found, (text, *_answering(facts, around), "remove those records"), wanted)


def _answering(facts: Facts, names: tuple[str, ...]) -> tuple[str, ...]:
    """Which of these servers answered the probe."""
    greetings = facts.greetings or {}
    return tuple(
        f"{one['hostname']} ({address}) answers on port 25: {greetings[address]}"
        for one in facts.mx.get("hosts", ())
        if str(one.get("hostname", "")).lower() in names
        for address in one.get("addresses", ())
        if greetings.get(address)
    )


def _backend(facts: Facts) -> Topic:
    """Can the server behind us be reached around us?"""
    name, url = "backend", facts.next_hop
    if not url:
        return Topic(name, "unknown", "", ("no next hop is configured for it",))
    if not url.startswith(("smtp:", "smtp+mx:", "lmtp:")):
        return Topic(name, "good", url, ("it is on this machine and not on the network",))
    if not facts.next_hop_addresses:
        return Topic(name, "unknown", url, ("its address could not be found",))
    public = [one for one in facts.next_hop_addresses if ipaddress.ip_address(one).is_global]
    if not public:
        return Topic(name, "good", url, ("it has a private address, which nobody outside reaches",))
    if facts.greetings is None:
        text = f"it has a public address ({', '.join(public)}); --probe asks whether it answers there on port 25"
        return Topic(name, "unknown", url, (text,))
    answering = [f"{one} says: {facts.greetings[one]}" for one in public if facts.greetings.get(one)]
    if not answering:
        return Topic(name, "good", url, ("nothing answers on port 25 of its public address",))
    return Topic(
        name,
        "problem",
        url,
        (
            f"it answers on port 25; {'; '.join(answering)}",
            "let its firewall take port 25 from the gateway's address alone, or spam goes around the gateway; this was "
            "asked from the gateway: if the firewall does that already, ask from elsewhere to be sure",
        ),
    )


def _spf(facts: Facts) -> Topic:
    result, record = facts.spf, str(facts.spf.get("record") or "")
    if not record:
        text = "anyone may send in its name; add every server that sends for it, then end the record in -all"
        return _absent(facts, "SPF", result, text, (Record(facts.domain, "TXT", "v=spf1 mx ~all"),))
    if result.get("error"):
        fix = "name networks (ip4:, ip6:) instead of includes, or let parts send from subdomains of their own"
        more = (fix,) if "lookups" in str(result["error"]).lower() else ()
        return Topic("SPF", "problem", _cut(record), (*_said(result), *more))
    parsed, words = result.get("parsed") or {}, (*_counted(result), *_warnings(result))
    better = (Record(facts.domain, "TXT", _ending(record, "~all")),)
    if parsed.get("all") == "pass":
        return Topic("SPF", "problem", _cut(record), ("+all permits the whole world", *words), better)
    if parsed.get("all") in ("neutral", None) and not parsed.get("redirect"):
        text = "it does not say what is to become of mail from other servers; end it in ~all, later in -all"
        return Topic("SPF", "advice", _cut(record), (text, *words), better)
    return Topic("SPF", "advice" if _warnings(result) else "good", _cut(record), words)


def _counted(result: Mapping[str, Any]) -> tuple[str, ...]:
    lookups, void = result.get("dns_lookups"), result.get("void_dns_lookups")
    if lookups is None:
        return ()
    return (f"{lookups} of 10 look-ups, {void or 0} of 2 that find nothing",)


def _ending(record: str, last: str) -> str:
    terms = [term for term in record.split() if term.lstrip("+-~?").lower() != "all"]
    return " ".join((*terms, last))


def _dkim(facts: Facts) -> Topic:
    judged = [(selector, *_key(record)) for selector, record in facts.keys.items()]
    missing = [selector for selector in facts.wanted if selector not in facts.keys]
    judged += [(one, "problem", f"there is no key at {one}._domainkey.{facts.domain}") for one in missing]
    if not judged:
        text = "no key under the usual selectors; name yours with --selector (s= of a DKIM-Signature it sends)"
        return Topic("DKIM", "unknown", "", (text,))
    status = min((status for _, status, _ in judged), key=_WORST_FIRST.index)
    publish = Record(f"SELECTOR._domainkey.{facts.domain}", "TXT", "v=DKIM1; k=rsa; p=<the public key>")
    words = tuple(f"{selector}: {text}" for selector, _, text in judged)
    return Topic("DKIM", status, ", ".join(facts.keys), words, (publish,) if status == "problem" else ())


def _key(record: str) -> tuple[Status, str]:
    key = parse_key(record.encode("utf-8", "replace"))
    if isinstance(key, Conclusion):
        return ("advice" if "revoked" in key.reason else "problem"), key.reason
    kind = f"{key.kind.partition('-')[0].upper()}, {key.size_bits} bits"
    if key.is_testing:
        return "advice", f"{kind}; t=y says it is a test, so that failures count for nothing: leave it out"
    if key.kind == "rsa-sha256" and key.size_bits < _WEAK_BITS:
        return "advice", f"{kind}: make a new key of {_WEAK_BITS} bits (RFC 8301)"
    return "good", kind


def _dmarc(facts: Facts) -> Topic:
    result, record = facts.dmarc, str(facts.dmarc.get("record") or "")
    name, reports = f"_dmarc.{facts.domain}", f"rua=mailto:dmarc@{facts.domain}"
    begin = (Record(name, "TXT", f"v=DMARC1; p=none; {reports}"),)
    if not record:
        text = "nobody is told what to do with mail that forges it; begin with reports, then quarantine, then reject"
        return _absent(facts, "DMARC", result, text, begin)
    if not result.get("valid"):
        return Topic("DMARC", "problem", _cut(record), _said(result), begin)
    policy = (result.get("tags") or {}).get("p", {}).get("value", "")
    if policy == "none":
        text = "p=none asks for nothing: once the reports show your own mail passes, ask for quarantine"
        better = Record(name, "TXT", f"v=DMARC1; p=quarantine; {_tag(record, 'rua') or reports}")
        return Topic("DMARC", "advice", _cut(record), (text, *_warnings(result)), (better,))
    status: Status = "advice" if _warnings(result) else "good"
    return Topic("DMARC", status, _cut(record), (f"asked for forged mail: {policy}", *_warnings(result)))


def _tag(record: str, name: str) -> str:
    """The tag of a list, as it is written."""
    return next((spec.strip() for spec in record.split(";") if spec.partition("=")[0].strip().lower() == name), "")


def _mta_sts(facts: Facts) -> Topic:
    result = facts.mta_sts
    hosts = facts.hosts or tuple(str(one.get("hostname", "")) for one in facts.mx.get("hosts", ()))
    policy = "version: STSv1\nmode: testing\n" + "".join(f"mx: {host}\n" for host in hosts) + "max_age: 86400\n"
    publish = (
        Record(f"_mta-sts.{facts.domain}", "TXT", "v=STSv1; id=1"),
        Record(f"https://mta-sts.{facts.domain}/.well-known/mta-sts.txt", "file", policy),
    )
    if result.get("valid"):
        return Topic("MTA-STS", "good", f"mode {(result.get('policy') or {}).get('mode', '')}", _warnings(result))
    if _is_missing(result):
        text = "senders may be made to deliver without TLS; every server named needs a certificate that is valid"
        return Topic("MTA-STS", "advice", "", (text,), publish)
    return _absent(facts, "MTA-STS", result, "senders pass over the policy, or do not deliver", publish)


def _tls_rpt(facts: Facts) -> Topic:
    result = facts.tls_rpt
    publish = (Record(f"_smtp._tls.{facts.domain}", "TXT", f"v=TLSRPTv1; rua=mailto:tlsrpt@{facts.domain}"),)
    if result.get("valid"):
        return Topic("TLS-RPT", "good", "published", ("failures of TLS are reported", *_warnings(result)))
    if _is_missing(result):
        return Topic("TLS-RPT", "advice", "", ("nobody reports when TLS to it fails",), publish)
    return _absent(facts, "TLS-RPT", result, "reports of TLS do not come", publish)


def _dnssec(facts: Facts) -> Topic:
    if facts.has_dnssec is None:
        return _silence(facts, "DNSSEC")
    if facts.has_dnssec:
        return Topic("DNSSEC", "good", "signed", ("answers about it cannot be forged",))
    return Topic("DNSSEC", "advice", "", ("its zone is not signed, or broken; the registrar publishes the DS record",))


def _bimi(facts: Facts) -> Topic:
    result, record = facts.bimi, str(facts.bimi.get("record") or "")
    if result.get("valid"):
        return Topic("BIMI", "advice" if _warnings(result) else "good", _cut(record), _warnings(result))
    if record:
        return Topic("BIMI", "advice", _cut(record), _said(result))
    if is_silent(result):
        return _silence(facts, "BIMI")
    text = "none; a logo beside its mail is optional, and needs a DMARC policy of quarantine or reject"
    return Topic("BIMI", "good", "", (text,))


def _absent(facts: Facts, name: str, result: Mapping[str, Any], text: str, publish: tuple[Record, ...]) -> Topic:
    """Nothing usable is there, unless it is the DNS that says nothing."""
    if is_silent(result):
        return _silence(facts, name)
    return Topic(name, "problem", "", (*_said(result), text), publish)


def _silence(facts: Facts, name: str) -> Topic:
    return Topic(name, "unknown", "", (f"the DNS did not answer for {facts.domain}",))


def is_silent(result: Mapping[str, Any]) -> bool:
    """Did the DNS not answer?"""
    error = str(result.get("error", "")).lower()
    return any(word in error for word in _SILENT)


def _is_missing(result: Mapping[str, Any]) -> bool:
    return "not exist" in str(result.get("error", ""))


def _said(result: Mapping[str, Any]) -> tuple[str, ...]:
    """checkdmarc's own words."""
    error = str(result.get("error", ""))
    return (_cut(error),) if error else ()


def _warnings(result: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(_cut(str(one)) for one in result.get("warnings", ()))


def _cut(text: str) -> str:
    text = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return text if len(text) <= _MAX_FOUND else f"{text[: _MAX_FOUND - 1]}…"
