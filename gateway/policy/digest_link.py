"""Links in digests: what one of them allows, signed so that nothing in it can be changed. Pure.

A link names a digest, a message it lists and one act, and ends at a time; the signature (HMAC-SHA256, 128 bits of it:
RFC 2104 §5) also covers whose mail it is and who reads it, which the digest's row says. The keys live in the store and
are replaced (stores/digests.py). That a message is released or deleted once is the quarantine's business.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import struct
from typing import Final, NamedTuple

from gateway.types import Digest, DigestAct

_ACTS: Final[dict[DigestAct, int]] = {"release": 1, "spam": 2, "look": 3, "stop": 4}
_OF: Final = {number: act for act, number in _ACTS.items()}
_HEAD = struct.Struct(">IBI16s16s")  # key, act, end (epoch seconds), held id, digest id
_MAC = 16
_FORM = struct.Struct(">I14s")  # made at, signature
_FORM_S = 3600  # a page may be open so long before its button is pressed
_SKEW_S = 60  # between the clocks of gateways with one database
NO_MESSAGE: Final = "0" * 32


class Link(NamedTuple):
    """What a link says; true only when `is_genuine` says so."""

    key: int  # number of the key that signed it
    act: DigestAct
    ends_at: int
    held_id: str  # 32 hexadecimal digits; NO_MESSAGE for "stop"
    digest_id: str


def sign(link: Link, digest: Digest, key: bytes) -> str:
    """The link's text: 76 characters of A-Z a-z 0-9 - _."""
    head = _HEAD.pack(link.key, _ACTS[link.act], link.ends_at, _bytes(link.held_id), _bytes(link.digest_id))
    return base64.urlsafe_b64encode(head + _signature(head, digest, key)).decode()


def read(text: str) -> Link | None:
    """What it says, nothing verified; None for what is no link."""
    if len(text) != 76 or not text.isascii():
        return None
    try:
        raw = base64.b64decode(text, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    if len(raw) != _HEAD.size + _MAC or base64.urlsafe_b64encode(raw).decode() != text:
        return None
    key, act, ends_at, held_id, digest_id = _HEAD.unpack_from(raw)
    return None if act not in _OF else Link(key, _OF[act], ends_at, held_id.hex(), digest_id.hex())


def is_genuine(text: str, digest: Digest, key: bytes, now: float) -> bool:
    """Whether this text was signed for this digest with this key, and its time is not over."""
    link = read(text)
    if link is None or link.digest_id != digest.id or link.ends_at <= now:
        return False
    return hmac.compare_digest(sign(link, digest, key), text)


def form_token(text: str, key: bytes, now: float) -> str:
    """What the confirm page's form carries: whoever did not open the page does not have it."""
    made_at = int(now)
    return base64.urlsafe_b64encode(_FORM.pack(made_at, _of_form(text, key, made_at))).decode()


def is_form_token(token: str, text: str, key: bytes, now: float) -> bool:
    """Of this link's page, and not older than an hour."""
    try:
        made_at, signature = _FORM.unpack(base64.b64decode(token, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, struct.error):
        return False
    return -_SKEW_S <= now - made_at <= _FORM_S and hmac.compare_digest(signature, _of_form(text, key, made_at))


def _bytes(number: str) -> bytes:
    return bytes.fromhex(number)


def _signature(head: bytes, digest: Digest, key: bytes) -> bytes:
    bound = "\0".join((digest.mailbox, digest.reader)).encode("utf-8", "replace")
    return hmac.digest(key, b"digest link\0" + head + bound, "sha256")[:_MAC]


def _of_form(text: str, key: bytes, made_at: int) -> bytes:
    return hmac.digest(key, b"digest form\0" + f"{made_at}\0{text}".encode("utf-8", "replace"), "sha256")[:14]


def digest_id(mailbox: str, reader: str, at: float) -> str:
    """The id of the digest of a mailbox for a reader at a time: the same at every try."""
    return hashlib.sha256("\0".join((mailbox, reader, repr(at))).encode("utf-8", "replace")).hexdigest()[:32]
