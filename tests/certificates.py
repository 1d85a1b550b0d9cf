"""Certificates for tests: an authority, and what it signs, as PEM files and as DER."""

from __future__ import annotations

import datetime
import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


@dataclass(frozen=True)
class Certificate:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    pem: Path  # the certificate, behind it those of its authorities
    key_pem: Path

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def spki(self) -> bytes:
        return self.certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    def server(self) -> ssl.SSLContext:
        """The context of a server that shows it."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.pem, self.key_pem)
        return context


def authority(folder: Path, name: str = "Test CA", signer: Certificate | None = None) -> Certificate:
    """One that may sign others; signed by itself, or by another."""
    return _make(folder, name, signer, is_ca=True)


def signed(folder: Path, by: Certificate, name: str, *, is_expired: bool = False) -> Certificate:
    """One for a server or client of this name."""
    return _make(folder, name, by, is_expired=is_expired)


def _make(
    folder: Path, name: str, signer: Certificate | None, *, is_ca: bool = False, is_expired: bool = False
) -> Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(signer.certificate.subject if signer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=20))
        .not_valid_after(now + datetime.timedelta(days=-1 if is_expired else 20))
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key((signer.key if signer else key).public_key()),
            critical=False,
        )
        .add_extension(
            x509.KeyUsage(True, False, False, False, False, is_ca, is_ca, False, False), critical=True
        )
    )  # fmt: skip
    if not is_ca:
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    made = builder.sign(signer.key if signer else key, hashes.SHA256())
    stem = f"{name.replace(' ', '-')}-{made.serial_number:x}"[:60]
    pem, key_pem = folder / f"{stem}.pem", folder / f"{stem}.key"
    above = signer.pem.read_bytes() if signer else b""
    pem.write_bytes(made.public_bytes(Encoding.PEM) + above)
    key_pem.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    key_pem.chmod(0o600)
    return Certificate(made, key, pem, key_pem)
