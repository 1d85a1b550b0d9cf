"""A chain with a changed byte never passes where dkimpy would not pass it; unchanged it always does."""

from __future__ import annotations

import asyncio

import dkim as dkimpy
from hypothesis import assume, given
from hypothesis import strategies as st

from gateway.auth import arc
from gateway.auth.seal import Sealer
from gateway.mail import parse
from tests.arc_chain import LIST, SCHOOL, add_set, zones
from tests.dkim_keys import rsa_key, rsa_record
from tests.fakes import FakeResolver

SEALER = Sealer(LIST, "s1", rsa_key(1024))
LINES = st.lists(st.text("ab \t.-=é", max_size=12), max_size=6)
BODIES = LINES.map(lambda lines: "\r\n".join(lines).encode() + b"\r\n")
LENGTHS = st.integers(1, 4)


def message(body: bytes) -> bytes:
    return b"From: Sara <sara@example.org>\r\nTo: you@darban.test\r\nSubject: Hello\r\n\r\n" + body


def sealed(body: bytes, length: int) -> bytes:
    content = add_set(message(body), SCHOOL)
    for _ in range(length - 1):
        content = SEALER.seal(content, f"{LIST}; dmarc=pass header.from=example.org", "pass")
    return content


def result(content: bytes) -> str:
    return asyncio.run(arc.evaluate(parse(content), "", FakeResolver(zones(LIST, SCHOOL)))).result.result


def dkimpys(content: bytes) -> bytes | None:
    try:
        return dkimpy.arc_verify(content, dnsfunc=lambda name, timeout=5: rsa_record().encode())[0]  # type: ignore[no-any-return]
    except Exception:
        return None


@given(BODIES, LENGTHS)
def test_what_is_sealed_passes_both(body: bytes, length: int) -> None:
    content = sealed(body, length)
    assert (result(content), dkimpys(content)) == ("pass", b"pass")


@given(BODIES, LENGTHS, st.data())
def test_a_changed_byte(body: bytes, length: int, data: st.DataObject) -> None:
    content = bytearray(sealed(body, length))
    place = data.draw(st.integers(0, len(content) - 1))
    end = content.index(b"\r\n\r\n")
    assume(not end <= place < end + 4)  # where the header ends is the parser's to say, and dkimpy's is stricter there
    content[place] = data.draw(st.sampled_from(b"aZ09 =;:+@"))
    if result(bytes(content)) == "pass":
        assert dkimpys(bytes(content)) == b"pass"
