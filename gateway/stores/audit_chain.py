"""The audit log's chain: what an entry's hash stands for, signed heads, and the verifier, which needs no database.

A hash covers the number, time, act and the former hash as they are, and each text by a commitment: HMAC-SHA256 under a
salt of its own. Erasing a person replaces a text and keeps its commitment in the salt's place, so the chain still
verifies; the salt is gone, so nobody can guess what stood there. Each erased entry has to be named by a later `erase`.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from gateway.types import AuditEntry, AuditHead

GENESIS = "0" * 64
TEXTS = ("account", "subject", "domain", "detail", "client")
ERASED = "-"  # begins the proof of an erased text: a commitment stands there, not a salt
_FORMAT = "darban-audit-1"
_MAX_FAULTS = 20
_ERASED_NUMBERS = re.compile(r"\baudit:([0-9,-]+)")


@dataclass(slots=True)
class Verified:
    """What the verifier found. `faults` in words, the first twenty."""

    entries: int = 0
    head: AuditHead | None = None  # the last entry's
    erased: int = 0  # entries with erased texts
    signatures: int = 0  # that are good
    signed_up_to: int = 0
    keys: set[str] = field(default_factory=set)  # public keys (hex) of good signatures
    faults: list[str] = field(default_factory=list)

    def fault(self, text: str) -> None:
        """Note it, up to a limit."""
        if len(self.faults) < _MAX_FAULTS:
            self.faults.append(text)


def link(
    number: int, at: float, former: str, act: str, *, account: str, subject: str, domain: str, detail: str, client: str
) -> AuditEntry:
    """A new entry, with fresh salts and its hash. `at` is kept to the millisecond."""
    proofs = tuple(secrets.token_hex(16) for _ in TEXTS)
    entry = AuditEntry(number, round(at, 3), account, act, subject, domain, detail, client, proofs, former, "")
    return replace(entry, hash=entry_hash(entry))


def entry_hash(entry: AuditEntry) -> str:
    """SHA-256 over the canonical form: a JSON list in ASCII, without spaces."""
    commitments = [_commitment(entry, name, proof) for name, proof in zip(TEXTS, entry.proofs, strict=True)]
    form = [_FORMAT, entry.number, f"{entry.at:.3f}", entry.act, *commitments, entry.former]
    return hashlib.sha256(json.dumps(form, separators=(",", ":")).encode()).hexdigest()


def commitment(name: str, salt: str, text: str) -> str:
    """What stands for a text in the hash."""
    return hmac.new(bytes.fromhex(salt), f"{name}\0{text}".encode(), hashlib.sha256).hexdigest()


def without(entry: AuditEntry, wanted: re.Pattern[str], pseudonym: str) -> AuditEntry:
    """The entry with the pseudonym for what is wanted, and each such text's salt gone; the hash stays as it is."""
    texts, proofs = {name: getattr(entry, name) for name in TEXTS}, list(entry.proofs)
    for place, name in enumerate(TEXTS):
        if wanted.search(texts[name]):
            proofs[place] = ERASED + _commitment(entry, name, proofs[place])
            texts[name] = wanted.sub(pseudonym, texts[name])
    return replace(entry, **texts, proofs=tuple(proofs))


def key_of(seed: bytes) -> Ed25519PrivateKey:
    """The installation's key from its 32 secret bytes."""
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"darban audit key" + seed).digest())


def public_key(key: Ed25519PrivateKey) -> str:
    """In hex, as heads name it."""
    return key.public_key().public_bytes_raw().hex()


def sign(head: AuditHead, at: float, key: Ed25519PrivateKey) -> AuditHead:
    """The head with a time and this key's signature."""
    at, public = round(at, 3), public_key(key)
    return AuditHead(head.number, head.hash, at, public, key.sign(_signed(head.number, head.hash, at)).hex())


def is_signed(head: AuditHead) -> bool:
    """Whether the signature is its key's."""
    try:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(head.key))
        key.verify(bytes.fromhex(head.signature), _signed(head.number, head.hash, head.at))
    except (ValueError, InvalidSignature):
        return False
    return True


