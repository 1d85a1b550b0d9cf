"""DANE for SMTP (RFC 7672, RFC 6698, 7671): whether a server's certificates are those its DNS names.

Usages DANE-TA(2) and DANE-EE(3) only: the others cannot be used in SMTP (RFC 7672 §3.1.3). Of records that differ in
the digest alone the strongest is taken (RFC 7671 §9). A chain below a trust anchor is verified by cryptography, with
the rules of the web's certificates, which are stricter than the RFC's: what does not pass them fails. No I/O.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

_TA, _EE = 2, 3
_SIZES = {1: 32, 2: 64}  # of digests, by the number of the matching type


class Tlsa(NamedTuple):
    """A TLSA record (RFC 6698 §2.1)."""

    usage: int
    selector: int  # 0: the certificate, 1: its key
    matching: int  # 0: as it is, 1: SHA-256, 2: SHA-512
    data: bytes


def read_tlsa(records: Sequence[str | bytes]) -> tuple[Tlsa, ...]:
    """Those that can be used; of bytes that are no record none. Never raises."""
    read = [
        Tlsa(record[0], record[1], record[2], record[3:])
        for record in records
        if isinstance(record, bytes) and len(record) > 3
    ]
    usable = [one for one in read if _is_usable(one)]
    strongest: dict[tuple[int, int], int] = {}
    for one in usable:
        if one.matching:
            key = (one.usage, one.selector)
            strongest[key] = max(strongest.get(key, 0), one.matching)
    return tuple(one for one in usable if one.matching in (0, strongest.get((one.usage, one.selector))))


def _is_usable(one: Tlsa) -> bool:
    is_known = one.usage in (_TA, _EE) and one.selector in (0, 1) and one.matching in (0, 1, 2)
    return is_known and len(one.data) == _SIZES.get(one.matching, len(one.data))


def mismatch(records: Sequence[Tlsa], chain: Sequence[bytes], names: Sequence[str]) -> str:
    """ "" when one of the records fits, else why none does.

    Args:
        chain: the certificates as the server showed them, DER, its own first.
        names: any of them may stand in the certificate; asked for trust anchors alone (RFC 7672 §3.1.1, §3.2.2).
    """
    from cryptography.exceptions import UnsupportedAlgorithm

    if not chain:
        return "the server showed no certificate"
    try:
        if any(one.usage == _EE and _fits(one, chain[0]) for one in records):
            return ""
        why = "no TLSA record fits"
        for one in (one for one in records if one.usage == _TA):
            for anchor in (*chain, *([one.data] if (one.selector, one.matching) == (0, 0) else [])):
                if _fits(one, anchor):
                    why = _unverified(chain, anchor, names)
                    if not why:
                        return ""
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:  # a certificate that cannot be read
        return f"certificate: {error}"
    return why


def _fits(one: Tlsa, certificate: bytes) -> bool:
    if one.selector == 0:
        return _digest(one.matching, certificate) == one.data
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    key = x509.load_der_x509_certificate(certificate).public_key()
    return _digest(one.matching, key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)) == one.data


def _digest(matching: int, data: bytes) -> bytes:
    return data if matching == 0 else hashlib.new("sha256" if matching == 1 else "sha512", data).digest()


def _unverified(chain: Sequence[bytes], anchor: bytes, names: Sequence[str]) -> str:
    """ "" when the chain leads from the server's certificate, for one of the names, to the anchor."""
    from cryptography import x509
    from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

    leaf, *others = (x509.load_der_x509_certificate(one) for one in chain)
    builder = PolicyBuilder().store(Store([x509.load_der_x509_certificate(anchor)]))
    why = ""
    for name in names:
        try:
            builder.build_server_verifier(x509.DNSName(name)).verify(leaf, others)
        except VerificationError as error:
            why = f"{name}: {error}"[:200]
        else:
            return ""
    return why
