"""The spoofing table: tests/cases/spoofing/<kind>/<topic>.case, each one forgery, or one honest message beside them.

A file is directives, a line "---", and the message as written (UTF-8; line ends become CRLF):

    attack: what the forger does, in one line         or   control: what is honest about it
    stop: what stops it, in one line                  (attacks only)
    claims: bank.example              the domain that is forged; this one when left out
    client: 203.0.113.9 helo=mail.evil.example        the forger's server when left out
    reverse-path: <x@evil.example>    when left out
    forward-path: you@darban.test     when left out
    zone: NAME TYPE VALUE             may stand again; besides common.zone
    zone: NAME * servfail             the DNS does not answer for this name
    sign: d=evil.example s=s1 h=from:to:subject l=10   may stand again; each signature is put above what is there
    seal: d=evil.example says=bank.example   an ARC set above, which says that all passed; may stand again
    spoil: i=2 ARC-Seal               one character of the signature in that field is changed, when all is signed
    drop: i=2                         the ARC set of that number is taken out, when all is signed
    trust: lists.example              a sealer that the admin trusts ([arc] trusted_sealers)
    expect: NAME NAME                 findings that must be among the hits
    action: quarantine                the mildest action that will do; "tag" when left out

In directives and message "{0x0D}" is that octet. Lines of the message between "%signed" and "%end" stand there while
it is signed and are gone when it arrives; those between "%added" and "%end" come in between; those between
"%repeat 100" and "%end" stand there so many times.

`key=NAME` in a sign line takes NAME's key instead of that of d=; `c=` and all other tags go into the signature as they
are. Signatures are made with the verifier's own canonical forms: a forger would aim at the verifier, too.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import cast

import dkim
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256

from gateway.auth.canonical import Algorithm, CanonicalMessage, canonical_field
from gateway.mail import parse
from gateway.types import ActionName, Client, Envelope
from tests.builders import envelope
from tests.fakes import Zones

FOLDER = Path(__file__).parent / "cases" / "spoofing"

_DIRECTIVE = re.compile(
    r"(attack|control|stop|claims|client|reverse-path|forward-path|zone|sign|seal|spoil|drop|trust|expect|action): ?(.*)"
)
_MANY = ("forward-path", "zone", "sign", "seal", "spoil", "drop")
_OCTET = re.compile(r"\{0x([0-9A-F]{2})\}")
_BLOCK = re.compile(r"%(signed|added|repeat) ?([0-9]*)\n(.*?)%end\n", re.DOTALL)
_KEY = re.compile(r"%key (\S+)")
_SIGNATURE = re.compile(rb"(\bb=[^;]{20,60}?)([A-Za-z])")


@dataclass(frozen=True, slots=True)
class Row:
    """What a file says."""

    id: str  # "field/two_from_fields"
    is_attack: bool
    words: str
    stop: str
    claims: str
    envelope: Envelope
    content: bytes
    zones: Zones
    sealers: frozenset[str]
    expected: frozenset[str]
    action: ActionName


def paths() -> list[Path]:
    """Every file, in order of their names."""
    return sorted(FOLDER.rglob("*.case"))


def load_row(path: Path) -> Row:
    """One file. Raises ValueError for what it does not understand, so that no slip of the pen passes for a test."""
    name = path.relative_to(FOLDER).with_suffix("").as_posix()
    head, separator, written = path.read_text(encoding="utf-8").partition("\n---\n")
    if not separator:
        raise ValueError(f"{name}: there is no line ---")
    said: dict[str, list[str]] = {}
    for line in head.splitlines():
        match = _DIRECTIVE.fullmatch(line)
        if match is None:
            if line and not line.startswith("#"):
                raise ValueError(f"{name}: cannot read {line!r}")
            continue
        said.setdefault(match[1], []).append(match[2])
    _check(name, said)
    zones = _zones([*_common_lines(), *said.get("zone", ())])
    is_attack = "attack" in said
    return Row(
        id=name,
        is_attack=is_attack,
        words=said["attack" if is_attack else "control"][0],
        stop=said.get("stop", [""])[0],
        claims=said.get("claims", ["bank.example"])[0],
        envelope=_envelope(said),
        content=_content(written, said),
        zones=zones,
        sealers=frozenset(" ".join(said.get("trust", ())).split()),
        expected=frozenset(" ".join(said.get("expect", ())).split()),
        action=cast(ActionName, said.get("action", ["tag"])[0]),
    )


def _check(name: str, said: Mapping[str, list[str]]) -> None:
    if ("attack" in said) == ("control" in said) or ("attack" in said) != ("stop" in said):
        raise ValueError(f"{name}: needs attack and stop, or control")
    twice = [directive for directive, values in said.items() if len(values) > 1 and directive not in _MANY]
    if twice:
        raise ValueError(f"{name}: {twice[0]} stands twice")
    if said.get("action", ["tag"])[0] not in ("tag", "quarantine", "reject"):
        raise ValueError(f"{name}: no such action")


# --- the DNS --------------------------------------------------------------------------------------------------------


@cache
def _common_lines() -> tuple[str, ...]:
    lines = (FOLDER / "common.zone").read_text(encoding="utf-8").splitlines()
    return tuple(line for line in lines if line and not line.startswith("#"))


def _zones(lines: list[str]) -> Zones:
    zones: dict[str, dict[str, list[str | bytes]]] = {}
    silent: dict[str, str] = {}
    common = len(_common_lines())
    own: set[tuple[str, str]] = set()
    for number, line in enumerate(lines):
        name, rdtype, value = line.split(" ", 2)
        if rdtype == "*":
            silent[name] = value
            continue
        types = zones.setdefault(name, {})
        if number >= common and (name, rdtype) not in own:
            own.add((name, rdtype))
            types.pop(rdtype, None)
        value = _KEY.sub(lambda match: _key_record(match[1]), value)
        types.setdefault(rdtype, []).append(_octets(value) if rdtype == "TXT" else value)
    return {**zones, **silent}


@cache
def _key(owner: str) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 1024)


def _key_record(owner: str) -> str:
    der = (
        _key(owner)
        .public_key()
        .public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return f"v=DKIM1; k=rsa; p={base64.b64encode(der).decode()}"


# --- the envelope and the message -----------------------------------------------------------------------------------


def _octets(text: str) -> bytes:
    pieces = _OCTET.split(text)
    return b"".join(bytes((int(piece, 16),)) if number % 2 else piece.encode() for number, piece in enumerate(pieces))


def _envelope(said: Mapping[str, list[str]]) -> Envelope:
    address, _, helo = said.get("client", ["203.0.113.9 helo=mail.evil.example"])[0].partition(" helo=")
    reverse_path = said.get("reverse-path", ["<x@evil.example>"])[0]
    written = _octets(reverse_path).decode("utf-8", "surrogateescape")
    return envelope(
        *said.get("forward-path", ()),
        client=Client(address, helo=_octets(helo).decode("utf-8", "replace")),
        reverse_path=written.removeprefix("<").removesuffix(">"),
    )


def _content(written: str, said: Mapping[str, list[str]]) -> bytes:
    then, now = (_bytes(_at(written, kind)) for kind in ("signed", "added"))
    above = b""
    for line in said.get("sign", ()):
        above = _sign(above + then, line) + above
    for line in said.get("seal", ()):
        above = _seal(above + then, line) + above
    content = above + now
    for line in said.get("spoil", ()):
        content = _spoil(content, line)
    for line in said.get("drop", ()):
        content = _drop(content, line)
    return content


def _at(written: str, kind: str) -> str:
    """The message as it stands when it is signed, or with what was added."""

    def block(match: re.Match[str]) -> str:
        times = int(match[2]) if match[1] == "repeat" else match[1] == kind
        return match[3] * times

    return _BLOCK.sub(block, written)


def _bytes(text: str) -> bytes:
    return _octets(text.replace("\n", "{0x0D}{0x0A}"))


def _sign(content: bytes, line: str) -> bytes:
    """The DKIM-Signature field for the content, its tags as the line has them."""
    tags = [_octets(word) for word in line.split(" ")]
    found = {tag.partition(b"=")[0]: tag.partition(b"=")[2] for tag in tags}
    header_form, _, body_form = found.get(b"c", b"relaxed/relaxed").decode().partition("/")
    owner = found.get(b"key", found[b"d"]).decode()
    length = int(found[b"l"]) if b"l" in found else None
    canonical = CanonicalMessage(parse(content))
    body_hash = base64.b64encode(canonical.body_hash(cast(Algorithm, body_form or "simple"), length))
    if b"c" not in found:
        tags.append(b"c=relaxed/relaxed")
    field = b"DKIM-Signature: v=1; a=rsa-sha256; "
    field += b"; ".join(tag for tag in tags if not tag.startswith(b"key=")) + b"; bh=" + body_hash + b"; b="
    names = [name.strip().decode("latin-1").lower() for name in found[b"h"].split(b":")]
    form = cast(Algorithm, header_form)
    signed = canonical.fields(names, form) + canonical_field(field, form).removesuffix(b"\r\n")
    return field + base64.b64encode(_key(owner).sign(signed, PKCS1v15(), SHA256())) + b"\r\n"


def _seal(content: bytes, line: str) -> bytes:
    """An ARC set (RFC 8617) for the content, by dkimpy; it says that all passed for says=, and the chain before it."""
    tags = dict(word.split("=", 1) for word in line.split(" "))
    pem = _key(tags["d"]).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    names = [b"from", b"to", b"subject", b"date", b"message-id"]
    srv, said = f"mx.{tags['d']}", tags["says"]
    chain = "arc=pass; " if b"ARC-Seal:" in content else ""
    results = f"{srv}; {chain}spf=pass smtp.mailfrom={said}; dkim=pass header.d={said}; dmarc=pass header.from={said}"
    content = f"Authentication-Results: {results}\r\n".encode() + content
    fields = dkim.arc_sign(content, b"s1", tags["d"].encode(), pem, srv.encode(), include_headers=names)
    if not fields:
        raise ValueError(f"no ARC set came of {line!r}")
    return b"".join(fields)


def _spoil(content: bytes, line: str) -> bytes:
    instance, _, name = line.partition(" ")
    pattern = _arc_field(name.encode(), instance)
    spoilt, count = pattern.subn(lambda field: _SIGNATURE.sub(_other_letter, field[0], 1), content)
    if count != 1 or spoilt == content:
        raise ValueError(f"there is nothing to spoil: {line!r}")
    return spoilt


def _drop(content: bytes, line: str) -> bytes:
    left, count = _arc_field(rb"ARC-[A-Za-z-]+", line).subn(b"", content)
    if count != 3:
        raise ValueError(f"there is no ARC set to drop: {line!r}")
    return left


def _arc_field(name: bytes, instance: str) -> re.Pattern[bytes]:
    return re.compile(rb"^" + name + rb":\s*" + instance.encode() + rb";.*\r\n(?:[ \t].*\r\n)*", re.MULTILINE)


def _other_letter(match: re.Match[bytes]) -> bytes:
    return match[1] + (b"A" if match[2] != b"A" else b"B")
