"""What the DNS says of a domain's mail, asked by checkdmarc (extra `domain`), and judged by auth/advice.py.

Blocking: for the command line, and for a page that calls it in a thread. Some eighty look-ups at the configured
nameservers, a policy file of MTA-STS over HTTPS where one is announced, and a BIMI logo likewise; nothing else is
contacted unless a probe is asked for. Cost: a second or two; every look-up and request has a limit, and topics are
asked side by side. Whatever fails is "unknown", and hides no other topic.
"""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import socket
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from gateway.auth.advice import Facts, Topic, advise, around_us, is_silent
from gateway.errors import ConfigError, InputError
from gateway.mail.domain import to_a_label

SELECTORS = tuple(
    "default dkim dkim1 dkim2 mail email smtp mx key1 key2 s1 s2 s3 k1 k2 k3 selector1 selector2 google mandrill "
    "mailjet zoho zmail fm1 fm2 fm3 protonmail protonmail2 protonmail3 sig1 pm cm mta everlytickey1 everlytickey2 "
    "smtpapi scph0920 turbo-smtp zimbra ed25519 rsa".split()
)
PROBE_S = 5.0  # for a connection and a greeting
_MAX_SELECTORS = 50  # that may be named
_THREADS = 8


@dataclass(frozen=True, slots=True)
class Question:
    """Which domain, and how it is asked about."""

    domain: str
    hosts: tuple[str, ...] = ()  # names of our gateways, where mail for the domain should come in
    next_hop: str = ""  # URL of the server behind us
    selectors: tuple[str, ...] = ()  # of DKIM keys, besides the usual ones
    nameservers: tuple[str, ...] = ()  # host:port; the system's when empty
    timeout_s: float = 2.0  # of one look-up
    has_probe: bool = False  # connect to port 25 of the next hop and of servers around us


def examine(question: Question) -> tuple[Topic, ...]:
    """Every topic, judged. Raises ConfigError without checkdmarc, InputError for what is no domain or not to be had."""
    domain = to_a_label(question.domain)
    if "." not in domain or domain.startswith("["):
        raise InputError(f"{question.domain}: not a domain name")
    check = _library()
    asked: dict[str, Any] = {
        "nameservers": [_nameserver(one) for one in question.nameservers] or None,
        "timeout": question.timeout_s,
    }
    mx = _or_error(lambda: check.smtp.check_mx(domain, retries=0, **asked))
    if "does not exist" in str(mx.get("error", "")):
        raise InputError(f"{domain}: there is no such domain in the DNS")
    if is_silent(mx):  # the rest would only take longer to say the same
        raise InputError(f"{domain}: the DNS did not answer; [dns] nameservers says who is asked")
    facts = _gather(check, domain, question, asked, mx)
    return advise(_probed(facts) if question.has_probe else facts)


def _gather(check: Any, domain: str, question: Question, asked: Mapping[str, Any], mx: Mapping[str, Any]) -> Facts:
    """All the rest, side by side."""
    works = {
        "spf": check.spf.check_spf,
        "dmarc": check.dmarc.check_dmarc,
        "mta_sts": check.mta_sts.check_mta_sts,
        "tls_rpt": check.smtp_tls_reporting.check_smtp_tls_reporting,
        "bimi": check.bimi.check_bimi,
    }
    selectors = list(dict.fromkeys((*question.selectors[:_MAX_SELECTORS], *SELECTORS)))
    next_hop = _host(question.next_hop)
    with ThreadPoolExecutor(_THREADS) as pool:
        running = {name: pool.submit(_or_error, partial(ask, domain, **asked)) for name, ask in works.items()}
        dnssec = pool.submit(_or_error, lambda: {"is_signed": check.dnssec.check_dnssec(domain, **asked)})
        keys = pool.map(lambda selector: _texts(check, f"{selector}._domainkey.{domain}", asked), selectors)
        return Facts(
            domain,
            mx=mx,
            **{name: one.result() for name, one in running.items()},
            has_dnssec=dnssec.result().get("is_signed"),
            keys={selector: texts[0] for selector, texts in zip(selectors, keys, strict=True) if texts},
            wanted=question.selectors,
            hosts=question.hosts,
            host_addresses=tuple(one for host in question.hosts for one in _addresses(check, host, asked)),
            next_hop=question.next_hop,
            next_hop_addresses=_addresses(check, next_hop, asked) if next_hop else (),
        )


