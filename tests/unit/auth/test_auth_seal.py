"""auth/seal.py: what is sealed verifies with us and with dkimpy, for any message; where nothing may be added, nothing is."""

from __future__ import annotations

import base64
import time

import dkim
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st

from gateway.auth import arc
from gateway.auth.arc import Chain
from gateway.auth.key import Key, parse_key
from gateway.auth.seal import Sealer, load_key
from gateway.mail import parse
from gateway.types import DnsAnswer
from tests.arc_chain import AAR, AMS, AS, LIST, MAIL, SCHOOL, STRANGER, add_set, chain, zones
from tests.dkim_keys import ed25519_key, rsa_key, rsa_record
from tests.fakes import FakeResolver

OURS = "mx.darban.test"
RESULTS = f"{OURS}; spf=pass (a (b) c) smtp.mailfrom=example.org; dmarc=pass (p=none) header.from=example.org"
SEALER = Sealer("darban.test", "s1", rsa_key(1024))
LIVE = zones(LIST, SCHOOL, STRANGER, "darban.test", ed=["ed.example"])


def pem(
    key: rsa.RSAPrivateKey, form: serialization.PrivateFormat = serialization.PrivateFormat.PKCS8, word: bytes = b""
) -> bytes:
    lock = serialization.BestAvailableEncryption(word) if word else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, form, lock)


async def validated(content: bytes) -> Chain:
    return await arc.evaluate(parse(content), "192.0.2.7", FakeResolver(LIVE))


def by_dkimpy(content: bytes) -> bytes | None:
    return dkim.arc_verify(content, dnsfunc=lambda name, timeout=5: rsa_record().encode())[0]


def added(sealed: bytes, content: bytes) -> dict[str, str]:
    assert sealed.endswith(content)
    return {one.name: one.text for one in parse(sealed[: len(sealed) - len(content)] + b"\r\n").fields}


async def test_the_first_set() -> None:
    sealed = SEALER.seal(MAIL, RESULTS, "none", 1_790_000_000.7)
    fields = added(sealed, MAIL)
    assert list(fields) == [AS, AMS, AAR]
    assert fields[AAR] == f"i=1; {RESULTS}"
    assert fields[AMS].startswith(
        "i=1; a=rsa-sha256; c=relaxed/relaxed; d=darban.test; s=s1; t=1790000000; h=from:to:subject:from:to:subject; bh="
    )
    assert fields[AS].startswith("i=1; a=rsa-sha256; cv=none; d=darban.test; s=s1; t=1790000000; b=")
    found = await validated(sealed)
    assert (found.result.result, found.sealers, found.is_binding) == ("pass", ("darban.test",), True)
    assert by_dkimpy(sealed) == b"pass"


async def test_one_more_set_on_a_chain() -> None:
    content = chain(SCHOOL, LIST)
    sealed = SEALER.seal(content, RESULTS, "pass")
    assert added(sealed, content)[AS].startswith("i=3; a=rsa-sha256; cv=pass;")
    found = await validated(sealed)
    assert (found.result.result, found.sealers) == ("pass", ("darban.test", LIST, SCHOOL))
    assert dict(found.result.properties)["header.oldest-pass"] == "0"
    assert by_dkimpy(sealed) == b"pass"


async def test_ed25519() -> None:
    sealed = Sealer("ed.example", "s1", ed25519_key()).seal(chain(LIST), RESULTS, "pass")
    assert (await validated(sealed)).sealers == ("ed.example", LIST)


BROKEN = chain(SCHOOL, LIST).replace(b"Good morning", b"Good evening")


async def test_a_failed_chain_is_marked_once_by_a_seal_over_our_own_set() -> None:
    sealed = SEALER.seal(BROKEN, RESULTS, "fail")
    assert "i=3; a=rsa-sha256; cv=fail;" in added(sealed, BROKEN)[AS]
    assert (await validated(sealed)).result.reason == "darban.test found the chain broken (cv=fail)"
    assert SEALER.seal(sealed, RESULTS, "fail") == sealed
    seal, signature, assessment = (one.raw for one in parse(sealed).fields[:3])
    value = base64.b64decode(b"".join(seal.partition(b" b=")[2].split()))
    key = parse_key(rsa_record().encode())
    assert isinstance(key, Key)
    assert key.verifies_digest(value, arc.seal_digests([(assessment, signature, seal)])[0])


@pytest.mark.parametrize(
    ("content", "result"),
    [
        (chain(LIST), "temperror"),
        (chain(LIST), "none"),  # ARC was not evaluated
        (MAIL, "pass"),
        (MAIL, "fail"),
        (MAIL, "temperror"),
        (BROKEN.replace(b"cv=pass", b"cv=fail"), "fail"),
        (chain(*[LIST] * 50), "pass"),
        (add_set(BROKEN, instance=50), "fail"),
        (MAIL.replace(b"To:", b"ARC-Seal: i=1\r\n" * 5000 + b"To:"), "fail"),
        (chain(LIST).replace(b"cv=none", b"cv=nine"), "pass"),  # not the message that was validated
    ],
)
def test_where_none_may_be_added_the_message_is_as_it_was(content: bytes, result: str) -> None:
    started = time.process_time()
    assert SEALER.seal(content, RESULTS, result) == content
    assert time.process_time() - started < 0.2


