"""Keys and signatures for tests, made by dkimpy (RSA) and by hand (Ed25519, which dkimpy leaves to another library)."""

from __future__ import annotations

import base64
import hashlib
from functools import cache

import dkim
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from gateway.auth.canonical import CanonicalMessage, canonical_field
from gateway.mail import parse


@cache
def rsa_key(bits: int) -> rsa.RSAPrivateKey:
    """One for each size, made once a run."""
    return rsa.generate_private_key(65537, bits)


@cache
def ed25519_key() -> ed25519.Ed25519PrivateKey:
    return ed25519.Ed25519PrivateKey.generate()


@cache
def rsa_record(bits: int = 1024, tags: str = "v=DKIM1; k=rsa") -> str:
    """The key record of rsa_key(bits)."""
    der = (
        rsa_key(bits)
        .public_key()
        .public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return f"{tags}; p={base64.b64encode(der).decode()}"


def ed25519_record() -> str:
    raw = ed25519_key().public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return f"v=DKIM1; k=ed25519; p={base64.b64encode(raw).decode()}"


def sign(content: bytes, domain: str = "example.org", bits: int = 1024, **options: object) -> bytes:
    """The message with a signature of rsa_key(bits) on top, by dkimpy; options are dkim.sign's."""
    pem = rsa_key(bits).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    options = {"include_headers": [b"from", b"to", b"subject", b"from"]} | options
    selector = options.pop("selector", b"s1")
    return dkim.sign(content, selector, domain.encode(), pem, **options) + content


def sign_by_hand(content: bytes, tags: str, ed: bool = False) -> bytes:
    """The message with a signature of these tags on top; {bh} in them is filled in. For what dkimpy will not sign."""
    canonical = CanonicalMessage(parse(content))
    body_hash = base64.b64encode(canonical.body_hash("relaxed", None)).decode()
    field = f"DKIM-Signature: {tags.format(bh=body_hash)}; b=".encode()
    names = [name.strip().lower() for name in tags.partition(" h=")[2].partition(";")[0].split(":")]
    signed = canonical.fields(names, "relaxed") + canonical_field(field, "relaxed").removesuffix(b"\r\n")
    if ed:
        value = ed25519_key().sign(hashlib.sha256(signed).digest())
    else:
        from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
        from cryptography.hazmat.primitives.hashes import SHA256

        value = rsa_key(1024).sign(signed, PKCS1v15(), SHA256())
    return field + base64.b64encode(value) + b"\r\n" + content
