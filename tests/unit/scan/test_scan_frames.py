"""scan/frames.py: what goes over the socket comes out the same, in any pieces; and every field goes over it."""

from __future__ import annotations

from typing import get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.senders import NOTHING_SAID, Limits, Said
from gateway.scan.frames import (
    MAX_ANSWER,
    REQUEST,
    FrameReader,
    pack,
    pack_request,
    pack_verdict,
    pack_why,
    unpack_request,
    unpack_verdict,
    unpack_why,
)
from gateway.types import (
    AuthResult,
    Client,
    Contribution,
    DomainPolicy,
    Envelope,
    History,
    Hit,
    Past,
    Prediction,
    Recipient,
    SenderEntry,
    Summary,
    Verdict,
)

TEXT = st.text(st.characters(codec=None, exclude_categories=()), max_size=8)  # lone surrogates too
TEXTS = st.lists(TEXT, max_size=3).map(tuple)
PAIRS = st.lists(st.tuples(TEXT, TEXT), max_size=2).map(tuple)
NUMBER = st.floats(allow_nan=False)

CLIENTS = st.builds(Client, TEXT, st.integers(0, 65535), TEXT, TEXT, TEXT, TEXT)
RECIPIENTS = st.lists(st.builds(Recipient, TEXT, TEXT, TEXTS), max_size=3).map(tuple)
PASTS = st.builds(Past, NUMBER, NUMBER, NUMBER, NUMBER, NUMBER)
NUMBERS = st.lists(NUMBER, max_size=3).map(tuple)
HISTORIES = st.none() | st.builds(History, TEXT, PASTS, PASTS, PASTS, NUMBERS, NUMBERS)
MANNER = st.lists(TEXT, max_size=3).map(tuple)
ENVELOPES = st.builds(
    Envelope, TEXT, CLIENTS, TEXT, RECIPIENTS, NUMBER, TEXT, st.booleans(), st.booleans(), HISTORIES, MANNER
)
HITS = st.lists(st.builds(Hit, TEXT, NUMBER, TEXT, TEXTS), max_size=3).map(tuple)
RESULTS = st.lists(
    st.builds(AuthResult, TEXT, TEXT, TEXT, TEXT, TEXT, TEXT, TEXT, st.booleans(), PAIRS), max_size=3
).map(tuple)
CONTRIBUTIONS = st.lists(st.builds(Contribution, TEXT, TEXT, NUMBER), max_size=3).map(tuple)
VERDICTS = st.builds(
    Verdict,
    TEXT,
    NUMBER,
    HITS,
    RESULTS,
    st.none() | st.builds(Prediction, NUMBER, TEXT, CONTRIBUTIONS),
    TEXTS,
    st.builds(Summary, TEXT, TEXT, TEXT, st.integers(0, 1 << 40)),
    TEXT,
    NUMBER,
    st.lists(st.tuples(TEXT, NUMBER), max_size=3).map(tuple),
)


@given(st.lists(st.tuples(st.binary(max_size=50), st.binary(max_size=200)), max_size=5), st.integers(1, 50))
def test_frames_survive_any_pieces(payloads: list[tuple[bytes, bytes]], size: int) -> None:
    stream = b"".join(b"".join(pack(REQUEST, index, *payload)) for index, payload in enumerate(payloads))
    reader = FrameReader()
    frames = [frame for start in range(0, len(stream), size) for frame in reader.feed(stream[start : start + size])]
    assert [(frame.sequence, (frame.head, frame.content)) for frame in frames] == list(enumerate(payloads))


@pytest.mark.parametrize("stream", [b"\xff" * 13, b"\0\0\0\x0a\2\0\0\0\0\0\0\0\xff"])
def test_what_is_no_frame_is_refused(stream: bytes) -> None:
    with pytest.raises(ValueError, match="not a frame"):
        list(FrameReader(MAX_ANSWER).feed(stream))


@given(ENVELOPES, st.lists(st.sampled_from(["rules", "parse"]), max_size=2).map(tuple))
def test_request(said: Envelope, skip: tuple[str, ...]) -> None:
    assert unpack_request(pack_request(said, skip)) == (said, skip, False)
    assert unpack_request(pack_request(said, skip, True)) == (said, skip, True)


@given(ENVELOPES, TEXT)
def test_why(said: Envelope, kept: str) -> None:
    policy = DomainPolicy("darban.test", "", 4.0, 7.0, 9.0, "quarantine")
    assert unpack_why(pack_why(said, kept, policy)) == (said, kept, policy, NOTHING_SAID)
    allow = SenderEntry("allow", "a@example.org", "", None, "سارا", 1.0, network="192.0.2.0/24", number=7)
    entries = Said((allow, SenderEntry("block", ".example.org", "darban.test", 2.5, "ali", 1.0)), Limits("reject", 9.0))
    assert unpack_why(pack_why(said, kept, policy, entries)) == (said, kept, policy, entries)


@given(VERDICTS)
def test_verdict(one: Verdict) -> None:
    assert unpack_verdict(pack_verdict(one)) == one


@given(st.binary(max_size=60) | st.text('[]{}",:1e', max_size=30).map(str.encode))
def test_no_bytes_do_more_than_raise(head: bytes) -> None:
    with pytest.raises((ValueError, TypeError)):
        unpack_verdict(head)


@pytest.mark.parametrize(
    ("kind", "count"),
    [(Envelope, 10), (History, 6), (Past, 5), (Client, 6), (Recipient, 3), (Verdict, 12), (Hit, 4), (AuthResult, 12), (Prediction, 3), (Contribution, 3), (Summary, 4)],
)  # fmt: skip
def test_a_new_field_must_go_over_the_socket_too(kind: type, count: int) -> None:
    """frames.py names the fields one by one: add the new one there and above, then here."""
    assert len(get_type_hints(kind)) == count
