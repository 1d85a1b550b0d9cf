"""policy/digest_link.py: a link works for what it was signed for, and for nothing else."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.digest_link import Link, digest_id, form_token, is_form_token, is_genuine, read, sign
from gateway.types import Digest, DigestAct

KEY, NOW = b"k" * 32, 1_800_000_000.0
DIGEST = Digest("d" * 32, "you@darban.test", "you@darban.test", NOW, "fa", "jalali", "Asia/Tehran")
LINK = Link(7, "release", int(NOW) + 3600, "a" * 32, DIGEST.id)
TEXT = sign(LINK, DIGEST, KEY)

hexadecimal = st.binary(min_size=16, max_size=16).map(bytes.hex)
links = st.builds(
    Link, st.integers(0, 2**32 - 1), st.sampled_from(get_args(DigestAct)), st.integers(0, 2**32 - 1), hexadecimal,
    st.just(DIGEST.id),
)  # fmt: skip


@given(links)
def test_what_is_signed_is_read(link: Link) -> None:
    text = sign(link, DIGEST, KEY)
    assert read(text) == link
    assert len(text) == 76
    assert is_genuine(text, DIGEST, KEY, link.ends_at - 1.0)
    assert not is_genuine(text, DIGEST, KEY, float(link.ends_at))


@given(st.integers(0, 57 * 8 - 1))
def test_any_bit_changed_fails(bit: int) -> None:
    raw = bytearray(base64.urlsafe_b64decode(TEXT))
    raw[bit // 8] ^= 1 << bit % 8
    assert not is_genuine(base64.urlsafe_b64encode(raw).decode(), DIGEST, KEY, NOW)


@given(st.integers(0, 75), st.characters())
def test_any_character_changed_fails(place: int, character: str) -> None:
    changed = TEXT[:place] + character + TEXT[place + 1 :]
    assert is_genuine(changed, DIGEST, KEY, NOW) == (changed == TEXT)


@pytest.mark.parametrize(
    ("digest", "key", "now"),
    [
        (replace(DIGEST, mailbox="reza@darban.test"), KEY, NOW),
        (replace(DIGEST, reader="reza@darban.test"), KEY, NOW),
        (replace(DIGEST, mailbox="you@darban.test\0you", reader="darban.test"), KEY, NOW),
        (replace(DIGEST, id="e" * 32), KEY, NOW),
        (DIGEST, b"j" * 32, NOW),
        (DIGEST, KEY, NOW + 3600),
    ],
    ids=["other mailbox", "other reader", "shifted", "other digest", "other key", "too late"],
)
def test_it_is_bound(digest: Digest, key: bytes, now: float) -> None:
    assert is_genuine(TEXT, DIGEST, KEY, NOW)
    assert not is_genuine(TEXT, digest, key, now)


def test_another_act_or_message_needs_another_signature() -> None:
    others = [LINK._replace(act="spam"), LINK._replace(held_id="b" * 32), LINK._replace(ends_at=LINK.ends_at + 1)]
    for other in others:
        forged = sign(other, DIGEST, KEY)[:-22] + TEXT[-22:]
        assert read(forged) is not None
        assert not is_genuine(forged, DIGEST, KEY, NOW)


@given(st.text() | st.binary().map(lambda raw: base64.urlsafe_b64encode(raw).decode()))
def test_anything_may_come(text: str) -> None:
    assert not is_genuine(text, DIGEST, KEY, NOW)
    assert not is_form_token(text, TEXT, KEY, NOW)


@pytest.mark.parametrize("late_s", [-30, 0, 3600])
def test_a_form_of_its_page(late_s: int) -> None:
    assert is_form_token(form_token(TEXT, KEY, NOW), TEXT, KEY, NOW + late_s)


@pytest.mark.parametrize("late_s", [-120, 3601, 1e9])
def test_a_form_has_its_time(late_s: float) -> None:
    assert not is_form_token(form_token(TEXT, KEY, NOW), TEXT, KEY, NOW + late_s)


def test_a_form_of_another_page_is_none() -> None:
    other = sign(LINK._replace(act="spam"), DIGEST, KEY)
    assert not is_form_token(form_token(other, KEY, NOW), TEXT, KEY, NOW)
    assert not is_form_token(form_token(TEXT, b"j" * 32, NOW), TEXT, KEY, NOW)


def test_a_digest_has_one_id() -> None:
    assert digest_id("a", "b", 1.0) == digest_id("a", "b", 1.0)
    assert (
        len({digest_id("a", "b", 1.0), digest_id("b", "a", 1.0), digest_id("a", "b", 2.0), digest_id("", "a", 1.0)})
        == 4
    )
