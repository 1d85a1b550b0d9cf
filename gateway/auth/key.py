"""Tag lists: the DKIM-Signature field and the key record (RFC 6376 §3.5, §3.6.1, RFC 8301, RFC 8463), and ARC's two
signatures (RFC 8617 §4.1.2, §4.1.3).

All are read strictly and give either the values or a Conclusion with its result and reason; none ever raises.
dkimpy's reading is too lenient (no From in h=, key flags) or too strict (lists in s= and q=).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from gateway.auth.canonical import Algorithm
from gateway.mail.domain import to_a_label

MAX_FIELD = 65_536  # bytes of one DKIM-Signature field
MAX_RECORD = 8_192  # bytes of one key record
MAX_ARC_FIELD = 16_384  # bytes of one ARC field; those in the field have less than 4 KB
MAX_INSTANCE = 50  # RFC 8617 §4.2.1
RSA_MIN_BITS = 1024  # RFC 8301 §3.2
RSA_MAX_BITS = 8192  # RFC 8301 asks for up to 4096; a bound for the work

_WSP = b" \t\r\n"
_QP = re.compile(rb"=([0-9A-F]{2})")
_INSTANCE = re.compile(rb"[0-9]{1,2}")
_DIGITS = re.compile(rb"[0-9]{1,76}")  # RFC 6376 §3.5, l=


class Conclusion(NamedTuple):
    """What is to be said of a signature: RFC 8601's word and why."""

    result: str
    reason: str


@dataclass(frozen=True, slots=True)
class Signature:
    """A usable DKIM-Signature field."""

    algorithm: str  # rsa-sha256 or ed25519-sha256
    field_form: Algorithm
    body_form: Algorithm
    domain: str  # d=
    selector: str  # s=
    identity: str  # i=, "@" + d= when absent
    names: tuple[str, ...]  # h=, lower-case
    body_hash: bytes  # bh=
    value: bytes  # b=
    length: int | None  # l=: bytes of the canonical body that are signed; None is all
    expires_at: int | None  # x=, epoch seconds
    signed_at: int | None = None  # t=, epoch seconds


@dataclass(frozen=True, slots=True)
class Seal:
    """A usable ARC-Seal field."""

    algorithm: str  # rsa-sha256 or ed25519-sha256
    domain: str  # d=
    selector: str  # s=
    status: str  # cv=: none, pass or fail
    value: bytes  # b=


@dataclass(frozen=True, slots=True)
class Key:
    """A usable key record."""

    public: RSAPublicKey | Ed25519PublicKey
    kind: str  # "rsa-sha256" or "ed25519-sha256": what it verifies
    size_bits: int
    is_testing: bool  # t=y
    is_strict: bool  # t=s: i= must be of d= itself

    def verifies(self, value: bytes, digest_input: bytes) -> bool:
        """Is this the signature of these bytes?"""
        return self.verifies_digest(value, hashlib.sha256(digest_input).digest())

    def verifies_digest(self, value: bytes, digest: bytes) -> bool:
        """Is this the signature of what has this SHA-256?"""
        try:
            if isinstance(self.public, RSAPublicKey):
                self.public.verify(value, digest, PKCS1v15(), Prehashed(SHA256()))
            else:
                self.public.verify(value, digest)  # RFC 8463 §3: of the hash
        except InvalidSignature:
            return False
        return True


def parse_signature(field: bytes) -> Signature | Conclusion:
    """The values of a whole DKIM-Signature field (RFC 6376 §6.1.1)."""
    tags = _tags(field.partition(b":")[2], MAX_FIELD)
    if tags is None:
        return Conclusion("permerror", "the signature is not a list of tags")
    missing = [tag for tag in ("v", "a", "b", "bh", "d", "h", "s") if not tags.get(tag)]
    if missing:
        return Conclusion("permerror", f"the signature lacks {missing[0]}=")
    if b"from" not in _list(tags["h"]):
        return _refused(tags) or Conclusion("permerror", "the From field is not signed")  # RFC 6376 §5.4
    return _refused(tags) or _signature(tags)


