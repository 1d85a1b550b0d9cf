"""scan/campaign.py: what is alike has one key, what is not has another."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mail import parse
from gateway.scan.campaign import attachments, campaign
from tests.builders import message_bytes

WORDS = [f"word{chr(97 + n % 26)}{chr(97 + n // 26)}" for n in range(600)]


def text(seed: int, number: int = 120) -> list[str]:
    return random.Random(seed).choices(WORDS, k=number)


def key(words: list[str], **fields: str) -> str:
    return campaign(parse(message_bytes(" ".join(words) + "\r\n", **({"Subject": "Your account"} | fields))))


@pytest.mark.parametrize(
    "change",
    [
        {"Subject": "YOUR ACCOUNT"},
        {"To": "reza@darban.test"},
        {"From": "Other <x@elsewhere.example>"},
        {"Message_ID": "<2@example.org>"},
    ],
)
def test_what_campaigns_change_does_not_count(change: dict[str, str]) -> None:
    assert key(text(1)) == key(text(1), **change)


def test_digits_links_addresses_and_the_readers_name_do_not_count() -> None:
    body = ["Dear", "{}", "invoice", "{}", "see", "{}", "or", "write", "to", "{}", *text(2)]

    def made(*values: str) -> str:
        return key(" ".join(body).format(*values).split(), To=f"{values[0]}@darban.test")

    first = made("sara", "12345", "https://a.example/x?1", "help1@a.example")
    assert first == made("reza", "9", "https://b.example/other", "me@b.example")


def test_others_have_another() -> None:
    assert len({key(text(seed)) for seed in range(300)}) == 300


def test_most_small_changes_keep_the_key() -> None:
    """One word of 120 changes three of 118 triples: J = 0.95, so four equal values in about four of five."""
    same = 0
    for seed in range(200):
        words = text(seed)
        changed = [*words]
        changed[random.Random(seed).randrange(120)] = "another"
        same += key(words) == key(changed)
    assert 140 <= same <= 185


@pytest.mark.parametrize(
    ("body", "other", "is_same"),
    [
        ("Click here https://a.example/1\r\n", "Click here https://a.example/2\r\n", True),
        ("Click here https://a.example/1\r\n", "Click here https://b.example/1\r\n", False),
        ("Hello there\r\n", "Hello where\r\n", False),
    ],
)
def test_short_texts_have_to_be_equal(body: str, other: str, is_same: bool) -> None:
    keys = [campaign(parse(message_bytes(one, Subject="Hi"))) for one in (body, other)]
    assert (keys[0] == keys[1]) is is_same


def test_a_message_that_says_nothing_has_none() -> None:
    assert campaign(parse(message_bytes("\r\n", Subject=""))) == ""
    assert campaign(parse(b"")) == ""


@given(st.binary(max_size=400))
def test_any_bytes_give_a_key_or_none(content: bytes) -> None:
    assert len(campaign(parse(b"Subject: x\r\n\r\n" + content))) in (0, 16)


def test_files_are_counted() -> None:
    body = (
        '--b\r\nContent-Type: text/plain\r\n\r\nhi\r\n--b\r\nContent-Type: application/pdf; name="a.pdf"\r\n\r\nx\r\n'
        "--b\r\nContent-Disposition: attachment\r\n\r\ny\r\n--b--\r\n"
    )
    message = parse(message_bytes(body, MIME_Version="1.0", Content_Type='multipart/mixed; boundary="b"'))
    assert attachments(message) == 2
