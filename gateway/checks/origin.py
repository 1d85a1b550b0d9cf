"""The reverse-path's domain must be able to take an answer: an MX or an address (RFC 5321 §5.1, 7505)."""

from __future__ import annotations

from collections.abc import Iterable

from gateway.mail.address import domain_of
from gateway.ports import Resolver
from gateway.types import DnsAnswer, Finding, MailObject, Missing


class Origin:
    """A check that asks the DNS."""

    name = "origin"
    findings = ("ORIGIN_NO_MAIL", "ORIGIN_UNKNOWN_DOMAIN")

    async def check(self, mail: MailObject, resolver: Resolver) -> Iterable[Finding | Missing]:
        """At most three look-ups."""
        domain = domain_of(mail.envelope.reverse_path)
        if not domain or domain.startswith("["):
            return ()
        exchangers = await resolver.query(domain, "MX")
        if exchangers.status == "noerror":
            is_null = all(str(one).split()[-1].strip(".") == "" for one in exchangers.records)
            return (Finding("ORIGIN_NO_MAIL", (f"{domain} says that it takes no mail",)),) if is_null else ()
        if exchangers.status == "nxdomain":
            return (Finding("ORIGIN_UNKNOWN_DOMAIN", (f"{domain} does not exist",)),)
        if exchangers.status != "nodata":
            return _missing(domain, "MX", exchangers)
        answers = [await resolver.query(domain, rdtype) for rdtype in ("A", "AAAA")]
        if all(answer.status in ("nodata", "nxdomain") for answer in answers):
            return (Finding("ORIGIN_NO_MAIL", (f"{domain} has neither an MX nor an address",)),)
        if any(answer.status == "noerror" for answer in answers):
            return ()
        return (*_missing(domain, "A", answers[0]), *_missing(domain, "AAAA", answers[1]))


def _missing(domain: str, rdtype: str, answer: DnsAnswer) -> tuple[Missing, ...]:
    """For what may be otherwise tomorrow; a name that cannot be asked is nothing that is missing."""
    is_final = answer.status in ("noerror", "nodata", "nxdomain", "invalid")
    return () if is_final else (Missing(f"dns: the {rdtype} of {domain}: {answer.status}"),)
