"""ARC sets for tests, made by hand from RFC 8617's words, so that each of their fields can be made wrong."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Iterable, Mapping

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256

from gateway.auth.canonical import Algorithm, CanonicalMessage, canonical_field
from gateway.mail import parse
from tests.dkim_keys import ed25519_key, ed25519_record, rsa_key, rsa_record

AAR, AMS, AS = "ARC-Authentication-Results", "ARC-Message-Signature", "ARC-Seal"
LIST, SCHOOL, STRANGER = "lists.example", "school.example", "stranger.example"
PASS = "dmarc=pass header.from=example.org"
MAIL = b"From: Sara <sara@example.org>\r\nTo: you@darban.test\r\nSubject: Hello\r\n\r\nGood morning\r\n"

_INSTANCE = re.compile(rb"[ ;]i=([0-9]+)")


def zones(*domains: str, ed: Iterable[str] = ()) -> dict[str, Mapping[str, list[str]]]:
    """The keys of these sealers, at s1."""
    return {f"s1._domainkey.{one}": {"TXT": [rsa_record()]} for one in domains or (LIST, SCHOOL, STRANGER)} | {
        f"s1._domainkey.{one}": {"TXT": [ed25519_record()]} for one in ed
    }


def add_set(
    content: bytes,
    domain: str = LIST,
    results: str = PASS,
    *,
    instance: int = 0,
    assessment: str = "",
    message_signature: Mapping[str, str | None] | None = None,
    seal: Mapping[str, str | None] | None = None,
    shape: Callable[[bytes], bytes] = bytes,
    alone: bool = False,
    ed: bool = False,
) -> bytes:
    """The message with one more set on top; tags that are given replace the right ones, None leaves one out.

    Args:
        shape: what is done to the text of both signatures before they are signed, in words RFC 6376 allows or not.
        alone: the seal covers this set only, as on a failed chain.
    """
    message = parse(content)
    sealed = message.by_name.get("arc-seal", ())
    number = instance or len(sealed) + 1
    common = {
        "i": str(number),
        "a": "ed25519-sha256" if ed else "rsa-sha256",
        "d": domain,
        "s": "s1",
        "t": "1790000000",
    }
    canonical = CanonicalMessage(message)
    first = f"{AAR}: {assessment or f'i={number}; {domain}; {results}'}\r\n".encode()

    tags = {**common, "c": "relaxed/relaxed", "h": "from:to:subject"} | dict(message_signature or {})
    length = int(tags["l"]) if tags.get("l") else None
    fields_form, _, body_form = (tags["c"] or "relaxed/relaxed").partition("/")
    tags = {"bh": base64.b64encode(canonical.body_hash(_form(body_form), length)).decode()} | tags
    own = shape(_field(AMS, tags))
    names = [name.strip().lower() for name in (tags["h"] or "").split(":")]
    second = _signed(own, canonical.fields(names, _form(fields_form)), ed, tags, _form(fields_form))

    tags = {**common, "cv": "pass" if sealed else "none"} | dict(seal or {})
    before = b"" if alone else b"".join(canonical_field(raw, "relaxed") for raw in _in_order(content))
    covered = before + canonical_field(first, "relaxed") + canonical_field(second, "relaxed")
    return _signed(shape(_field(AS, tags)), covered, ed, tags) + second + first + content


def chain(*domains: str, content: bytes = MAIL) -> bytes:
    """A chain of good sets, the first domain the oldest."""
    for one in domains:
        content = add_set(content, one)
    return content


def _field(name: str, tags: Mapping[str, str | None]) -> bytes:
    return f"{name}: {'; '.join(f'{tag}={value}' for tag, value in tags.items() if value is not None)}".encode()


def _form(name: str) -> Algorithm:
    return "relaxed" if name == "relaxed" else "simple"


def _signed(
    field: bytes, covered: bytes, ed: bool, tags: Mapping[str, str | None], form: Algorithm = "relaxed"
) -> bytes:
    if "b" in tags:
        return field + b"\r\n"
    covered += canonical_field(field + b"; b=", form).removesuffix(b"\r\n")
    if ed:
        value = ed25519_key().sign(hashlib.sha256(covered).digest())
    else:
        value = rsa_key(1024).sign(covered, PKCS1v15(), SHA256())
    return field + b"; b=" + base64.b64encode(value) + b"\r\n"


def _in_order(content: bytes) -> list[bytes]:
    """ARC fields as a seal hashes them: oldest set first, in it assessment, message signature, seal."""
    order = [AAR.lower(), AMS.lower(), AS.lower()]
    found = [
        (int(match[1]), order.index(one.name.lower()), one.raw)
        for one in parse(content).fields
        if one.name.lower() in order and (match := _INSTANCE.search(one.raw))
    ]
    return [raw for _, _, raw in sorted(found)]
