"""mail/queued.py."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mail.queued import queue_id_of


@pytest.mark.parametrize(
    ("reply", "queue_id"),
    [
        ("250 2.0.0 Ok: queued as 4XyZ1abc2", "4XyZ1abc2"),
        ("250 2.0.0 from MTA(smtp:[127.0.0.1]:10025): 250 2.0.0 Ok: queued as 9F3A", "9F3A"),
        ("250 2.6.0 Ok, queued as 7A0B.", "7A0B"),
        ("250 OK id=1qX2Yz-0003ab-1C", "1qX2Yz-0003ab-1C"),
        ("250 2.6.0 <a@b.example> [InternalId=1234567, Hostname=EX1.b.example] Queued mail for delivery", "1234567"),
        ("250 2.0.0 3AR0CsXk012345 Message accepted for delivery", "3AR0CsXk012345"),
        ("250 2.0.0 OK  1700000000 d2e1a72fcca58-6cb - gsmtp", "1700000000 d2e1a72fcca58-6cb"),
        ("250 ok 1700000000 qp 12345", "12345"),
        ("250 2.0.0 <you@darban.test> 4Kf5JQ2hGmXhTwAA8ZT2yQ Saved", "4Kf5JQ2hGmXhTwAA8ZT2yQ"),
        ("250 2.0.0 with the MTA as 4XyZ", "4XyZ"),
        ("250 2.0.0 held by the MTA as 4XyZ", "4XyZ"),
        ("250 2.0.0 Message accepted", ""),
        ("550 5.1.1 no such user", ""),
        ("", ""),
    ],
)
def test_where_servers_write_it(reply: str, queue_id: str) -> None:
    assert queue_id_of(reply) == queue_id


@given(st.text(max_size=2000))
def test_any_reply_gives_a_short_word_or_none(reply: str) -> None:
    assert len(queue_id_of(reply)) <= 100