def parse_message_signature(field: bytes) -> tuple[int, Signature | Conclusion]:
    """Instance and values of a whole ARC-Message-Signature field (RFC 8617 §4.1.2); instance 0 where i= is unusable.

    A DKIM signature in all but v=, which is ignored, and i=, which is the instance. It need not sign the From field.
    """
    tags = _tags(field.partition(b":")[2], MAX_ARC_FIELD)
    if tags is None:
        return 0, Conclusion("fail", "the ARC-Message-Signature is not a list of tags")
    instance = parse_instance(tags.get("i", b""))
    missing = [tag for tag in ("a", "b", "bh", "d", "s") if not tags.get(tag)] + ["h"] * ("h" not in tags)
    if missing:
        return instance, Conclusion("fail", f"the ARC-Message-Signature lacks {missing[0]}=")
    if b"arc-seal" in _list(tags["h"]):
        return instance, Conclusion("fail", "the ARC-Message-Signature covers an ARC-Seal")
    # without c= other validators take relaxed for both, as ValiMail's test suite asks; in DKIM it would be simple
    tags = {"c": b"relaxed/relaxed"} | {name: value for name, value in tags.items() if name != "i"} | {"v": b"1"}
    return instance, _refused(tags) or _signature(tags)


def parse_seal(field: bytes) -> tuple[int, Seal | Conclusion]:
    """Instance and values of a whole ARC-Seal field (RFC 8617 §4.1.3); instance 0 where i= is unusable."""
    tags = _tags(field.partition(b":")[2], MAX_ARC_FIELD)
    if tags is None:
        return 0, Conclusion("fail", "the ARC-Seal is not a list of tags")
    instance = parse_instance(tags.get("i", b""))
    missing = [tag for tag in ("a", "b", "cv", "d", "s") if not tags.get(tag)]
    if missing:
        return instance, Conclusion("fail", f"the ARC-Seal lacks {missing[0]}=")
    if "h" in tags:  # must not be there: what a seal covers is fixed
        return instance, Conclusion("fail", "the ARC-Seal has h=")
    if tags["cv"] not in (b"none", b"pass", b"fail"):
        return instance, Conclusion("fail", "the ARC-Seal's cv= is not known")
    refused = _refused({tag: tags[tag] for tag in ("a", "t") if tag in tags} | {"v": b"1"})
    if refused:
        return instance, refused
    signer, value = _signer(tags), _base64(tags["b"])
    if isinstance(signer, Conclusion):
        return instance, signer
    if value is None:
        return instance, Conclusion("fail", "the ARC-Seal's b= is not base64")
    return instance, Seal(tags["a"].lower().decode("ascii"), *signer, tags["cv"].decode("ascii"), value)


def parse_instance(raw: bytes) -> int:
    """i= of an ARC field, 1 to 50 (RFC 8617 §4.2.1); 0 for anything else."""
    number = int(raw) if _INSTANCE.fullmatch(raw) else 0
    return number if number <= MAX_INSTANCE else 0


def without_value(field: bytes) -> bytes:
    """The field with its b= emptied, white space around it included (RFC 6376 §3.7)."""
    name, colon, value = field.partition(b":")
    specs = value.split(b";")
    for index, spec in enumerate(specs):
        tag, equals, _ = spec.partition(b"=")
        if equals and tag.strip() == b"b":
            specs[index] = tag + equals
    return name + colon + b";".join(specs)


@lru_cache(maxsize=1024)
def parse_key(record: bytes) -> Key | Conclusion:
    """The key of one TXT record (RFC 6376 §3.6.1, §6.1.2)."""
    tags = _tags(record, MAX_RECORD)
    if tags is None or "p" not in tags or tags.get("v", b"DKIM1") != b"DKIM1":
        return Conclusion("permerror", "the key record is malformed")
    if not tags["p"]:
        return Conclusion("permerror", "the key was revoked")
    if "h" in tags and b"sha256" not in _list(tags["h"]):
        return Conclusion("permerror", "the key is not for sha256")
    if "s" in tags and not {b"*", b"email"} & set(_list(tags["s"])):
        return Conclusion("permerror", "the key is not for mail")
    flags = _list(tags.get("t", b""))
    loaded = _public_key(tags.get("k", b"rsa").lower(), tags["p"])
    if isinstance(loaded, Conclusion):
        return loaded
    kind, size = ("rsa", loaded.key_size) if isinstance(loaded, RSAPublicKey) else ("ed25519", 256)
    if kind == "rsa" and not RSA_MIN_BITS <= size <= RSA_MAX_BITS:
        return Conclusion("policy", f"a key of {size} bits is not accepted (RFC 8301)")
    return Key(loaded, f"{kind}-sha256", size, b"y" in flags, b"s" in flags)


