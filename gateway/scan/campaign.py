"""Which messages are alike: one key for a message and for those that say the same in nearly the same words.

The key is made of the four smallest values of four hash functions over the text's triples of words (MinHash: Broder,
1997): two texts that share a part J of their triples have one key with probability J^4, so a template with another
name in it keeps its key and a reply that quotes a third of another message has none in common with it. Digits are one,
addresses and links go, for campaigns change them. Short texts have to be equal, their links' hosts included.

Deliberately one key and no neighbours' table: nothing is looked up while a message is held, and the key of a message
never changes (docs/decisions/0033-look-alikes-share-one-key.md has what that loses). Cost: about 0.2 ms.
"""

from __future__ import annotations

import hashlib
import re
import zlib

import numpy as np

from gateway.mail.link import host_of
from gateway.mail.search import folded
from gateway.types import Message

_MAX_CHARACTERS, _MAX_WORDS = 20_000, 600
_FEW_WORDS = 8  # below this many a text has hardly a triple of its own
_MAX_HOSTS = 3
_WORD = re.compile(r"\w+")
_DIGITS = re.compile(r"\d+")
_ADDRESS = re.compile(r"(?:https?://|www\.)\S+|\S{1,100}@\S{1,200}")
_PLACES = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9], dtype=np.uint64)
# odd multipliers and addends of the four functions: digits of pi, so that nobody chose them
_FACTORS = np.array([0x243F6A8885A308D3, 0x13198A2E03707345, 0xA4093822299F31D1, 0x082EFA98EC4E6C89], dtype=np.uint64)
_ADDENDS = np.array([0x452821E638D01377, 0xBE5466CF34E90C6C, 0xC0AC29B7C97C50DD, 0x3F84D5B5B5470917], dtype=np.uint64)


def campaign(message: Message) -> str:
    """16 hex digits; "" for a message that says nothing."""
    words = _words(message)
    if len(words) < _FEW_WORDS:
        hosts = sorted({host_of(link.url) for link in message.links[:50]})[:_MAX_HOSTS]
        said = " ".join([*words, *hosts])
        return _key(said.encode("utf-8", "replace")) if len(words) > 1 or hosts else ""
    codes = np.array([zlib.crc32(word.encode("utf-8", "replace")) for word in words], dtype=np.uint64)
    triples = codes[:-2] * _PLACES[0] + codes[1:-1] * _PLACES[1] + codes[2:] * _PLACES[2]
    values = triples[:, None] * _FACTORS + _ADDENDS
    values ^= values >> np.uint64(29)  # the low bits of a product know little of the high ones
    return _key((values * _FACTORS[::-1]).min(axis=0).astype("<u8").tobytes())


def attachments(message: Message) -> int:
    """How many parts are files."""
    return sum(1 for part in message.parts if part.disposition == "attachment" or part.filename)


def _words(message: Message) -> list[str]:
    text = _ADDRESS.sub(" ", folded(f"{message.subject}\n{message.text[:_MAX_CHARACTERS]}"))
    ours = {word for box in message.to[:10] for word in _WORD.findall(folded(box.address))}  # "Dear sara,"
    found = _WORD.findall(_DIGITS.sub("0", text))
    return [word for word in found[: 2 * _MAX_WORDS] if word not in ours][:_MAX_WORDS]


def _key(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]
