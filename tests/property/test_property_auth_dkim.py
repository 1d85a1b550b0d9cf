"""What dkimpy signs we pass; what it would not pass we do not; our canonical forms are its."""

from __future__ import annotations

import asyncio

import dkim as dkimpy
from dkim.canonicalization import Relaxed, Simple
from hypothesis import assume, given
from hypothesis import strategies as st

from gateway.auth import dkim
from gateway.auth.canonical import canonical_body, canonical_field
from gateway.mail import parse
from tests.dkim_keys import rsa_record, sign
from tests.fakes import FakeResolver

KEY = "s1._domainkey.example.org"
FORMS = st.sampled_from([b"simple", b"relaxed"])
LINES = st.lists(st.text("ab \t.-=é", max_size=12), max_size=8)
BODIES = LINES.map(lambda lines: "\r\n".join(lines).encode())
SUBJECTS = st.lists(st.text("ab \t:;=é", min_size=1, max_size=12).filter(str.strip), min_size=1, max_size=3)


def message(subject: list[str], body: bytes) -> bytes:
    folded = "\r\n ".join(subject).encode()
    return b"From: Sara <sara@example.org>\r\nTo: you@darban.test\r\nSubject: " + folded + b"\r\n\r\n" + body


def results(content: bytes, record: str) -> list[str]:
    found = asyncio.run(dkim.evaluate(parse(content), FakeResolver({KEY: {"TXT": [record]}})))
    return [one.result for one in found]


@given(BODIES)
def test_canonical_bodies_are_dkimpys(body: bytes) -> None:
    assert canonical_body(body, "simple") == Simple.canonicalize_body(body)
    assume(not body.endswith((b" ", b"\t")))  # dkimpy keeps white space of a last line without CRLF
    assert canonical_body(body, "relaxed") == Relaxed.canonicalize_body(body)


@given(SUBJECTS)
def test_canonical_fields_are_dkimpys(subject: list[str]) -> None:
    value = ("\r\n ".join(subject) + "\r\n").encode()
    ((name, relaxed),) = Relaxed.canonicalize_headers([(b"Subject", value)])
    assert canonical_field(b"Subject:" + value, "relaxed") == name + b":" + relaxed
    assert canonical_field(b"Subject:" + value, "simple") == b"Subject:" + value


@given(SUBJECTS, BODIES, FORMS, FORMS)
def test_what_dkimpy_signs_passes(subject: list[str], body: bytes, fields: bytes, bodies: bytes) -> None:
    assume(bodies == b"simple" or not body.endswith((b" ", b"\t")))
    signed = sign(message(subject, body), canonicalize=(fields, bodies))
    assert results(signed, rsa_record()) == ["pass"]


@given(SUBJECTS, BODIES, FORMS, FORMS, st.data())
def test_a_changed_byte_is_judged_as_dkimpy_judges(
    subject: list[str], body: bytes, fields: bytes, bodies: bytes, data: st.DataObject
) -> None:
    assume(bodies == b"simple" or not body.endswith((b" ", b"\t")))
    signed = bytearray(sign(message(subject, body), canonicalize=(fields, bodies)))
    place = data.draw(st.integers(len(b"DKIM-Signature:"), len(signed) - 1))
    end = signed.index(b"\r\n\r\n")
    assume(not end <= place < end + 4)  # where the header ends is the parser's to say, and dkimpy's is stricter there
    signed[place] = data.draw(st.sampled_from(b"aZ0 =;:+@"))
    content = bytes(signed)
    try:
        theirs = dkimpy.verify(content, dnsfunc=lambda name, timeout=5: rsa_record().encode())
    except Exception:
        theirs = False
    ours = results(content, rsa_record())
    if "pass" in ours:
        assert theirs
    elif ours == ["fail"]:
        assert not theirs