def _refused(tags: Mapping[str, bytes]) -> Conclusion | None:
    """What makes the whole signature void."""
    if tags["v"] != b"1":
        return Conclusion("permerror", "the signature's version is not 1")
    if tags["a"].lower() == b"rsa-sha1":
        return Conclusion("policy", "rsa-sha1 is not accepted (RFC 8301)")
    if tags["a"].lower() not in (b"rsa-sha256", b"ed25519-sha256"):
        return Conclusion("permerror", "the signature's algorithm is not known")
    if b"dns/txt" not in _list(tags.get("q", b"dns/txt")):
        return Conclusion("permerror", "the key is to be had in no known way (q=)")
    for tag in ("l", "t", "x"):
        if tag in tags and not _DIGITS.fullmatch(tags[tag]):
            return Conclusion("permerror", f"{tag}= is not a number")
    if "x" in tags and "t" in tags and int(tags["x"]) <= int(tags["t"]):
        return Conclusion("permerror", "the signature expires before it was made")
    return None


def _signature(tags: Mapping[str, bytes]) -> Signature | Conclusion:
    forms = [one.strip() for one in tags.get("c", b"simple").lower().split(b"/")]
    if len(forms) > 2 or not set(forms) <= {b"simple", b"relaxed"}:
        return Conclusion("permerror", "the canonicalisation is not known (c=)")
    names = tuple(name.decode("ascii", "replace") for name in _list(tags["h"]))
    value, body_hash = _base64(tags["b"]), _base64(tags["bh"])
    if value is None or body_hash is None:
        return Conclusion("permerror", "b= or bh= is not base64")
    signer = _signer(tags)
    if isinstance(signer, Conclusion):
        return signer
    domain, selector = signer
    identity = _identity(tags.get("i", b""), domain)
    if not identity:
        return Conclusion("permerror", "i= is not within d=")
    return Signature(
        algorithm=tags["a"].lower().decode("ascii"),
        field_form=_form(forms[0]),
        body_form=_form(forms[1] if len(forms) == 2 else b"simple"),
        domain=domain,
        selector=selector,
        identity=identity,
        names=names,
        body_hash=body_hash,
        value=value,
        length=int(tags["l"]) if "l" in tags else None,
        expires_at=int(tags["x"]) if "x" in tags else None,
        signed_at=int(tags["t"]) if "t" in tags else None,
    )


def _signer(tags: Mapping[str, bytes]) -> tuple[str, str] | Conclusion:
    """d= and s=."""
    domain, selector = (to_a_label(_text(tags[tag])) for tag in ("d", "s"))
    if "." not in domain or not selector or "[" in domain + selector:
        return Conclusion("permerror", "d= or s= is not a domain name")
    return domain, selector


def _identity(raw: bytes, domain: str) -> str:
    """i= decoded (RFC 6376 §2.11), "@" + d= when it is empty; "" when it is not within d=."""
    if not raw:
        return "@" + domain
    text = _text(_QP.sub(lambda match: bytes((int(match[1], 16),)), raw.translate(None, _WSP)))
    local_part, at, host = text.rpartition("@")
    host = to_a_label(host)
    if not at or len(text) > 512 or not (host == domain or host.endswith("." + domain)):
        return ""
    return f"{local_part}@{host}"


def _public_key(kind: bytes, encoded: bytes) -> RSAPublicKey | Ed25519PublicKey | Conclusion:
    content = _base64(encoded)
    malformed = Conclusion("permerror", "the key cannot be read")
    if content is None or kind not in (b"rsa", b"ed25519"):
        return malformed
    try:
        if kind == b"ed25519":
            return Ed25519PublicKey.from_public_bytes(content)
        public = load_der_public_key(content)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return malformed
    return public if isinstance(public, RSAPublicKey) else malformed


def _tags(raw: bytes, limit: int) -> Mapping[str, bytes] | None:
    """Tag -> value without outer white space; None when it is no tag list (RFC 6376 §3.2) or too long."""
    if len(raw) > limit:
        return None
    specs = raw.strip().split(b";")
    if not specs[-1]:  # the last semicolon ends nothing
        specs.pop()
    tags: dict[str, bytes] = {}
    for spec in specs:
        tag, equals, value = spec.partition(b"=")
        name = tag.strip().decode("latin-1")
        if not equals or not tag.strip()[:1].isalpha() or name in tags:
            return None
        tags[name] = value.strip()
    return tags


def _list(value: bytes) -> list[bytes]:
    return [one.strip().lower() for one in value.split(b":")]


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def _form(raw: bytes) -> Algorithm:
    return "relaxed" if raw == b"relaxed" else "simple"


def _base64(raw: bytes) -> bytes | None:
    try:
        return base64.b64decode(raw.translate(None, _WSP), validate=True)
    except (binascii.Error, ValueError):
        return None
