"""gateway.auth.key: both tag lists, value by value."""

from __future__ import annotations

import base64

import pytest

from gateway.auth.key import Conclusion, Key, Signature, parse_key, parse_signature, without_value
from tests.dkim_keys import ed25519_record, rsa_record

HASH = base64.b64encode(bytes(32)).decode()
GOOD = {"v": "1", "a": "rsa-sha256", "d": "example.org", "s": "s1", "h": "from:to", "bh": HASH, "b": "AAAA"}


def field(**changes: str | None) -> bytes:
    tags = {name: value for name, value in (GOOD | changes).items() if value is not None}
    return ("DKIM-Signature: " + "; ".join(f"{name}={value}" for name, value in tags.items()) + "\r\n").encode()


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"a": "ed25519-sha256"},
        {"a": "RSA-SHA256"},
        {"c": "relaxed"},
        {"c": "relaxed/simple"},
        {"i": "@example.org"},
        {"i": "user@sub.EXAMPLE.org"},
        {"i": "us=20er=3D@example.org"},
        {"q": "dns/txt"},
        {"q": "other/way : dns/txt"},
        {"l": "0"},
        {"t": "100", "x": "101"},
        {"h": " From :\r\n\tTo : From "},
        {"b": "AA\r\n AA"},
        {"d": "münchen.example"},
        {"z": "whatever"},
    ],
)
def test_usable_signatures(changes: dict[str, str]) -> None:
    assert isinstance(parse_signature(field(**changes)), Signature)


def test_values() -> None:
    found = parse_signature(
        field(c="relaxed/simple", l="12", x="200", i="a=40b@x.example.org", d="Example.ORG", h="From: TO")
    )
    assert found == Signature(
        "rsa-sha256",
        "relaxed",
        "simple",
        "example.org",
        "s1",
        "a@b@x.example.org",
        ("from", "to"),
        bytes(32),
        b"\0\0\0",
        12,
        200,
    )


@pytest.mark.parametrize(
    ("changes", "result", "word"),
    [
        ({"v": "2"}, "permerror", "version"),
        ({"a": "rsa-sha1"}, "policy", "rsa-sha1"),
        ({"a": "rsa-md5"}, "permerror", "algorithm"),
        ({"c": "nowsp"}, "permerror", "c="),
        ({"c": "simple/simple/simple"}, "permerror", "c="),
        ({"h": "to:subject"}, "permerror", "From"),
        ({"h": "fr om:to"}, "permerror", "From"),
        ({"bh": "???"}, "permerror", "base64"),
        ({"b": "A"}, "permerror", "base64"),
        ({"d": "single"}, "permerror", "domain"),
        ({"d": "exa mple.org"}, "permerror", "domain"),
        ({"d": "[192.0.2.1]"}, "permerror", "domain"),
        ({"s": "a..b"}, "permerror", "domain"),
        ({"i": "user@example.net"}, "permerror", "i="),
        ({"i": "user@notexample.org"}, "permerror", "i="),
        ({"i": "example.org"}, "permerror", "i="),
        ({"q": "http"}, "permerror", "q="),
        ({"l": "-1"}, "permerror", "l="),
        ({"l": "9" * 77}, "permerror", "l="),
        ({"t": "x"}, "permerror", "t="),
        ({"t": "5", "x": "5"}, "permerror", "expires"),
        *(({tag: None}, "permerror", f"{tag}=") for tag in GOOD),
        *(({tag: ""}, "permerror", f"{tag}=") for tag in GOOD),
    ],
)
def test_refused_signatures(changes: dict[str, str | None], result: str, word: str) -> None:
    found = parse_signature(field(**changes))
    assert isinstance(found, Conclusion)
    assert found.result == result
    assert word in found.reason


@pytest.mark.parametrize(
    "raw", [b"", b"DKIM-Signature:", b"DKIM-Signature: v=1; v=1", b"x: =;", b"x: \xff=1", b"x: " + b"v=1;" * 40_000]
)
def test_no_tag_list(raw: bytes) -> None:
    assert isinstance(parse_signature(raw), Conclusion)