def greeting(address: str, port: int = 25, timeout_s: float = PROBE_S) -> str:
    """The first line of what answers there; "" for nothing."""
    with contextlib.suppress(OSError), socket.create_connection((address, port), timeout_s) as connection:
        connection.settimeout(timeout_s)
        line = connection.recv(200).split(b"\n")[0].strip()
        return "".join(char if char.isprintable() else "?" for char in line.decode("utf-8", "replace")) or "(nothing)"
    return ""


def _probed(facts: Facts) -> Facts:
    around = set(around_us(facts)) if facts.hosts else set()
    servers = [host for host in facts.mx.get("hosts", ()) if host.get("hostname") in around]
    addresses = {one for host in servers for one in host.get("addresses", ())}
    everyone = sorted(addresses | set(facts.next_hop_addresses))
    with ThreadPoolExecutor(_THREADS) as pool:
        return replace(facts, greetings=dict(zip(everyone, pool.map(greeting, everyone), strict=True)))


def _library() -> Any:
    try:
        import checkdmarc
        import checkdmarc.bimi
        import checkdmarc.dmarc
        import checkdmarc.dnssec
        import checkdmarc.mta_sts
        import checkdmarc.smtp
        import checkdmarc.smtp_tls_reporting
        import checkdmarc.spf
        import checkdmarc.utils
    except ImportError:
        raise ConfigError("checkdmarc is not installed; write: pip install 'darban[domain]'") from None
    logging.getLogger("checkdmarc").setLevel(logging.ERROR)  # what it warns of is in its results
    dnssec = checkdmarc.dnssec
    for cache in (checkdmarc.utils.DNS_CACHE, dnssec.DNSSEC_CACHE, dnssec.DNSKEY_CACHE, dnssec.TLSA_CACHE):
        cache.clear()  # what was published a minute ago is what is asked about
    return checkdmarc


def _nameserver(text: str) -> Any:
    """checkdmarc takes addresses without a port, or dnspython's objects."""
    from dns.nameserver import Do53Nameserver

    try:
        place = urlsplit(f"//{text}" if text.count(":") < 2 or "]" in text else f"//[{text}]")
        return Do53Nameserver(str(ipaddress.ip_address(place.hostname or "")), place.port or 53)
    except ValueError:
        raise ConfigError(f"[dns] nameservers: {text!r} is not an address with an optional port") from None


def _host(url: str) -> str:
    """The host of a next hop; "" for one on this machine."""
    if not url.startswith(("smtp://", "lmtp://")):
        return ""
    return urlsplit(url).hostname or ""


def _addresses(check: Any, host: str, asked: Mapping[str, Any]) -> tuple[str, ...]:
    with contextlib.suppress(ValueError):
        return (str(ipaddress.ip_address(host)),)
    return tuple(_or_error(lambda: {"found": check.utils.get_a_records(host, **asked)}).get("found", ()))


def _texts(check: Any, name: str, asked: Mapping[str, Any]) -> list[str]:
    """Key records there; a wildcard's other texts are none."""
    found = _or_error(lambda: {"found": check.utils.query_dns(name, "TXT", retries=0, **asked)}).get("found", [])
    return [text for text in found if "p=" in text]


def _or_error(work: Callable[[], Any]) -> dict[str, Any]:
    """The work's result, or {"error": ...}: the library lets out what its DNS library and its parsers raise."""
    from checkdmarc.utils import DNSException
    from dns.exception import DNSException as DnspythonException

    try:
        result: dict[str, Any] = work()
    except (DNSException, DnspythonException, OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        return {"error": str(error) or type(error).__name__}
    return result