def verify(entries: Iterable[AuditEntry], heads: Sequence[AuditHead], key: str = "") -> Verified:
    """Entries in the order of their numbers, from the first on.

    Args:
        heads: signed ones, of the store and of the structured log.
        key: public key (hex) that every signature has to be of; any when "".
    """
    found, wanted = Verified(), _wanted(heads)
    former, owed = GENESIS, set[int]()
    for expected, entry in enumerate(entries, 1):
        _check_entry(entry, expected, former, found)
        if any(proof.startswith(ERASED) for proof in entry.proofs):
            found.erased += 1
            owed.add(entry.number)
        if entry.act == "erase":
            owed.difference_update(_numbers(entry.detail))
        for head in wanted.pop(entry.number, ()):
            _check_head(head, entry.hash, key, found)
        former, found.entries, found.head = entry.hash, expected, AuditHead(entry.number, entry.hash)
    for number in sorted(owed):
        found.fault(f"entry {number}: has erased texts, and no later entry says who erased them")
    if wanted:
        found.fault(f"entries after {found.entries} are missing: entry {max(wanted)} was signed")
    return found


def to_line(one: AuditEntry | AuditHead) -> str:
    """A line of an export: JSON, {"entry": ...} or {"head": ...}."""
    return json.dumps({"entry" if isinstance(one, AuditEntry) else "head": asdict(one)}, ensure_ascii=False)


def from_line(line: str) -> AuditEntry | AuditHead | None:
    """Of an export, or of the structured log ({"event": "audit head", ...}); None for any other line of that.

    Raises ValueError for what is neither."""
    found = json.loads(line)
    try:
        if "entry" in found:
            one = found["entry"]
            return AuditEntry(**(one | {"proofs": tuple(map(str, one["proofs"]))}))
        if "head" in found:
            return AuditHead(**found["head"])
        if found.get("event") == "audit head":
            return AuditHead(*(found[name] for name in ("number", "hash", "at", "key", "signature")))
    except (TypeError, KeyError, AttributeError):
        raise ValueError("is no entry of the audit log") from None
    return None


def numbers_text(numbers: Sequence[int]) -> str:
    """As an `erase` entry names them: "audit:3,7-9"."""
    ranges: list[list[int]] = []
    for number in sorted(numbers):
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return "audit:" + ",".join(str(low) if low == high else f"{low}-{high}" for low, high in ranges) if ranges else ""


def _commitment(entry: AuditEntry, name: str, proof: str) -> str:
    return proof.removeprefix(ERASED) if proof.startswith(ERASED) else commitment(name, proof, getattr(entry, name))


def _check_entry(entry: AuditEntry, expected: int, former: str, found: Verified) -> None:
    if entry.number != expected:
        found.fault(f"entry {expected}: is missing; the next one is {entry.number}")
    if entry.former != former:
        found.fault(f"entry {entry.number}: does not follow the one before it")
    try:
        is_whole = hmac.compare_digest(entry_hash(entry), entry.hash)
    except ValueError:  # a salt that is none
        is_whole = False
    if not is_whole:
        found.fault(f"entry {entry.number}: was changed")


def _check_head(head: AuditHead, actual: str, key: str, found: Verified) -> None:
    if not is_signed(head):
        found.fault(f"entry {head.number}: the signature of its head is wrong")
    elif key and head.key != key:
        found.fault(f"entry {head.number}: its head was signed by another key, {head.key[:16]}...")
    elif head.hash != actual:
        found.fault(f"entry {head.number}: is not the one that was signed")
    else:
        found.signatures += 1
        found.signed_up_to = max(found.signed_up_to, head.number)
        found.keys.add(head.key)


def _wanted(heads: Sequence[AuditHead]) -> dict[int, list[AuditHead]]:
    wanted: dict[int, list[AuditHead]] = {}
    for head in heads:
        wanted.setdefault(head.number, []).append(head)
    return wanted


def _numbers(detail: str) -> set[int]:
    numbers: set[int] = set()
    for text in _ERASED_NUMBERS.findall(detail):
        for one in filter(None, text.split(",")):
            low, _, high = one.partition("-")
            numbers.update(range(int(low or 0), min(int(high or low or 0), int(low or 0) + 10_000_000) + 1))
    return numbers


def _signed(number: int, digest: str, at: float) -> bytes:
    return f"darban-audit-head-1\n{number}\n{digest}\n{at:.3f}\n".encode()