@pytest.mark.parametrize(
    ("raw", "emptied"),
    [
        (b"D: v=1; b=abc=; bh=x\r\n", b"D: v=1; b=; bh=x\r\n"),
        (b"D: v=1; bh=x; b = a\r\n b= \r\n", b"D: v=1; bh=x; b ="),
        (b"D:b=x;a=b=c", b"D:b=;a=b=c"),
        (b"D: v=1", b"D: v=1"),
    ],
)
def test_without_value(raw: bytes, emptied: bytes) -> None:
    assert without_value(raw) == emptied


@pytest.mark.parametrize(
    "tags",
    [
        "v=DKIM1",
        "v=DKIM1; k=rsa",
        "k=RSA",
        "v=DKIM1; s=*:other",
        "v=DKIM1; s=email",
        "h=sha1:sha256",
        "v=DKIM1; n=a note; x=y",
    ],
)
def test_usable_keys(tags: str) -> None:
    found = parse_key(rsa_record(tags=tags).encode())
    assert isinstance(found, Key)
    assert (found.kind, found.size_bits, found.is_testing, found.is_strict) == ("rsa-sha256", 1024, False, False)


def test_flags_and_ed25519() -> None:
    found = parse_key(rsa_record(tags="v=DKIM1; t=y:s").encode())
    assert isinstance(found, Key) and found.is_testing and found.is_strict
    found = parse_key(ed25519_record().encode())
    assert isinstance(found, Key) and found.kind == "ed25519-sha256"


@pytest.mark.parametrize(
    ("record", "result", "word"),
    [
        (b"", "permerror", "malformed"),
        (b"v=DKIM1", "permerror", "malformed"),
        (b"v=spf1 -all", "permerror", "malformed"),
        (b"v=DKIM2; p=AAAA", "permerror", "malformed"),
        (b"v=DKIM1; p=AAAA; p=BBBB", "permerror", "malformed"),
        (b"v=DKIM1; p=" + b"A" * 9000, "permerror", "malformed"),
        (b"v=DKIM1; p=", "permerror", "revoked"),
        (b"v=DKIM1; p=AAAA", "permerror", "read"),
        (b"v=DKIM1; p=!!!", "permerror", "read"),
        (b"v=DKIM1; k=ed25519; p=AAAA", "permerror", "read"),
        (b"v=DKIM1; k=dsa; p=AAAA", "permerror", "read"),
        (b"v=DKIM1; h=sha1; p=AAAA", "permerror", "sha256"),
        (b"v=DKIM1; s=tlsrpt; p=AAAA", "permerror", "mail"),
        (b"\xff\xfe", "permerror", "malformed"),
    ],
)
def test_refused_keys(record: bytes, result: str, word: str) -> None:
    found = parse_key(record)
    assert isinstance(found, Conclusion)
    assert found.result == result
    assert word in found.reason


def test_short_rsa_keys_are_refused() -> None:
    # 512 bits, made for this test; libraries no longer make them.
    modulus = int("c" + "5" * 127, 16)
    der = _rsa_public_key(modulus, 65537)
    found = parse_key(b"v=DKIM1; p=" + base64.b64encode(der))
    assert isinstance(found, Conclusion)
    assert found.result == "policy"
    assert "512" in found.reason


@pytest.mark.parametrize(
    ("modulus", "exponent"),
    [((1 << 1023) + 2, 65537), ((1 << 1023) + 1, 1), ((1 << 1023) + 1, 2), ((1 << 4095) + 1, (1 << 4000) + 1)],
)
def test_odd_keys_verify_nothing(modulus: int, exponent: int) -> None:
    found = parse_key(b"p=" + base64.b64encode(_rsa_public_key(modulus, exponent)))
    assert isinstance(found, Conclusion) or not found.verifies(bytes(modulus.bit_length() // 8), b"content")


def _rsa_public_key(modulus: int, exponent: int) -> bytes:
    """PKCS#1 RSAPublicKey in DER."""
    body = _integer(modulus) + _integer(exponent)
    return b"\x30" + _length(len(body)) + body


def _integer(value: int) -> bytes:
    content = value.to_bytes(value.bit_length() // 8 + 1, "big")
    return b"\x02" + _length(len(content)) + content


def _length(size: int) -> bytes:
    if size < 128:
        return bytes([size])
    content = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([128 + len(content)]) + content
