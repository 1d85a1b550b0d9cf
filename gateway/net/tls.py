"""TLS towards a server behind us: what is demanded of it, and how its certificate is looked at.

none: never asked for · opportunistic: where it is offered, nothing verified; plain text when the handshake fails ·
required: nothing verified, but never plain text · verify: the certificate too (RFC 5280, 9525) · dane: what the DNS
demands (RFC 7672), opportunistic where that is nothing · dane-only: no mail without DANE.
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from typing import Any, NamedTuple

from gateway.config.next_hop_url import NextHopUrl
from gateway.errors import ConfigError
from gateway.net.dane import Tlsa, mismatch, read_tlsa
from gateway.ports import Resolver
from gateway.types import DnsAnswer

_DER = 2  # X509_FILETYPE_ASN1
_UNSURE = ("servfail", "timeout", "refused", "limit")


class Tls(NamedTuple):
    """How one connection is to be secured. Implements dialogue.ClientTls."""

    context: ssl.SSLContext
    name: str  # the server's
    is_needed: bool  # without it no mail
    records: tuple[Tlsa, ...] = ()  # one of them must fit; () when DANE does not apply
    names: tuple[str, ...] = ()  # that a trust anchor of DANE may vouch for

    def mismatch(self, established: ssl.SSLObject) -> str:
        """What DANE says against it; "" for nothing."""
        return mismatch(self.records, _chain(established), self.names) if self.records else ""


def client_context(url: NextHopUrl) -> ssl.SSLContext:
    """Raises ConfigError for a file that cannot be used."""
    try:
        context = ssl.create_default_context(cafile=url.ca or None)
    except (ssl.SSLError, OSError) as error:
        raise ConfigError(f"next_hop {url.shown}: ca {url.ca}: {error.strerror or error}; write a PEM file") from None
    if url.tls != "verify":
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if url.cert:
        try:
            context.load_cert_chain(url.cert, url.key or None)
        except (ssl.SSLError, OSError) as error:
            raise ConfigError(
                f"next_hop {url.shown}: cert {url.cert}: {error.strerror or error}; write PEM files"
            ) from None
    return context


async def look_up_tlsa(
    resolver: Resolver, host: str, port: int, addresses: Sequence[DnsAnswer]
) -> tuple[bool, tuple[Tlsa, ...]] | str:
    """(whether the DNS demands TLS, the records that can be used); in words why that is not known.

    Args:
        addresses: what the DNS said about the host's addresses: without their being secure there is no DANE, and
            servers that fail at TLSA are not asked (RFC 7672 §2.2.2).
    """
    if not all(answer.is_authentic for answer in addresses if answer.records):
        return False, ()
    name = f"_{port}._tcp.{host.rstrip('.')}"
    answer = await resolver.query(name, "TLSA")
    if answer.status in _UNSURE:
        return f"TLSA of {name}: {answer.status}"
    if answer.status != "noerror" or not answer.is_authentic:
        return False, ()
    return True, read_tlsa(answer.records)


def _chain(established: Any) -> list[bytes]:
    """The certificates as they were shown, DER."""
    if hasattr(established, "get_unverified_chain"):  # Python 3.13
        return list(established.get_unverified_chain())
    return [one.public_bytes(_DER) for one in established._sslobj.get_unverified_chain() or ()]