@pytest.mark.parametrize(
    "content",
    [
        MAIL.replace(b"ARC", b"") + b"ARC-Seal: in the body\r\n",
        b"ARC-Seal: nonsense\r\n" + MAIL,
        b"ARC-Authentication-Results: i=7; x; none\r\n" + MAIL,
    ],
)
async def test_remains_of_chains(content: bytes) -> None:
    given = (await validated(content)).result.result
    sealed = SEALER.seal(content, RESULTS, given)
    fields = added(sealed, content)
    assert ("cv=fail" in fields[AS]) is (given == "fail")
    assert (await validated(sealed)).result.result == ("pass" if given == "none" else "fail")


async def test_what_may_not_be_added_breaks_it_and_what_next_hops_add_does_not() -> None:
    sealed = SEALER.seal(MAIL, RESULTS, "none")
    for added_later in (
        b"Received: from a by b\r\n",
        b"X-Spam-Flag: NO\r\n",
        b"Return-Path: <>\r\n",
        b"Authentication-Results: x; none\r\n",
    ):
        assert (await validated(added_later + sealed)).result.result == "pass"
    for added_later in (b"From: boss@bank.example\r\n", b"Subject: Pay\r\n", b"To: other@example.org\r\n"):
        found = await validated(sealed.replace(b"To: you", added_later + b"To: you"))
        assert found.result.result == "fail"


async def test_signatures_that_are_there_are_covered() -> None:
    content = (
        b"DKIM-Signature: v=1; a=b\r\nDKIM-Signature: v=1; a=c\r\nList-Unsubscribe: <https://x.example>\r\n" + MAIL
    )
    sealed = SEALER.seal(content, RESULTS, "none")
    assert "h=from:to:subject:from:to:subject:list-unsubscribe:dkim-signature:dkim-signature;" in added(
        sealed, content
    )[AMS].replace(": ", ":")
    assert (await validated(sealed.replace(b"a=c", b"a=d"))).result.result == "fail"
    assert by_dkimpy(sealed) == b"pass"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\r\n",
        b"no header at all",
        b"From: a@b.example\r\n",
        b"From: a@b.example\r\n\r\n",
        b"From: a@b.example\r\n\r\nno line end",
        "From: سارا <sara@مثال.ایران>\r\nSubject: سلام\r\n\r\nسلام دنیا\r\n".encode(),
        b"From: a@b.example\r\nSubject: \xff\xfe\x00\r\n\r\n\xff\x00  \t\r\n\r\n\r\n",
        b"From : a@b.example\r\n\r\nwhite space before the colon\r\n",
        b"Dkim-Signature: x\r\n" * 3000 + b"From: a@b.example\r\n\r\n",
        b"From: a@b.example\r\nSubject: " + b"long " * 20_000 + b"\r\n\r\n",
    ],
    ids=range(11),
)
async def test_odd_messages(content: bytes) -> None:
    sealed = SEALER.seal(content, RESULTS, "none")
    assert sealed.endswith(content)
    found = await validated(sealed)
    assert found.result.result == "pass" or "lines that are no field" in found.result.reason
    for line in sealed[: len(sealed) - len(content)].split(b"\r\n"):
        assert len(line) <= 100
        assert line.strip() or not line


BODIES = st.text("ab \t.\n=é", max_size=60).map(lambda text: text.replace("\n", "\r\n").encode())
SUBJECTS = st.text("ab :;=é", min_size=1, max_size=100).filter(str.strip)


@given(SUBJECTS, BODIES, st.text(max_size=80))
async def test_any_message_any_results(subject: str, body: bytes, results: str) -> None:
    content = f"From: Sara <sara@example.org>\r\nSubject: {subject}\r\n\r\n".encode() + body
    once = SEALER.seal(content, f"{OURS}; {results}", "none")
    twice = SEALER.seal(once, f"{OURS}; {results}", "pass")
    assert (await validated(once)).result.result == (await validated(twice)).result.result == "pass"
    if not body.endswith((b" ", b"\t")):  # where dkimpy's canonical body differs
        assert by_dkimpy(once) == by_dkimpy(twice) == b"pass"


@pytest.mark.parametrize("form", [serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL])
def test_keys_are_read(form: serialization.PrivateFormat) -> None:
    assert load_key(pem(rsa_key(1024), form)).public_key() == rsa_key(1024).public_key()


def test_keys_that_will_not_do() -> None:
    curve = ec.generate_private_key(ec.SECP256R1())
    other = curve.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with pytest.raises(ValueError, match="neither RSA nor Ed25519"):
        load_key(other)
    for wrong in (b"", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", rsa_record().encode()):
        with pytest.raises(ValueError, match="no private key in PEM form"):
            load_key(wrong)
    with pytest.raises(ValueError, match="encrypted"):
        load_key(pem(rsa_key(1024), word=b"secret"))


class OneKey:
    async def query(self, name: str, rdtype: str) -> DnsAnswer:
        return DnsAnswer("noerror", (rsa_record(2048).encode(),))


async def test_sealing_takes_a_moment() -> None:
    sealer = Sealer("darban.test", "s1", rsa_key(2048))
    content = MAIL + b"Good morning to all of you\r\n" * 400
    sealed = sealer.seal(content, RESULTS, "none")
    started = time.process_time()
    for _ in range(20):
        sealer.seal(content, RESULTS, "none")
    assert (time.process_time() - started) / 20 < 0.01
    assert (await arc.evaluate(parse(sealed), "", OneKey())).result.result == "pass"
